"""The picture of a comparison: a panel a figure, and in it a line a combination of the axes but the first.

Along the bottom go the values of the first axis where they are numbers, each at its place; names have a bar each, one below
the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hostsim.core.errors import UnitError
from hostsim.core.units import parse_bandwidth, parse_bytes, parse_duration, parse_fraction, parse_rate
from hostsim.report import compare_bars
from hostsim.report.compare_lines import Line, ended, scale_of, spread_of
from hostsim.report.compare_table import short_keys, shown_figures
from hostsim.report.compare_words import TITLES
from hostsim.report.drawing import (
    COLOURS,
    DASHES,
    MARKERS,
    label_ticks,
    log_axis,
    pictures_of,
    short_words,
    spans_decades,
    titled,
)
from hostsim.study.compare.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.study.compare.plan import Plan

LINES_MAX = len(COLOURS)
EDGE = 0.06
"""Share of the axis that is left at both ends."""
LOG_FROM = 8.0
NUMBER = re.compile(r"[-+]?\.?\d")


def compare_pictures(plan: Plan, summary: Summary) -> dict[str, bytes]:
    """``png`` and ``svg``; equal arguments give equal bytes. MissingExtraError without matplotlib."""
    return pictures_of(lambda: draw(plan, summary))


def draw(plan: Plan, summary: Summary) -> Figure:
    """Two panels beside each other, as many rows as the figures need."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names, lines, first = shown_figures(summary), _lines(plan, summary), plan.axes[0]
    n_rows = max(1, -(-len(names) // 2))
    has_bars = not are_numbers(first.labels)
    height = compare_bars.height(len(first.labels), len(lines)) if has_bars else 2.7
    figure = Figure(figsize=(9.0, 1.3 + height * n_rows), layout=ConstrainedLayoutEngine(h_pad=0.06))
    panels = figure.subplots(n_rows, 2, squeeze=False, sharey=has_bars).ravel()
    for axes, name in zip(panels, names, strict=False):
        (compare_bars.panel if has_bars else _panel)(axes, first.key, first.labels, lines, name)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    if len(plan.axes) > 1 and handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(handles)))
    left_out = len(summary.rows) // len(first.labels) - len(lines)
    more = f" ({left_out} more lines in compare.csv)" if left_out > 0 else ""
    titled(figure, f"{plan.name}: what {first.key} changes{more}")
    return figure


def are_numbers(labels: Sequence[str]) -> bool:
    """Whether all values of an axis are numbers, with units or without."""
    return all(NUMBER.match(label) for label in labels)


def _lines(plan: Plan, summary: Summary) -> list[Line]:
    """At most LINES_MAX lines, the rows of each in the order of the first axis."""
    n = len(summary.rows) // len(plan.axes[0].labels)
    short = short_keys([axis.key for axis in plan.axes])
    found = []
    for offset in range(min(n, LINES_MAX)):
        rows = list(summary.rows[offset::n])
        others = list(rows[0].settings.items())[1:]
        found.append((", ".join(f"{short[key]}={value}" for key, value in others), rows))
    return found


def places(labels: Sequence[str]) -> list[float] | None:
    """The values of an axis in their base unit; None if they have no common unit."""
    for parse in (float, parse_duration, parse_bandwidth, parse_bytes, parse_rate, parse_fraction):
        with suppress(ValueError, UnitError):
            return [float(parse(label)) for label in labels]
    return None


def _panel(axes: Axes, key: str, values: Sequence[str], lines: Sequence[Line], name: str) -> None:
    scale, unit = scale_of(lines, name)
    at = places(values) or [float(i) for i in range(len(values))]
    for number in range(len(lines)):
        _line(axes, lines, name, scale, at, number)
    _across(axes, at, values)
    means = [spread.mean / scale for _, rows in lines for row in rows if (spread := row.spread(name)) is not None]
    low, high = axes.dataLim.intervaly
    if spans_decades(means) and min(means) > 0:
        log_axis(axes, "y", [means], short_words)
    else:
        axes.set_ylim(min(0.0, 1.1 * low), 1.1 * high if high > 0 else 1.0)
    axes.set_ylabel(f"{TITLES[name]} [{unit}]")
    axes.set_xlabel(key)


def _across(axes: Axes, at: Sequence[float], values: Sequence[str]) -> None:
    """The axis of the values: logarithmic where the largest is LOG_FROM times the smallest; a tick a value."""
    low, high = min(at), max(at)
    if low > 0 and high >= LOG_FROM * low:
        log_axis(axes, "x", [at], str, (low / (high / low) ** EDGE, high * (high / low) ** EDGE))
    else:
        axes.set_xlim(low - EDGE * (high - low or 1.0), high + EDGE * (high - low or 1.0))
    words = dict(zip(at, values, strict=True))
    label_ticks(axes, "x", at, words.__getitem__)
    axes.tick_params(axis="x", rotation=30 if max(map(len, values)) * len(values) > 30 else 0)


def _line(axes: Axes, lines: Sequence[Line], name: str, scale: float, places_of: Sequence[float], number: int) -> None:
    text, rows = lines[number]
    at, means, reach = spread_of(rows, name, scale)
    look: dict[str, Any] = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 5.5}
    # Lines may lie on each other: the first is the widest, and lies below.
    look |= {"linewidth": max(1.0, 2.6 - 0.5 * number), "linestyle": DASHES[number], "zorder": 2 + number / 10}
    look |= {"elinewidth": 1.3, "capsize": 3, "label": text or "_"}
    axes.errorbar([places_of[i] for i in at], means, reach if any(map(any, reach)) else None, **look)
    place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top"}
    for i, words in ended(rows, at):
        axes.text(places_of[i], 0.97 - 0.3 * (number % 3), words, color=COLOURS[number], fontsize=7.5, **place)
