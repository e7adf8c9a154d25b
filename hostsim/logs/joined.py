"""Objects in one piece: without a logger's prefix on each of their lines, without line wraps.

The number of lines stays as it was, so that a line is named by its place in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from hostsim.logs.stamps import stamp_s

OPENS = re.compile(r"[\[{]\s*(?:$|[\"'{\[])")
UNFINISHED = ("{", "[", ",")
BODY = re.compile(r"\s*(?:[\"'][^\"'\n]*[\"']\s*(?:[:,\]}]|$)|[{}\[\]]|-?(?:\d|nan|inf)|"
                  r"(?:true|false|null|None|True|False)\b)")  # fmt: skip
BRACKET = re.compile(r"""[{}\[\]]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
CLOSES = re.compile(r"[}\]]")
HEADS = ('{"return": ', '{"ram": ', "{")
"""Openings of an answer of query-migrate, outermost first."""
UNIT = re.compile(r"\d+|\D")
LINES_MAX = 4000
WRAP_MIN, WRAP_MAX = 60, 400
ALIKE = 6
WRAPPED_MIN = 3
"""If so many lines end at the last column, the text was wrapped there (assumed)."""


def joined(text: str) -> str:
    """``text`` with each object in one piece and each wrapped line whole."""
    text = _headed(text)
    if "{" not in text and not _width(text):
        return text
    lines = _without_prefixes(text.split("\n"))
    width = _width("\n".join(lines))
    return "\n".join(_unwrapped(lines, width) if width else lines)


def _headed(text: str) -> str:
    """``text`` with the brackets that were cut off with the head of its first object, if it begins within one."""
    closes = CLOSES.search(text)
    if not closes or not BODY.match(text) or text.lstrip().startswith(("{", "[")):
        return text
    missing = _missing(text)
    return "".join(HEADS[max(0, len(HEADS) - missing) :]) + text if missing else text


def _missing(text: str) -> int:
    """Brackets that the first object of ``text`` closes and does not open."""
    depth = least = 0
    before = ""
    for sign in BRACKET.finditer(text):
        if len(sign.group(0)) != 1:
            before = ""
            continue
        if sign.group(0) in "{[" and before == "}" and text[: sign.start()].rstrip()[-1:] not in (":", ","):
            break
        depth += (sign.group(0) in "{[") - (sign.group(0) in "}]")
        least, before = min(least, depth), "}" if sign.group(0) in "}]" else "{"
    return -least


def _without_prefixes(lines: list[str]) -> list[str]:
    """Drop the prefix (time, host, program) that a logger repeats on each line of an object. In place."""
    at = 0
    while at < len(lines) - 1:
        opened = OPENS.search(lines[at]) if lines[at].rstrip().endswith(UNFINISHED) else None
        prefix = _common(lines[at][: opened.start()], lines[at + 1]) if opened else None
        bodies = list(_bodies(lines, at, opened.start(), prefix)) if opened and prefix else []
        lines[at + 1 : at + 1 + len(bodies)] = bodies
        at += 1 + len(bodies)
    return lines


def _common(first: str, second: str) -> re.Pattern[str] | None:
    """Pattern of the common beginning of both lines, any number matching a number; None if it is only space."""
    same = []
    for one, other in zip(UNIT.findall(first), UNIT.findall(second), strict=False):
        if one != other and not (one.isdigit() and other.isdigit()):
            break
        same.append(r"\d+" if one.isdigit() else re.escape(one))
    while same and not same[-1].strip("\\ \t"):
        same.pop()
    return re.compile("".join(same)) if same else None


def _bodies(lines: list[str], at: int, start: int, prefix: re.Pattern[str]) -> Iterator[str]:
    """The lines after ``at`` up to the end of its object, without the prefix."""
    depth = _depth(lines[at][start:])
    for line in lines[at + 1 : at + LINES_MAX]:
        before = prefix.match(line)
        if depth <= 0 or not before or not BODY.match(line, before.end()):
            return
        yield line[before.end() :]
        depth += _depth(line[before.end() :])


def _depth(text: str) -> int:
    """Brackets that ``text`` opens and does not close."""
    signs = [sign for sign in BRACKET.findall(text) if len(sign) == 1]
    return sum(sign in "{[" for sign in signs) - sum(sign in "}]" for sign in signs)


def _width(text: str) -> int:
    """The column at which all of ``text`` is wrapped; 0 if it is not."""
    lengths = [len(line) for line in text.split("\n")]
    most = max(lengths)
    if not WRAP_MIN <= most <= WRAP_MAX or lengths.count(most) < WRAPPED_MIN:
        return 0
    return most if any(b and b < most for a, b in pairwise(lengths) if a == most) else 0


def _begins(line: str, record: str) -> bool:
    """Whether ``line`` is a record of its own: it opens as ``record`` does, with a time, an object, or as a comment."""
    alike = [re.sub(r"\d+", "0", text[:ALIKE]) for text in (line, record)]
    return line.lstrip().startswith(("{", "#")) or stamp_s(line[:32]) is not None or alike[0] == alike[1]


def _unwrapped(lines: list[str], width: int) -> list[str]:
    """Join each line that fills ``width`` to the next one, unless the next one begins a record of its own."""
    whole: list[str] = []
    empty = 0
    for before, line in pairwise(["", *lines]):
        if len(before) == width and not before.startswith("#") and not _begins(line, whole[-1]):
            whole[-1] += line
            empty += 1
        else:
            whole += [""] * empty + [line]
            empty = 0
    return whole + [""] * empty
