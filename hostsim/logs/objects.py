"""JSON objects and Python dicts wherever they stand in a text: between shell lines, dates, behind a logger's name."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

OPENING = re.compile(r"""\{\s*(?:["'][^"'\n]{1,80}["']\s*:|\})|\[\s*\{\s*["']""")
TOKEN = re.compile(r"""[{}\[\]]|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""")
QUOTE = re.compile(r'(?<!\\)"')
NOT_A_NUMBER = re.compile(r"(?<=[\s:,\[])[-+]?(nan|inf(?:inity)?)\b(?=\s*[,}\]])", re.IGNORECASE)
LONG_NUMBER = re.compile(r"\d{41,}")
DEPTH_MAX = 60
SPAN_MAX = 1 << 22
FAILED_CHARS_MAX = 1 << 24
"""So many characters are read in vain before the rest is taken as plain text: a text of braces ends, too."""
CUT_MAX, CUTS_MAX = 20_000, 8
"""An answer has some kilobytes; if cutting at so many commas does not help, the object is broken elsewhere."""
DIGITS_MAX = 40


@dataclass(frozen=True)
class Found:
    """An object in a text: characters ``start`` to ``end``, and its value; None if it is cut off or broken."""

    start: int
    end: int
    value: Any


def objects_in(text: str) -> Iterator[Found]:
    """The outermost objects of ``text``, in its order; one that is cut off or broken has the value None."""
    at, spent = 0, 0
    while spent < FAILED_CHARS_MAX and (opened := OPENING.search(text, at)):
        start = opened.start()
        value, end, cost = _read(text, start)
        spent += cost
        yield Found(start, end, value)
        at = max(end, start + 1)


def _read(text: str, start: int) -> tuple[Any, int, int]:
    """Value, end, and the characters read in vain."""
    try:
        return (*DECODER.raw_decode(text, start), 0)
    except json.JSONDecodeError as error:
        cost = error.pos - start
    except (RecursionError, ValueError):
        return None, start + 1, SPAN_MAX
    end = _end_of(text, start)
    if end is None:
        value, end = _cut_line(text, start)
        value, end = (value, end) if value is not None else _cut_off(text, start)
        return value, end, cost + SPAN_MAX // 64
    value = _tolerant(text[start:end])
    return value, end if value is not None else start + 1, cost + end - start


def _cut_line(text: str, start: int) -> tuple[Any, int]:
    """An object that ends at the right edge of a screen, before a line with the next one, as far as it goes; else None."""
    end = text.find("\n", start)
    follows = text[end + 1 : end + 1 + CUT_MAX].lstrip("\n").split("\n", 1)[0]
    if end < 0 or end - start > CUT_MAX or not OPENING.search(follows):
        return None, start + 1
    return _as_far_as_it_goes(text[start:end]), end


def _cut_off(text: str, start: int) -> tuple[Any, int]:
    """An object with which the text ends, as far as it goes; None if more than its end is missing."""
    rest = text[start : start + CUT_MAX]
    if len(text) - start > CUT_MAX or (OPENING.search(rest, 1) and "\n{" in rest):
        return None, start + 1
    value = _as_far_as_it_goes(rest)
    return value, len(text) if value is not None else start + 1


def _as_far_as_it_goes(rest: str) -> Any:
    """The object without its last, incomplete member; of a text that is cut, all whole words. None if that is no object."""
    if len(QUOTE.findall(rest)) % 2:
        words = rest.rsplit(None, 1)[0]
        value = _tolerant(words + '"' + _closing(words + '"'))
        if value is not None:
            return value
    cuts = [found.start() for found in re.finditer(r",|[}\]](?=\s*$)", rest)][-CUTS_MAX:]
    closed = (_tolerant(rest[:cut] + _closing(rest[:cut])) for cut in reversed(cuts))
    return next((value for value in closed if value is not None), None)


def _closing(text: str) -> str:
    """The brackets that close the open brackets of ``text``."""
    open_signs: list[str] = []
    for sign in TOKEN.findall(text):
        if sign in ("{", "["):
            open_signs.append("}" if sign == "{" else "]")
        elif sign in ("}", "]") and open_signs:
            open_signs.pop()
    return "".join(reversed(open_signs))


def _end_of(text: str, start: int) -> int | None:
    """Where the brackets that open at ``start`` are closed; None if they are not, or nest too deep."""
    depth = 0
    for token in TOKEN.finditer(text, start, min(len(text), start + SPAN_MAX)):
        sign = token.group(0)
        depth += (sign in "{[") - (sign in "}]") if len(sign) == 1 else 0
        if depth == 0:
            return token.end()
        if depth > DEPTH_MAX:
            return None
    return None


def _tolerant(text: str) -> Any:
    """QEMU's ``-nan`` and Python's dicts; None if it is neither."""
    text = LONG_NUMBER.sub("null", NOT_A_NUMBER.sub("null", text))
    try:
        return DECODER.decode(text)
    except (RecursionError, ValueError):
        pass
    try:
        return ast.literal_eval(re.sub(r"\bnull\b", "None", text).replace("\n", " "))
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return None


def _whole(digits: str) -> float | int:
    return int(digits) if len(digits) <= DIGITS_MAX else math.inf


DECODER = json.JSONDecoder(parse_int=_whole, strict=False)
