"""Figures as people read them in a ticket: two or three digits and a unit."""

from __future__ import annotations

from hostsim.core.units import LEAST, bytes_words, digits_words, number_words, rounded_up, scaled_words

__all__ = [
    "bandwidth_words", "bytes_words", "count_words", "number_words", "pages_words", "percent_words", "rounded_up",
    "seconds_words", "span_words", "times_words",
]  # fmt: skip

NS_PER_US, NS_PER_MS = 1_000, 1_000_000
SHORTEST_MS = 0.1
"""Shorter times are printed in microseconds."""


def bandwidth_words(bytes_per_s: float) -> str:
    """60e6 -> "480 Mbit/s"."""
    return scaled_words(bytes_per_s * 8, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"))


def pages_words(pages: float) -> str:
    """61404 -> "61.4k pages"."""
    return scaled_words(pages, ("", "k", "M", "G")).strip() + " pages"


def count_words(count: float) -> str:
    """2013000 -> "2.01M"."""
    return scaled_words(count, ("", "k", "M", "G", "T"))


def seconds_words(seconds: float) -> str:
    """0.3 -> "300 ms", 4.2 -> "4.2 s", 5400 -> "1.5 h"."""
    if 0 < seconds < SHORTEST_MS / 1000:
        return span_words(seconds * 1e9)
    if seconds < 1:
        return f"{digits_words(seconds * 1000)} ms"
    if seconds < 600:
        return f"{digits_words(seconds)} s"
    return f"{digits_words(seconds / 60)} min" if seconds < 5400 else f"{digits_words(seconds / 3600)} h"


def span_words(ns: float) -> str:
    """800 -> "800 ns", 81088 -> "81.1 us", 2e9 -> "2 s"."""
    if ns < NS_PER_US:
        return f"{ns:.0f} ns"
    return f"{digits_words(ns / NS_PER_US)} us" if ns < NS_PER_MS else seconds_words(ns / 1e9)


def times_words(ratio: float) -> str:
    """1.68 -> "1.7x"."""
    return f"{ratio:.2f}x" if ratio < 1.2 else f"{digits_words(ratio, 2)}x"


def percent_words(share: float) -> str:
    """0.0312 -> "3.12 %"; 0 stays 0, and less than a thousandth of a percent is said to be that."""
    if 0 < share < LEAST / 100:
        return f"less than {LEAST:g} %"
    return f"{number_words(100 * share)} %"
