"""The picture of a comparison: a panel a figure, the first axis along the bottom, a line a combination of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hostsim.report.compare_table import short_keys, shown_figures
from hostsim.report.compare_words import TITLES, ended_words
from hostsim.report.plots import BLUE, GREEN, INK, VERMILION, pictures_of
from hostsim.study.compare.summary import Row, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.study.compare.plan import Plan

COLOURS = (BLUE, VERMILION, GREEN, "#cc79a7", "#e69f00", "#56b4e9", INK, "#9a8c00")
"""Okabe and Ito's palette, its yellow darkened to be seen on white."""
MARKERS = "osD^vPX*"
LINES_MAX = len(COLOURS)
SCALES = {"_ms": ((1000.0, "s"), (1.0, "ms")), "_bytes": ((1e9, "GB"), (1e6, "MB"), (1.0, "B")), "_percent": ((1.0, "%"),)}


def compare_pictures(plan: Plan, summary: Summary) -> dict[str, bytes]:
    """``png`` and ``svg``, the same bytes each time. MissingExtraError without matplotlib."""
    return pictures_of(lambda: draw(plan, summary))


def draw(plan: Plan, summary: Summary) -> Figure:
    """Two panels beside each other, as many rows as the figures need."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = shown_figures(summary)
    figure = Figure(figsize=(9.0, 1.3 + 2.7 * max(1, -(-len(names) // 2))), layout=ConstrainedLayoutEngine(h_pad=0.06))
    panels = figure.subplots(max(1, -(-len(names) // 2)), 2, squeeze=False).ravel()
    lines = _lines(plan, summary)
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, plan.axes[0].labels, lines, name)
        axes.set_xlabel(plan.axes[0].key)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    if len(plan.axes) > 1 and handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(handles)))
    left_out = len(summary.rows) // len(plan.axes[0].labels) - len(lines)
    title = f"{plan.name}" + (f" ({left_out} more lines in compare.csv)" if left_out > 0 else "")
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold")
    return figure


def _lines(plan: Plan, summary: Summary) -> list[tuple[str, list[Row]]]:
    """(label, its rows in the order of the first axis); at most LINES_MAX."""
    n = len(summary.rows) // len(plan.axes[0].labels)
    short = short_keys([axis.key for axis in plan.axes])
    found = []
    for offset in range(min(n, LINES_MAX)):
        rows = list(summary.rows[offset::n])
        others = list(rows[0].settings.items())[1:]
        found.append((", ".join(f"{short[key]}={value}" for key, value in others), rows))
    return found


def _panel(axes: Axes, values: Sequence[str], lines: Sequence[tuple[str, list[Row]]], name: str) -> None:
    scale, unit = _scale(lines, name)
    for number, (text, rows) in enumerate(lines):
        _line(axes, rows, name, scale, number, text, len(lines))
    axes.set_xticks(range(len(values)), values, rotation=30 if max(map(len, values)) * len(values) > 44 else 0)
    axes.set_xlim(-0.5, len(values) - 0.5)
    low, high = axes.dataLim.intervaly
    axes.set_ylim(min(0.0, 1.1 * low), 1.1 * high if high > 0 else 1.0)
    axes.set_ylabel(f"{TITLES[name]} [{unit}]")


def _line(axes: Axes, rows: Sequence[Row], name: str, scale: float, number: int, text: str, n_lines: int) -> None:
    shift = 0.0 if n_lines == 1 else 0.24 * (number / (n_lines - 1) - 0.5)
    there = {i + shift: spread for i, row in enumerate(rows) if (spread := row.spread(name)) is not None}
    means = [spread.mean / scale for spread in there.values()]
    below = [_gap(spread.low, spread.mean) / scale for spread in there.values()]
    above = [_gap(spread.mean, spread.high) / scale for spread in there.values()]
    look: dict[str, Any] = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 5}
    look |= {"linewidth": 1.1, "elinewidth": 1.3, "capsize": 3, "label": text or "_"}
    axes.errorbar(list(there), means, [below, above], **look)
    place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top"}
    for i, row in enumerate(rows):
        if i + shift not in there:
            axes.text(i + shift, 0.97, ended_words(row), color=COLOURS[number], fontsize=7.5, **place)


def _gap(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else high - low


def _scale(lines: Sequence[tuple[str, list[Row]]], name: str) -> tuple[float, str]:
    top = max((spread.mean for _, rows in lines for row in rows if (spread := row.spread(name))), default=0.0)
    steps = next((steps for ending, steps in SCALES.items() if name.endswith(ending)), ((1.0, ""),))
    return next(((factor, unit) for factor, unit in steps if top >= factor), steps[-1])
