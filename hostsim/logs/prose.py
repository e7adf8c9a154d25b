"""Figures in a sentence, as scripts and Incus print them: ``1.9 GiB remaining, 0.1 GiB transferred of 2.0 GiB``."""

from __future__ import annotations

import math
import re

from hostsim.logs.figures import quantity, written
from hostsim.logs.named import SIZES

SIZE = r"\d[\d.,]*\s?[KMGTP]i?B(?![/\w])"
WORD = r"remaining|left|to go|transferred|sent|copied|processed|done|total"
OTHER_NAMES = {"to go": "remaining_bytes", "copied": "transferred_bytes", "done": "transferred_bytes"}
OF = r"(?:(?:the )?(?:ram|memory|data|size|bytes) )?"
SIZE_FIRST = re.compile(rf"(?P<size>{SIZE})\s+(?:of )?{OF}(?:is )?(?P<word>{WORD})\b", re.IGNORECASE)
WORD_FIRST = re.compile(rf"\b(?P<word>{WORD})\s*(?:[:=]|\b)\s*{OF}(?P<size>{SIZE})", re.IGNORECASE)
EITHER = re.compile(rf"\b(?P<word>{WORD})\b|(?P<size>{SIZE})", re.IGNORECASE)
WHOLE = re.compile(rf"\b(?:out )?of\s+(?P<size>{SIZE})", re.IGNORECASE)
SPEED = re.compile(r"(?P<speed>\d[\d.,]*\s?(?:[KMGT]i?B/s|[KMG]bit/s|Mbps))")
THROTTLE = re.compile(r"(?P<percent>\d{1,2})\s?% (?:cpu )?throttle", re.IGNORECASE)
BITS = {"kbit/s": 1e-3, "gbit/s": 1e3}


def figures_in(text: str) -> dict[str, float]:
    """Figures of one answer in the sentence ``text``, by the names of the columns of a log; {} where nothing remains."""
    first = EITHER.search(text)
    if first is None:
        return {}
    pattern = WORD_FIRST if first["word"] else SIZE_FIRST
    found = {_column(match["word"]): written(match["size"], "bytes") for match in pattern.finditer(text)}
    if "remaining_bytes" not in found:
        return {}
    whole, speed, throttle = WHOLE.search(text), SPEED.search(text), THROTTLE.search(text)
    if whole:
        found.setdefault("total_bytes", written(whole["size"], "bytes"))
    if speed:
        found["mbps"] = _mbps(speed["speed"])
    if throttle:
        found["throttle_percent"] = float(throttle["percent"])
    return {name: value for name, value in found.items() if not math.isnan(value)}


def _column(word: str) -> str:
    return OTHER_NAMES.get(word.lower()) or SIZES[word.lower()]


def _mbps(text: str) -> float:
    unit = next((unit for unit in BITS if text.lower().endswith(unit)), "")
    return quantity(text[: -len(unit)], "plain") * BITS[unit] if unit else written(text, "mbps")
