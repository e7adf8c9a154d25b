"""The picture of a prediction: how the runs spread, and how far today's figures are from flipping the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hostsim.report.compare_words import TITLES
from hostsim.report.drawing import BLUE, GREEN, GREY, INK, VERMILION, log_ticks, pictures_of, titled
from hostsim.report.margin_words import MORE_IS_HARDER, NAMES, WORDS
from hostsim.report.predict_words import chance_words, unit_of
from hostsim.study.predict.margins import Margin
from hostsim.study.predict.prediction import Estimate, Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = ("total_time_ms", "downtime_ms", "transferred_bytes")
PADDING = 1.6
SPREAD = 0.28


def prediction_pictures(found: Prediction) -> dict[str, bytes]:
    """``png`` and ``svg``; equal arguments give equal bytes. MissingExtraError without matplotlib."""
    return pictures_of(lambda: draw(found))


def draw(found: Prediction) -> Figure:
    """Above a panel a figure with a dot a run; below a line a margin, today's value at 1."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    estimates = [found.estimates[name] for name in DRAWN if name in found.estimates]
    margins = [margin for margin in found.margins if margin.near is not None or margin.computed is not None]
    heights = ([1.5] if estimates else []) + ([0.5 + 0.42 * len(margins)] if margins else [])
    figure = Figure(figsize=(9.0, 1.2 + 1.3 * sum(heights)), layout=ConstrainedLayoutEngine(h_pad=0.08))
    rows = figure.add_gridspec(max(1, len(heights)), max(1, len(estimates)), height_ratios=heights or [1.0])
    for i, one in enumerate(estimates):
        axes = figure.add_subplot(rows[0, i])
        _runs(axes, one, found)
        if i == 0:
            axes.set_title("a dot a run; band: 95 % interval of the mean", fontsize=8, loc="left")
    if margins:
        _margins(figure.add_subplot(rows[len(heights) - 1, :]), margins)
    share = found.converges
    titled(figure, f"{found.name}: {share.k} of {share.n} runs converge ({chance_words(share)})")
    return figure


def _runs(axes: Axes, one: Estimate, found: Prediction) -> None:
    scale, unit = unit_of(one.name, one.spread.mean)
    values = [run.get(one.name) for run in found.runs if run["status"] == "completed"]
    numbers = sorted(float(value) / scale for value in values if isinstance(value, int | float))
    heights = [SPREAD * math.sin(2.4 * i) for i in range(len(numbers))]  # apart, so that equal runs are seen
    axes.plot(numbers, heights, "o", color=BLUE, markersize=4, alpha=0.6)
    low, high = one.spread.low, one.spread.high
    if low is not None and high is not None:
        axes.axvspan(low / scale, high / scale, color=GREEN, alpha=0.25, linewidth=0)
    axes.axvline(one.spread.mean / scale, color=GREEN, linewidth=1.4)
    middle, reach = one.spread.mean / scale, max([abs(v - one.spread.mean / scale) for v in numbers], default=0.0)
    reach = max(1.2 * reach, 0.01 * middle)
    axes.set_xlim(middle - reach, middle + reach)
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=4)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"{TITLES[one.name]} [{unit}]", fontsize=9)


def _margins(axes: Axes, margins: Sequence[Margin]) -> None:
    """Each figure as a multiple of today's: green where the migration converges, red where it does not."""
    ends = [value / margin.today for margin in margins for value in (margin.near, margin.far, margin.computed) if value]
    low, high = min(1.0, *ends) / PADDING, max(1.0, *ends) * PADDING
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    for y, margin in enumerate(reversed(margins)):
        _margin(axes, margin, y, low, high)
    axes.axvline(1.0, color=INK, linewidth=1.2)
    axes.set_ylim(-0.6, len(margins) - 0.4)
    axes.set_yticks(range(len(margins)), [NAMES[margin.knob] for margin in reversed(margins)])
    ticks = log_ticks(low, high)
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.grid(visible=False)
    axes.set_xlabel("times today's value; blue: converges, red: does not, grey: not run", fontsize=8)


def _margin(axes: Axes, margin: Margin, y: int, low: float, high: float) -> None:
    near, far = margin.near or margin.today, margin.far
    outward = high if (margin.knob in MORE_IS_HARDER) == margin.harder else low
    today = BLUE if margin.harder else VERMILION
    other = VERMILION if margin.harder else BLUE
    behind = low if outward == high else high
    _bar(axes, y, behind, near / margin.today, today)
    if far is not None:
        _bar(axes, y, far / margin.today, outward, other)
        _bar(axes, y, near / margin.today, far / margin.today, GREY)
    else:
        _bar(axes, y, near / margin.today, outward, GREY)
    words = WORDS[margin.knob]
    text = f"{words(near)} | {words(far)}" if far is not None else words(near)
    at = (near if far is None else far) / margin.today
    side = "right" if outward == high else "left"
    axes.text(at, y + 0.24, text, fontsize=7.5, ha=side)


def _bar(axes: Axes, y: int, start: float, end: float, colour: str) -> None:
    left, right = sorted((start, end))
    axes.plot([left, right], [y, y], color=colour, linewidth=5, solid_capstyle="butt")
