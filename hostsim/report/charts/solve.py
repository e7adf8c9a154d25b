"""The map of a solution: which pairs of link and downtime limit reach the target, and in which time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hostsim.report.charts.chart import Axis, Chart, HeatMap
from hostsim.study.solve.solution import Cell
from hostsim.verdict.words import bandwidth_words, seconds_words


def reach_chart(cells: Sequence[Cell]) -> Chart | None:
    """A cell a pair with its computed total time, empty where the target is missed; pairs that were run have a frame."""
    if not cells:
        return None
    speeds = sorted({cell.bandwidth_bytes_per_s for cell in cells})
    limits = sorted({cell.downtime_limit_ms for cell in cells})
    total, framed = np.full((len(speeds), len(limits)), np.nan), []
    for cell in cells:
        at = speeds.index(cell.bandwidth_bytes_per_s), limits.index(cell.downtime_limit_ms)
        if cell.computed and cell.total_s is not None:
            total[at] = cell.total_s
        if cell.runs:
            framed.append((*at, f"{cell.reached}/{cell.runs} runs"))
    x, y = _axis("link", [bandwidth_words(v) for v in speeds]), _axis("limit", [seconds_words(v / 1000) for v in limits])
    across, up = (np.arange(n + 1, dtype=float) for n in total.shape)
    part = HeatMap(y, across, up, total, "total time", "s", "Total time by link and downtime limit", True, tuple(framed))
    lead = "Empty: misses the target. Times are computed. Frames: the cheapest pairs, and how many of their runs reach it."
    return Chart("reach", "Which link and downtime limit reach the target?", x, (part,), lead=lead)


def _axis(name: str, labels: Sequence[str]) -> Axis:
    ticks = tuple((i + 0.5, label) for i, label in enumerate(labels))
    return Axis(name, "plain", low=0.0, high=float(len(labels)), ticks=ticks)
