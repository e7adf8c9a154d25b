"""Charts of a solution: P of each pair of link and downtime limit, and the runs of each change that reach the target."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

import numpy as np

from hostsim.report.charts.chart import Axis, Bar, Bars, Chart, HeatMap
from hostsim.report.solve_words import TITLES, value_words
from hostsim.study.solve.solution import Cell, Change
from hostsim.study.statistics import Share
from hostsim.verdict.words import bandwidth_words, seconds_words

OBSTACLE_LETTERS = 90
QUARTERS = tuple((float(percent), f"{percent} %") for percent in (0, 25, 50, 75, 100))


def reach_chart(cells: Sequence[Cell]) -> Chart | None:
    """A cell a pair with its P, 0 or 1 where it is computed; pairs that were run have a frame."""
    if not cells:
        return None
    speeds = sorted({cell.bandwidth_bytes_per_s for cell in cells})
    limits = sorted({cell.downtime_limit_ms for cell in cells})
    chance, framed = np.zeros((len(speeds), len(limits))), []
    for cell in cells:
        at = speeds.index(cell.bandwidth_bytes_per_s), limits.index(cell.downtime_limit_ms)
        chance[at] = cell.share
        if cell.runs:
            framed.append((*at, f"{cell.reached}/{cell.runs} runs, {cell.low:.2f} to {cell.high:.2f}"))
    x, y = _axis("link", [bandwidth_words(v) for v in speeds]), _axis("limit", [seconds_words(v / 1000) for v in limits])
    across, up = (np.arange(n + 1, dtype=float) for n in chance.shape)
    title = "P that the target is reached, by link and downtime limit"
    part = HeatMap(y, across, up, chance, "P", "", title, True, tuple(framed), top=1.0)
    lead = "0 or 1 without a frame: computed. Frames: pairs that were run, their runs that reach it, and the interval of P."
    return Chart("reach", "Which link and downtime limit reach the target?", x, (part,), lead=lead)


def changes_chart(today: Share, changes: Sequence[Change]) -> Chart:
    """A bar a change: the share of its confirming runs that reach the target. today: of the runs without a change."""
    rows = ("unchanged", *(_named(change) for change in changes))
    bars = (_reached(today), *(_changed(change) for change in changes))
    part = Bars(Axis("runs that reach the target", "%", ticks=QUARTERS), rows, (("runs that reach the target", bars),))
    return Chart("changes", "What does each change alone reach?", Axis(""), (part,), lead="Whiskers: 95 % intervals.")


def _named(change: Change) -> str:
    value = "" if change.value is None else f" {value_words(change.kind, change.value)}"
    return f"{TITLES[change.kind]}{value}"


def _changed(change: Change) -> Bar:
    if change.reached is None:
        return Bar(float("nan"), words=shorten(change.obstacle or "not run", OBSTACLE_LETTERS, placeholder=" ..."))
    return _reached(change.reached)


def _reached(share: Share) -> Bar:
    return Bar(100 * share.share, 100 * share.low, 100 * share.high, f"{share.k} of {share.n} runs")


def _axis(name: str, labels: Sequence[str]) -> Axis:
    ticks = tuple((i + 0.5, label) for i, label in enumerate(labels))
    return Axis(name, "plain", low=0.0, high=float(len(labels)), ticks=ticks)
