"""The heat map of a solution: link speed by downtime limit, coloured by P that the target is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hostsim.report.drawing import GREY, INK, VERMILION, pictures_of, titled
from hostsim.report.solve_words import cell_words
from hostsim.study.solve.solution import Cell, Solution
from hostsim.verdict.words import bandwidth_words, seconds_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND = (
    "downtime limit\ncolour: P that the target is reached, 0 or 1 where it is computed (with the total time; - misses it)\n"
    "frame: by runs, with the 95 % interval and the number of runs"
)


def solution_pictures(found: Solution) -> dict[str, bytes]:
    """``png`` and ``svg``; equal arguments give equal bytes. MissingExtraError without matplotlib."""
    return pictures_of(lambda: draw(found))


def draw(found: Solution) -> Figure:
    """A square a pair; pairs that were run have a frame, P with its interval, and the number of their runs."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    cells = found.frontier
    speeds = sorted({cell.bandwidth_bytes_per_s for cell in cells})
    limits = sorted({cell.downtime_limit_ms for cell in cells})
    chance = np.zeros((len(speeds), len(limits)))
    for cell in cells:
        chance[speeds.index(cell.bandwidth_bytes_per_s), limits.index(cell.downtime_limit_ms)] = cell.share
    size = max(6.4, 1.9 + 0.95 * len(limits)), 1.9 + 0.62 * len(speeds)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.06))
    axes = figure.subplots()
    axes.grid(visible=False)
    image = axes.imshow(chance, origin="lower", aspect="auto", cmap="YlGnBu", vmin=0.0, vmax=1.0, alpha=0.55)
    figure.colorbar(image, ax=axes, label="P", fraction=0.04, pad=0.02)
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
    axes.text(x, y, _text(cell), ha="center", va="center", fontsize=7.5, color=INK if cell.share else GREY)
    if cell.runs:
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=VERMILION, linewidth=1.6))


def _text(cell: Cell) -> str:
    return f"P {cell.share:.2f}\n[{cell.low:.2f}, {cell.high:.2f}]\n{cell.runs} runs" if cell.runs else cell_words(cell)
