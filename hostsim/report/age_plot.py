"""The picture of ``hostsim age``: time of a pass, slowdown, quality of the estimate, latency of guest faults."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.report.drawing import BLUE, COLOURS, DASHES, GREY, INK, VERMILION, log_axis, spans_decades, titled
from hostsim.report.layout import wrapped
from hostsim.report.memory_plots import survival_axes
from hostsim.report.study_words import value_words
from hostsim.study.ageing.outcome import AgeRow, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.core.latency import Latencies

ROWS_MAX = 24
LINES_MAX = len(COLOURS)
BAR_TICKS = 3
NAME_LETTERS = 44
LEGEND_LETTERS = 130
"""Letters of a line of the legend."""


def draw_age(rows: Sequence[AgeRow], varied: Sequence[str]) -> Figure:
    """Three panels of bars, a bar a case, and one of distributions if the guest had faults."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    shown = rows[:ROWS_MAX]
    names = [label(row, varied or ["policy"]) for row in shown]
    faults = {name: row.latencies["guest fault"] for name, row in zip(names, shown, strict=True)}
    below = 3.2 if any(counted.count for counted in faults.values()) else 0.0
    figure = Figure(figsize=(11.0, 2.6 + 0.32 * len(shown) + below), layout=ConstrainedLayoutEngine())
    heights = [1.2 + 0.32 * len(shown), *([3.0] if below else [])]
    grid = figure.add_gridspec(len(heights), 3, height_ratios=heights)
    bars = [figure.add_subplot(grid[0, column]) for column in range(3)]
    _bars(bars[0], names, shown, "pass_mean_ns", "a pass takes", BLUE)
    _bars(bars[1], None, shown, "vcpu_slowdown_percent", "guest slower by [%]", VERMILION)
    _sight(bars[2], shown)
    if below:
        below_axes = figure.add_subplot(grid[1, :])
        distributions(below_axes, faults, "time of a fault of the guest")
        across = max(1, min(3, LEGEND_LETTERS // max(map(len, names))))
        figure.legend(*below_axes.get_legend_handles_labels(), loc="outside lower center", ncols=across, fontsize=8)
    left_out = f" ({len(rows) - len(shown)} more in age.csv)" if len(rows) > len(shown) else ""
    titled(figure, f"What does page ageing cost the guest, and what does it see?{left_out}")
    return figure


def _bars(axes: Axes, names: Sequence[str] | None, rows: Sequence[AgeRow], name: str, title: str, colour: str) -> None:
    """A bar a row with its figure; from the least of them on a logarithmic axis where they span decades, else from 0."""
    values, words = [row.figures[name] for row in rows], partial(value_words, name)
    means, at = [s.mean for s in values], np.arange(len(values))
    gaps = [[_gap(s.low, s.mean) for s in values], [_gap(s.mean, s.high) for s in values]]
    look: dict[str, Any] = {"xerr": gaps, "error_kw": {"linewidth": 1.0}} if any(map(any, gaps)) else {}
    axes.barh(at, means, color=colour, height=0.62, **look)
    folded = ["\n".join(wrapped(name, NAME_LETTERS)) for name in names or [""] * len(values)]
    axes.set_yticks(at, folded, fontsize=8.5)
    axes.invert_yaxis()
    positive = [mean for mean in means if mean > 0]
    if spans_decades(means) or (positive and name.endswith("_ns")):
        low, high = min(positive) / 3, max(positive)
        log_axis(axes, "x", [positive], words, (low, high * (high / low) ** 0.35), ticks_max=BAR_TICKS)
    else:
        axes.set_xlim(0.0, 1.35 * max([*means, 1e-9]))
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8}
    for place, mean in enumerate(means):
        # A bar of 0 has no place on a logarithmic axis, a negative one none on either: their figures stand at the left.
        where, coords = (mean, "data") if mean > 0 else (0.0, ("axes fraction", "data"))
        axes.annotate(words(mean), (where, place), (4, 0), xycoords=coords, **beside)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(title)


def _sight(axes: Axes, rows: Sequence[AgeRow]) -> None:
    """Pages in use, and those of them that the policy takes for idle."""
    at = np.arange(len(rows))
    axes.barh(at, [row.mean("used_pages") for row in rows], color=GREY, height=0.62, label="in use")
    axes.barh(at, [row.mean("false_old_pages") for row in rows], color=VERMILION, height=0.34, label="taken for idle")
    look: dict[str, Any] = {"color": INK, "markersize": 11, "markeredgewidth": 1.8}
    axes.plot([row.mean("working_set_pages") for row in rows], at, "|", label="estimate", **look)
    axes.set_yticks(at, [""] * len(rows))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("pages a period")
    axes.locator_params(axis="x", nbins=4)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=7.5)


def distributions(axes: Axes, latencies: dict[str, Latencies], title: str, marks_ns: Sequence[float] = ()) -> None:
    """For each distribution with a wait, the share of longer waits over time, on logarithmic axes; a dashed line a mark."""
    there = {name: counted for name, counted in latencies.items() if counted.count}
    for number, (name, counted) in enumerate(there.items()):
        ends_ns, counts = counted.buckets()
        longer = 1.0 - np.cumsum(counts) / counted.count
        axes.step([max(1, ends_ns[0]), *np.maximum(ends_ns, 1)], [1.0, *np.maximum(longer, 0.5 / counted.count)],
                  where="post", color=COLOURS[number % len(COLOURS)], linestyle=DASHES[number % len(DASHES)],
                  linewidth=max(1.2, 2.8 - 0.3 * number), label=name)  # fmt: skip
    if not there:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing waited", transform=axes.transAxes, ha="center")
        return
    for mark_ns in marks_ns:
        axes.axvline(mark_ns, color=GREY, linestyle="--", linewidth=1.2)
    survival_axes(axes)
    axes.set_xlabel(title)
    axes.set_ylabel("share that took longer")


def _gap(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else max(0.0, high - low)
