"""The picture of a comparison: a panel a figure, and in it a line a combination of the axes but the first.

Along the bottom go the values of the first axis where they are numbers; names have a bar each, one below the other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hostsim.report import compare_bars
from hostsim.report.compare_lines import COLOURS, MARKERS, Line, ended, scale_of, shift_of, spread_of
from hostsim.report.compare_table import short_keys, shown_figures
from hostsim.report.compare_words import TITLES
from hostsim.report.plots import pictures_of
from hostsim.study.compare.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.study.compare.plan import Plan

LINES_MAX = len(COLOURS)
NUMBER = re.compile(r"[-+]?\.?\d")


def compare_pictures(plan: Plan, summary: Summary) -> dict[str, bytes]:
    """``png`` and ``svg``, the same bytes each time. MissingExtraError without matplotlib."""
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
    title = f"{plan.name}" + (f" ({left_out} more lines in compare.csv)" if left_out > 0 else "")
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    return figure


def are_numbers(labels: Sequence[str]) -> bool:
    """Whether the values of an axis are numbers, with units or without."""
    return all(NUMBER.match(label) for label in labels)


def _lines(plan: Plan, summary: Summary) -> list[Line]:
    """At most LINES_MAX, rows in the order of the first axis."""
    n = len(summary.rows) // len(plan.axes[0].labels)
    short = short_keys([axis.key for axis in plan.axes])
    found = []
    for offset in range(min(n, LINES_MAX)):
        rows = list(summary.rows[offset::n])
        others = list(rows[0].settings.items())[1:]
        found.append((", ".join(f"{short[key]}={value}" for key, value in others), rows))
    return found


def _panel(axes: Axes, key: str, values: Sequence[str], lines: Sequence[Line], name: str) -> None:
    scale, unit = scale_of(lines, name)
    for number in range(len(lines)):
        _line(axes, lines, name, scale, number)
    axes.set_xticks(range(len(values)), values, rotation=30 if max(map(len, values)) * len(values) > 44 else 0)
    axes.set_xlim(-0.5, len(values) - 0.5)
    low, high = axes.dataLim.intervaly
    axes.set_ylim(min(0.0, 1.1 * low), 1.1 * high if high > 0 else 1.0)
    axes.set_ylabel(f"{TITLES[name]} [{unit}]")
    axes.set_xlabel(key)


def _line(axes: Axes, lines: Sequence[Line], name: str, scale: float, number: int) -> None:
    text, rows = lines[number]
    shift = 0.24 * shift_of(number, len(lines))
    at, means, reach = spread_of(rows, name, scale)
    look: dict[str, Any] = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 5}
    look |= {"linewidth": 1.1, "elinewidth": 1.3, "capsize": 3, "label": text or "_"}
    axes.errorbar([i + shift for i in at], means, reach, **look)
    place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top"}
    for i, words in ended(rows, at):
        axes.text(i + shift, 0.97, words, color=COLOURS[number], fontsize=7.5, **place)
