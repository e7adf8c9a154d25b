"""The heat map of a solution: link speed by downtime limit, coloured by total time, grey where the target is missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hostsim.report.drawing import GREY, INK, VERMILION, pictures_of, titled
from hostsim.study.solve.solution import Cell, Solution
from hostsim.verdict.words import bandwidth_words, seconds_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALE = "#eef0f2"
LEGEND = "downtime limit\ncomputed total time; - misses the target\nframe: cheapest corners, k/n of their runs"


def solution_pictures(found: Solution) -> dict[str, bytes]:
    """``png`` and ``svg``; equal arguments give equal bytes. MissingExtraError without matplotlib."""
    return pictures_of(lambda: draw(found))


def draw(found: Solution) -> Figure:
    """A square a pair; corners that were run have a frame and the count of their runs."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    cells = found.frontier
    speeds = sorted({cell.bandwidth_bytes_per_s for cell in cells})
    limits = sorted({cell.downtime_limit_ms for cell in cells})
    total = np.full((len(speeds), len(limits)), np.nan)
    for cell in cells:
        if cell.computed and cell.total_s is not None:
            total[speeds.index(cell.bandwidth_bytes_per_s), limits.index(cell.downtime_limit_ms)] = cell.total_s
    size = max(6.4, 1.9 + 0.72 * len(limits)), 1.9 + 0.5 * len(speeds)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
    axes = figure.subplots()
    axes.set_facecolor(PALE)
    axes.grid(visible=False)
    if np.isfinite(total).any():
        norm = LogNorm(max(1e-3, float(np.nanmin(total))), max(2e-3, 1.001 * float(np.nanmax(total))))
        axes.imshow(total, origin="lower", aspect="auto", cmap="YlGnBu", norm=norm, alpha=0.55)
    else:
        axes.set_xlim(-0.5, len(limits) - 0.5)
        axes.set_ylim(-0.5, len(speeds) - 0.5)
    for cell in cells:
        _write(axes, cell, limits.index(cell.downtime_limit_ms), speeds.index(cell.bandwidth_bytes_per_s))
    axes.set_xticks(range(len(limits)), [seconds_words(limit / 1000) for limit in limits])
    axes.set_yticks(range(len(speeds)), [bandwidth_words(speed) for speed in speeds])
    axes.set_xlabel(LEGEND, fontsize=8)
    axes.set_ylabel("link")
    titled(figure, f"{found.name}: which link and limit reach the target?")
    return figure


def _write(axes: object, cell: Cell, x: int, y: int) -> None:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

    assert isinstance(axes, Axes), "made above"
    reaches = cell.computed and cell.total_s is not None
    text = seconds_words(cell.total_s) if reaches and cell.total_s is not None else "-"
    text += f"\n{cell.reached}/{cell.runs}" if cell.runs else ""
    axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color=INK if reaches else GREY)
    if cell.corner:
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=VERMILION, linewidth=1.6))
