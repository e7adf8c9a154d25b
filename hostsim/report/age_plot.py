"""The picture of ``hostsim age``: pass time, slowdown, what is seen, and how long guest faults take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hostsim.report.compare_lines import COLOURS
from hostsim.report.plots import BLUE, GREEN, GREY, VERMILION
from hostsim.study.ageing.outcome import AgeRow, label
from hostsim.study.compare.spread import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.host.latency import Latencies

ROWS_MAX = 24
LINES_MAX = len(COLOURS)


def draw_age(rows: Sequence[AgeRow], varied: Sequence[str]) -> Figure:
    """Three panels of bars, a bar a case, and one of distributions if the guest had faults."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    shown = rows[:ROWS_MAX]
    names = [label(row, varied) for row in shown]
    faults = {name: row.latencies["guest fault"] for name, row in zip(names, shown, strict=True)}
    below = 3.2 if any(counted.count for counted in faults.values()) else 0.0
    figure = Figure(figsize=(11.0, 2.6 + 0.32 * len(shown) + below), layout=ConstrainedLayoutEngine())
    heights = [1.2 + 0.32 * len(shown), *([3.0] if below else [])]
    grid = figure.add_gridspec(len(heights), 3, height_ratios=heights)
    bars = [figure.add_subplot(grid[0, column]) for column in range(3)]
    _bars(bars[0], names, [row.figures["pass_mean_ns"] for row in shown], 1e6, "a pass [ms]", BLUE)
    _bars(bars[1], None, [row.figures["vcpu_slowdown_percent"] for row in shown], 1.0, "guest slower by [%]", VERMILION)
    _sight(bars[2], shown)
    if below:
        distributions(figure.add_subplot(grid[1, :]), faults, "a fault of the guest takes longer than")
    left_out = f" ({len(rows) - len(shown)} more in age.csv)" if len(rows) > len(shown) else ""
    figure.suptitle(f"What page ageing costs the guest{left_out}", x=0.012, ha="left", fontsize=13, fontweight="bold")
    return figure


def _bars(axes: Axes, names: Sequence[str] | None, values: Sequence[Spread], scale: float, title: str, colour: str) -> None:
    at = np.arange(len(values))
    gaps = [[_gap(s.low, s.mean) / scale for s in values], [_gap(s.mean, s.high) / scale for s in values]]
    axes.barh(at, [s.mean / scale for s in values], xerr=gaps, color=colour, height=0.62, error_kw={"linewidth": 1.0})
    axes.set_yticks(at, names or [""] * len(values))
    axes.invert_yaxis()
    axes.set_xlim(left=0.0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(title)


def _sight(axes: Axes, rows: Sequence[AgeRow]) -> None:
    """Pages in use, and those of them that the policy takes for idle."""
    at = np.arange(len(rows))
    axes.barh(at, [row.mean("used_pages") for row in rows], color=GREY, height=0.62, label="in use")
    axes.barh(at, [row.mean("false_old_pages") for row in rows], color=VERMILION, height=0.34, label="taken for idle")
    axes.plot([row.mean("working_set_pages") for row in rows], at, "|", color=GREEN, markersize=11, label="estimate")
    axes.set_yticks(at, [""] * len(rows))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("pages a period")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=7.5)


def distributions(axes: Axes, latencies: dict[str, Latencies], title: str) -> None:
    """Of each that is not empty, the share that takes longer, over time, both on logarithmic axes."""
    there = {name: counted for name, counted in latencies.items() if counted.count}
    for colour, (name, counted) in zip(COLOURS, there.items(), strict=False):
        ends_ns, counts = counted.buckets()
        longer = 1.0 - np.cumsum(counts) / counted.count
        axes.step([ends_ns[0] / 1e3, *(ends_ns / 1e3)], [1.0, *np.maximum(longer, 0.5 / counted.count)], where="post",
                  color=colour, linewidth=1.2, label=name)  # fmt: skip
    if not there:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing waited", transform=axes.transAxes, ha="center")
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"{title} [us]")
    axes.set_ylabel("share")
    axes.legend(fontsize=7.5)


def _gap(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else max(0.0, high - low)
