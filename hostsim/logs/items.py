"""A log as readers take it: lines and objects in the order of the text, each with the time that was last told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hostsim.logs.objects import Found, objects_in
from hostsim.logs.stamps import SEARCHED_CHARS, stamp_s

MESSAGE_KEYS = ("msg", "message", "MESSAGE", "log", "line")
"""Where loggers that write JSON (virt-launcher, kubelet, journald) keep the line they were given."""
TIME_KEYS = ("timestamp", "time", "ts", "@timestamp")
LINE_MAX = 4000
"""No form has longer lines; the objects in a line are found before."""
Wanted = Callable[[str], bool]
SHELLS_MAX = 3
"""So deep may a logger's JSON stand in another's."""


@dataclass(frozen=True)
class Item:
    """A line of text, or an object with the text before it on its line. stamp_s: the last time told, None before any."""

    line: int
    stamp_s: float | None
    text: str
    value: Any = None


@dataclass
class Clock:
    """The time that was last told: an answer has the time of the line before it."""

    now_s: float | None = None
    passed: str = ""

    def see(self, text: str) -> None:
        """Pass over a line; its time is read when the next item asks for it."""
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
        if not is_wanted(content[:LINE_MAX]):
            clock.see(content)
        elif content.strip():
            yield Item(number, clock.read(content), content[:LINE_MAX])


def _object(found: Found, line: int, head: str, clock: Clock, depth: int, is_wanted: Wanted) -> Iterator[Item]:
    values = found.value if isinstance(found.value, list) else [found.value]
    for value in values:
        inner = _message(value)
        if inner is not None and depth < SHELLS_MAX:
            clock.read(_time(value))
            yield from _items(inner, line, clock, depth + 1, is_wanted)
        else:
            yield Item(line, clock.read(""), head, value)


def _message(value: Any) -> str | None:
    if not isinstance(value, dict) or "return" in value or "ram" in value:
        return None
    return next((value[key] for key in MESSAGE_KEYS if isinstance(value.get(key), str)), None)


def _time(value: dict[str, Any]) -> str:
    return next((value[key] for key in TIME_KEYS if isinstance(value.get(key), str)), "")
