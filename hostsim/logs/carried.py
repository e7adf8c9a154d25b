"""Documents that carry a log as the text of their fields: strings of JSON, CSV of a log store, journalctl's export."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from hostsim.logs.items import one_record_a_line
from hostsim.logs.named import is_time
from hostsim.logs.table import heading_of
from hostsim.logs.wrapped import texts_within, time_beside

SHARE = 0.8
LINES_MIN = 3
STRING = re.compile(r'\s*("(?:[^"\\]|\\.)*"),?\s*')
MEMBER = re.compile(r'\s*"[^"\n]*"\s*:')
ESCAPED = re.compile(r'[{\[]\s*\\+"|\\+":')
REALTIME = re.compile(r"\s*__REALTIME_TIMESTAMP=(\d{16})\s*")
FIELD = re.compile(r"\s*_{0,2}[A-Z][A-Z0-9_]*=(.*)")
JOURNAL = re.compile(r"^\s*(?:__REALTIME_TIMESTAMP=\d|MESSAGE=)", re.MULTILINE)
MESSAGE = re.compile(r"\s*MESSAGE=(.*)")
MESSAGES = frozenset(("line", "message", "msg", "_raw", "log", "content", "entry", "body", "text"))
"""Columns in which a log store exports the line of a log."""
FIELD_CHARS_MAX = 1 << 20


def carried(text: str) -> str:
    """The log within ``text``, or ``text`` itself."""
    for within in CARRIERS:
        text = within(text)
    return one_record_a_line(text)


def _strings(text: str) -> str:
    """A string of JSON a line, as ``jq .msg`` prints it, or an array of strings."""
    if text.lstrip().startswith("["):
        values = _loaded(text)
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            return "\n".join(values)
    lines = text.split("\n")
    strings = {i: found.group(1) for i, line in enumerate(lines) if '"' in line[:80] and (found := STRING.fullmatch(line))}
    if len(strings) < max(LINES_MIN, SHARE * sum(bool(line.strip("[] \t")) for line in lines)):
        return text
    return "\n".join(_string(strings[i]) if i in strings else line for i, line in enumerate(lines))


def _string(quoted: str) -> str:
    """The text of a string of JSON; of one with broken escapes the text between its quotes."""
    value = _loaded(quoted)
    return value.rstrip("\n") if isinstance(value, str) else quoted[1:-1]


def _document(text: str) -> str:
    """One object with one text of many lines, as a web service answers."""
    value = _loaded(text) if text.lstrip().startswith("{") else None
    texts = [told for _, told in texts_within(value)] if isinstance(value, dict) else []
    return texts[0] if len(texts) == 1 and texts[0].count("\n") >= LINES_MIN else text


def _exported_table(text: str) -> str:
    """CSV of a log store (Grafana, Kibana, Splunk) with a line of the log in each row: the time and the line."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < LINES_MIN:
        return text
    cells = [cell.strip().lower() for cell in _rows(lines[0])[0]]
    message = next((i for i, cell in enumerate(cells) if cell in MESSAGES and len(cells) > 1), None)
    quoted = sum(line.startswith('"') and not MEMBER.match(line) for line in lines)
    if message is None and (('{""' not in text and quoted < SHARE * len(lines)) or heading_of(lines[0])):
        return text
    time = next((i for i, cell in enumerate(cells) if is_time(cell)), None)
    kept = None if message is None else [i for i in (time, message) if i is not None]
    return "\n".join(_cells_of(row, kept) for row in _rows(text))


def _cells_of(row: list[str], kept: list[int] | None) -> str:
    """The cells with the numbers ``kept`` side by side; all cells of None."""
    return " ".join(row if kept is None else (row[i] for i in kept if i < len(row)))


def _rows(text: str) -> list[list[str]]:
    """Rows of CSV; of a text that is none its lines."""
    csv.field_size_limit(FIELD_CHARS_MAX)
    try:
        return list(csv.reader(text.split("\n"))) or [[""]]
    except csv.Error:
        return [[line] for line in text.split("\n")]


def _unescaped(text: str) -> str:
    r"""Lines with ``{\"status\": ..``: an object that was taken out of a string with its escapes."""
    if '\\"' not in text or not ESCAPED.search(text):
        return text
    is_whole = not re.search(r'(?<!\\)"', text)
    return "\n".join(_unescaped_line(line, is_whole) for line in text.split("\n"))


def _unescaped_line(line: str, is_whole: bool) -> str:
    """``line`` without escapes, unless it is JSON as it stands, or a member of a longer object."""
    if not ESCAPED.search(line) or (not is_whole and (MEMBER.match(line) or isinstance(_loaded(line), dict | list))):
        return line
    return re.sub(r'\\+"', '"', line)


def _journal(text: str) -> str:
    """``journalctl -o export`` and ``-o verbose``: a field a line; of all fields the time and the message are kept."""
    return "\n".join(_of_journal(text.split("\n"))) if "MESSAGE=" in text and JOURNAL.search(text) else text


def _of_journal(lines: list[str]) -> Iterator[str]:
    time = ""
    for line in lines:
        realtime, message = REALTIME.fullmatch(line), MESSAGE.fullmatch(line)
        if realtime:
            time = f"{time_beside({'__REALTIME_TIMESTAMP': realtime.group(1)})} "
        elif message:
            yield time + message.group(1)
        elif line and not FIELD.fullmatch(line):
            yield line


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return None


CARRIERS: tuple[Callable[[str], str], ...] = (_journal, _strings, _document, _exported_table, _unescaped)
