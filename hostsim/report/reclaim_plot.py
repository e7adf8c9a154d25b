"""The picture of ``hostsim reclaim``: cold memory and refaults over the age, stalls, time and bytes of a migration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hostsim.report.age_plot import distributions
from hostsim.report.drawing import COLOURS, DASHES, GREY, MARKERS, titled
from hostsim.study.reclaim.budget import Limit
from hostsim.study.reclaim.outcome import ReclaimRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MB = 1e6
Lines = dict[str, list[ReclaimRow]]


def draw_reclaim(rows: Sequence[ReclaimRow], limits: Sequence[Limit]) -> Figure:
    """Four panels; with migrations the last has their times, without the slowdown."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(10.0, 7.0), layout=ConstrainedLayoutEngine(h_pad=0.06))
    panels = figure.subplots(2, 2).ravel()
    lines = _lines(rows)
    _over_age(panels[0], lines, "reclaimed_bytes", MB, "reclaimed [MB]")
    first = next(iter(lines.values()))
    cold = [row.mean("cold_bytes") / MB for row in first]
    panels[0].plot(_ages_s(first), cold, color=GREY, linestyle="--", label="cold, if all were resident")
    panels[0].set_ylim(0.0, 1.08 * max(*cold, *(row.mean("reclaimed_bytes") / MB for row in rows)))
    panels[0].legend(fontsize=7.5)
    _over_age(panels[1], lines, "refaults_per_s", 1.0, "refaults a second")
    youngest = {name: some[0].latencies["stall"] for name, some in lines.items()}
    budget_ns = [limit.most for limit in limits if limit.figure.startswith("stall")]
    distributions(panels[2], youngest, f"stall at age {first[0].settings['age']}; dashed: the budget", budget_ns)
    panels[2].legend(fontsize=7.5, loc="lower left")
    moved = {name: some for name, some in lines.items() if some[0].migrates}
    if moved:
        _over_age(panels[3], moved, "migration_ns", 1e9, "a migration takes [s]")
        plain = [row.mean("plain_migration_ns") / 1e9 for row in next(iter(moved.values()))]
        panels[3].plot(_ages_s(next(iter(moved.values()))), plain, color=GREY, linestyle="--", label="without reclaim")
        panels[3].legend(fontsize=7.5)
    else:
        _over_age(panels[3], lines, "slowdown_percent", 1.0, "guest slower by [%]")
    titled(figure, "How much memory can be reclaimed, and what does it cost?")
    return figure


def _lines(rows: Sequence[ReclaimRow]) -> Lines:
    """Rows of each line in the order of their ages."""
    keys = [key for key in rows[0].settings if key != "age" and len({row.settings[key] for row in rows}) > 1]
    found: Lines = {}
    for row in rows:
        name = ", ".join(f"{key}={row.settings[key]}" for key in keys) or row.settings["policy"]
        found.setdefault(name, []).append(row)
    return found


def _ages_s(rows: Sequence[ReclaimRow]) -> list[float]:
    return [row.age_ns / 1e9 for row in rows]


def _over_age(axes: Axes, lines: Lines, figure: str, scale: float, title: str) -> None:
    for colour, marker, dashes, (name, rows) in zip(COLOURS, MARKERS, DASHES, lines.items(), strict=False):
        spreads = [row.figures[figure] for row in rows]
        means = [spread.mean / scale for spread in spreads]
        gaps = [[max(0.0, s.mean - (s.mean if s.low is None else s.low)) / scale for s in spreads],
                [max(0.0, (s.mean if s.high is None else s.high) - s.mean) / scale for s in spreads]]  # fmt: skip
        look = {"color": colour, "marker": marker, "linestyle": dashes, "markersize": 5, "linewidth": 1.4}
        axes.errorbar(_ages_s(rows), means, gaps if any(map(any, gaps)) else None, label=name, **look)
    axes.set_xlabel("age from which on idle pages are reclaimed [s]")
    axes.set_ylabel(title)
    axes.set_ylim(bottom=0.0)
    axes.legend(fontsize=7.5)
