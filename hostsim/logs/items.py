"""A log as readers take it: lines and objects in the order of the text, each with the last timestamp before it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hostsim.logs.objects import Found, objects_in
from hostsim.logs.stamps import SEARCHED_CHARS, stamp_s
from hostsim.logs.whose import domain_in
from hostsim.logs.wrapped import guest_of, messages, own_time, qmp_time, texts_within

LINE_MAX = 4000
"""No form has longer lines; objects in a longer line are found before the line is cut."""
HEADING_MAX = 80
SETTING = re.compile(r"\s*(?:[\w -]+:\s+\S+|globals:)\s*", re.IGNORECASE)
"""A figure or setting within an answer, as ``clear-bitmap-shift: 18``, is no heading of one."""
Wanted = Callable[[str], bool]
SHELLS_MAX = 3
UNFINISHED = ("{", "[", ",")
"""So deep may a logger's JSON stand in another's."""


@dataclass(frozen=True)
class Item:
    """A line of text, or an object with the text before it on its line.

    stamp_s: the last timestamp, None before the first; domain: the guest that a command of virsh or an event named last.
    heading: the last line before it that no reader takes, which may name the guest.
    """

    line: int
    stamp_s: float | None
    text: str
    value: Any = None
    domain: str = ""
    heading: str = ""


@dataclass
class Clock:
    """The last timestamp of the log: an answer has the time of the line before it."""

    now_s: float | None = None
    passed: str = ""
    domain: str = ""
    heading: str = ""

    def see(self, text: str) -> None:
        """Pass over a line; its time is read when the next item asks for it."""
        if text.strip() and len(text) <= HEADING_MAX and not SETTING.fullmatch(text):
            self.heading = text
        if ":" in text[:SEARCHED_CHARS]:
            self.passed = text

    def read(self, text: str) -> float | None:
        """The time that opens ``text``, else the last one."""
        told = stamp_s(text)
        if told is None and self.passed:
            told = stamp_s(self.passed)
        self.passed = ""
        self.now_s = self.now_s if told is None else told
        return self.now_s


def items_of(text: str, is_wanted: Wanted = bool) -> Iterator[Item]:
    """All objects of ``text``, and the lines that ``is_wanted`` wants."""
    yield from _items(text, 1, Clock(), 0, is_wanted)


def _items(text: str, line: int, clock: Clock, depth: int, is_wanted: Wanted) -> Iterator[Item]:
    at = 0
    for found in objects_in(text):
        if found.value is None or found.start < at:
            continue
        before = text[at : found.start]
        head = before.rsplit("\n", 1)[-1]
        yield from _lines(before, line, clock, is_wanted)
        line += before.count("\n")
        yield from _object(found, line, head, clock, depth, is_wanted)
        line += text.count("\n", found.start, found.end)
        at = found.end
    yield from _lines(text[at:], line, clock, is_wanted)


def _lines(text: str, line: int, clock: Clock, is_wanted: Wanted) -> Iterator[Item]:
    for number, content in enumerate(text.split("\n"), line):
        clock.domain = domain_in(content[:LINE_MAX]) or clock.domain
        if not is_wanted(content[:LINE_MAX]):
            clock.see(content)
        elif content.strip():
            yield Item(number, clock.read(content), content[:LINE_MAX], domain=clock.domain, heading=clock.heading)


def _object(found: Found, line: int, head: str, clock: Clock, depth: int, is_wanted: Wanted) -> Iterator[Item]:
    values = found.value if isinstance(found.value, list) else [found.value]
    for value in values:
        wrapped = messages(value) if depth < SHELLS_MAX else []
        others = texts_within(value) if depth < SHELLS_MAX and not wrapped else []
        for time, text in (*wrapped, *others):
            clock.read(time)
            clock.domain = guest_of(value) or clock.domain
            yield from _items(text, line, clock, depth + 1, is_wanted)
        if not wrapped:
            yield Item(line, clock.read(own_time(value) or head), head, value, domain=clock.domain)


def record_stamp_s(record: Any) -> float | None:
    """The time of a record of a command and its answer [s], as ``stamp_s`` counts; None without one."""
    return stamp_s(qmp_time(record))


def one_record_a_line(text: str) -> str:
    """``text`` with the messages of loggers in place of their records, where an object goes on from one to the next."""
    lines = text.split("\n")
    records = [_line_of(line) if line.startswith("{") else None for line in lines]
    for first in (i for i, told in enumerate(records) if told and told.rstrip().endswith(UNFINISHED)):
        last = first
        while last < len(lines) and records[last] is not None:
            lines[last] = records[last] or ""
            records[last], last = None, last + 1
    return "\n".join(lines)


def _line_of(line: str) -> str | None:
    """The message in a record that is one line of a longer text; None if there is none."""
    try:
        value = json.loads(line)
    except (RecursionError, ValueError):
        return None
    inner = [text.removesuffix("\n") for _, text in messages(value)]
    return inner[0] if len(inner) == 1 and "\n" not in inner[0] else None
