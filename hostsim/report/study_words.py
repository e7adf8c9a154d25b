"""Figures of studies in the cells of a table, by the unit their names end in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hostsim.report.columns import Column, Role
from hostsim.study.statistics import Spread
from hostsim.verdict.words import bytes_words, number_words, span_words


def cell(name: str, spread: Spread) -> str:
    """``7.17 us ±2 %``: the mean, and how far the interval reaches on its longer side."""
    text = value_words(name, spread.mean)
    if not spread.reach or spread.mean <= 0:
        return text
    return f"{text} ±{number_words(100 * spread.reach / spread.mean, 2)} %"


def value_words(name: str, value: float) -> str:
    """A value alone."""
    if name.endswith("_ns"):
        return span_words(value)
    if name.endswith("_percent"):
        return f"{number_words(value)} %"
    if name.endswith("_bytes"):
        return bytes_words(value)
    return f"{value:.0f}" if value >= 100 else number_words(value)


def study_column(name: str, heading: str, role: Role = Role.FIGURE) -> Column:
    """The column of a figure that the rows of a study have over all seeds."""

    def of(row: Any) -> str:
        figures: Mapping[str, Spread] = row.figures
        return cell(name, figures[name])

    return Column(name, heading, role=role, of=of)


def setting_column(key: str) -> Column:
    """The column of a setting that varies."""
    return Column(key, key, role=Role.KEY, of=lambda row: row.settings[key])
