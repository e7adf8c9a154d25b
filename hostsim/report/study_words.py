"""Figures of studies in the cells of a table, by the unit their names end in."""

from __future__ import annotations

from hostsim.study.compare.spread import Spread
from hostsim.verdict.words import number_words

SCALES_NS = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns"))


def ns_words(ns: float) -> str:
    """7168 -> "7.17us"."""
    scale, unit = next(((scale, unit) for scale, unit in SCALES_NS if ns >= scale), SCALES_NS[-1])
    return f"{number_words(ns / scale)}{unit}"


def cell(name: str, spread: Spread) -> str:
    """``7.17us ±2%``: the mean, and how far the interval reaches on its longer side."""
    text = value_words(name, spread.mean)
    if not spread.reach or spread.mean <= 0:
        return text
    return f"{text} ±{100 * spread.reach / spread.mean:.2g}%"


def value_words(name: str, value: float) -> str:
    """A value alone."""
    if name.endswith("_ns"):
        return ns_words(value)
    if name.endswith("_percent"):
        return f"{number_words(value)}%"
    if name.endswith("_bytes"):
        return f"{number_words(value / 2**20, 4)}MiB"
    return f"{value:.0f}" if value >= 100 else number_words(value)
