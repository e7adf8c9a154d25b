"""Charts of a prediction: how its runs spread, and how far the present figures are from flipping the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hostsim.report.charts.chart import Array, Axis, Bar, Bars, Chart, Line, Panel
from hostsim.report.charts.compare import quantity_of
from hostsim.report.compare_words import ENDED, TITLES
from hostsim.report.margin_words import NAMES, WORDS
from hostsim.results.mechanism import is_converged
from hostsim.study.predict.margins import Margin
from hostsim.study.predict.prediction import Estimate

DRAWN = ("total_time_ms", "downtime_ms", "transferred_bytes")
QUARTERS = tuple((float(percent), f"{percent} %") for percent in (0, 25, 50, 75, 100))
ROOM, EQUAL = 1.15, 0.01
"""Half of an axis over the reach of the runs, and over their mean where all runs are equal."""
LOG_FROM = 20.0
"""Margins are on a logarithmic scale where one of them is this many times the present value."""


def runs_chart(runs: Sequence[Mapping[str, Any]], estimates: Mapping[str, Estimate]) -> Chart:
    """A panel a figure: the share of the completed runs with at most that value; of those figures that vary, if any does.

    Where no run completed, how many runs ended in each way.
    """
    done = [run for run in runs if is_converged(run["status"])]
    values = {name: found for name in DRAWN if name in estimates and len(found := _values(done, name))}
    varied = {name: found for name, found in values.items() if len(set(found.tolist())) > 1}
    panels = [_spread(estimates[name], found) for name, found in (varied or values).items()]
    if not panels:
        return _ends(runs)
    steps = f"Each step is one of {len(done)} completed runs." if varied else f"{len(done)} completed runs, which are equal."
    lead = f"{steps} Dashed: the 95 % interval of the mean." if len(done) > 1 else "One run completed."
    return Chart("runs", "How the runs spread", Axis(""), tuple(panels), across=len(panels), lead=lead)


def _ends(runs: Sequence[Mapping[str, Any]]) -> Chart:
    counts = Counter(str(run["status"]) for run in runs)
    bars = tuple(Bar(float(count), words=f"{count} of {len(runs)}") for count in counts.values())
    names = tuple(ENDED.get(status, status) for status in counts)
    part = Bars(Axis("runs", "plain", low=0.0), names, (("runs", bars),), colour="vermilion")
    return Chart("runs", "How the runs ended", Axis(""), (part,), lead="No run completes.")


def _values(runs: Sequence[Mapping[str, Any]], name: str) -> Array:
    known = [run.get(name) for run in runs]
    return quantity_of(name)[0] * np.array([float(value) for value in known if isinstance(value, int | float)])


def _spread(one: Estimate, values: Array) -> Panel:
    factor, quantity = quantity_of(one.name)
    ends = [factor * end for end in (one.spread.low, one.spread.high) if end is not None]
    middle = factor * one.spread.mean
    reach = ROOM * max(abs(edge - middle) for edge in (*values.tolist(), *ends)) or EQUAL * abs(middle) or 1.0
    at, counts = np.unique(values, return_counts=True)
    share = 100.0 * np.cumsum(counts) / len(values)
    x, y = np.array([middle - reach, *at, middle + reach]), np.array([0.0, *share, 100.0])
    line = Line("share of runs", x, y, "blue", "after")
    title = TITLES[one.name]
    axis = Axis(title, quantity, low=middle - reach, high=middle + reach)
    return Panel(Axis("runs with at most this value", "%", low=0.0, high=104.0, ticks=QUARTERS), (line,), x=axis,
                 title=title, rules=tuple(ends))  # fmt: skip


def margins_chart(margins: Sequence[Margin]) -> Chart | None:
    """Bars: the present value of each figure, and the value at which the answer flips."""
    if not margins:
        return None
    flips = tuple(map(_flip, margins))
    most = max((bar.value for bar in flips if np.isfinite(bar.value)), default=1.0)
    least = min((bar.value for bar in flips if np.isfinite(bar.value)), default=1.0)
    is_log = most > LOG_FROM or least < 1 / LOG_FROM
    now = tuple(Bar(1.0, words=WORDS[margin.knob](margin.today)) for margin in margins)
    rows = tuple(NAMES[margin.knob] for margin in margins)
    axis = Axis("times the present value", "plain", log=is_log)
    names = f"now{_ending(margins, here=True)}", f"the answer flips{_ending(margins, here=False)}"
    bars = Bars(axis, rows, ((names[0], now), (names[1], flips)))
    scale = ", on a logarithmic scale" if is_log else ""
    lead = f"Length of a bar: times the present value{scale}. Each figure is changed alone."
    return Chart("margins", "At which value does the answer flip?", Axis(""), (bars,), lead=lead)


def _ending(margins: Sequence[Margin], *, here: bool) -> str:
    """Whether it converges, with the present values or beyond the others; "" if that differs from figure to figure."""
    harder = {margin.harder for margin in margins}
    if len(harder) > 1:
        return ""
    return ": converges" if harder == {here} else ": does not converge"


def _flip(margin: Margin) -> Bar:
    words, nan = WORDS[margin.knob], float("nan")
    if margin.near is None or not margin.confirmed:
        if margin.computed is None:
            return Bar(nan, words="nowhere (computed, not run)")
        return Bar(margin.computed / margin.today, words=f"at about {words(margin.computed)} (computed, not run)")
    if margin.far is None:
        untried = margin.near == margin.today
        side = "up to" if margin.near > margin.today else "down to"
        return Bar(nan, words="cannot be changed further" if untried else f"no flip {side} {words(margin.near)}")
    near, far = margin.near / margin.today, margin.far / margin.today
    told = f"between {words(margin.near)} and {words(margin.far)}"
    return Bar(near, min(near, far), max(near, far), told)
