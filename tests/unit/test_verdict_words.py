"""Figures in sentences: few digits, a unit, and never an exponent."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from hostsim.report.compare_report import figure_words, ratio_words
from hostsim.report.studies import value_words
from hostsim.verdict.words import (
    bandwidth_words,
    bytes_words,
    count_words,
    number_words,
    percent_words,
    seconds_words,
    span_words,
    times_words,
)

WRITERS: tuple[Callable[[float], str], ...] = (
    bandwidth_words, bytes_words, count_words, number_words, percent_words, seconds_words, span_words, times_words,
    ratio_words, lambda value: value_words("a_ns", value),
    lambda value: figure_words("a_percent", value), lambda value: figure_words("a_share", value),
    lambda value: figure_words("a_ns", value), lambda value: figure_words("other", value),
    lambda value: value_words("a_percent", value), lambda value: value_words("a_bytes", value),
    lambda value: value_words("other", value),
)  # fmt: skip
EXPONENT = re.compile(r"\de[+-]?\d")


@pytest.mark.parametrize("write", WRITERS)
def test_no_figure_has_an_exponent(write: Callable[[float], str]) -> None:
    for power in range(-40, 16):
        for mantissa in (1.0, 3.7, 9.996):
            assert not EXPONENT.search(write(mantissa * 10.0**power))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (1e-9, "1 ns"), (9e-5, "90 us"), (1e-4, "0.1 ms"), (0.3, "300 ms"), (4.2, "4.2 s"), (5400, "1.5 h")],
)
def test_times(seconds: float, text: str) -> None:
    assert seconds_words(seconds) == text


@pytest.mark.parametrize(("share", "text"), [(0, "0 %"), (1e-7, "less than 0.001 %"), (0.0312, "3.12 %"), (12.5, "1,250 %")])
def test_percentages(share: float, text: str) -> None:
    assert percent_words(share) == text


def test_what_is_next_to_nothing_is_nothing() -> None:
    assert bandwidth_words(3.7e-26 / 8) == "0 bit/s"
