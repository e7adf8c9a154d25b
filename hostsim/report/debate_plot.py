"""Pictures of the debate about the rmap: a panel a claim, its lines, and where the costs meet."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hostsim.report.drawing import COLOURS, GREY, MARKERS, log_axis, short_words, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.study.rmap_debate.claim import Claim

ACROSS = 3
TITLE = 58
"""Letters of a line of a panel's title."""
LEGEND_ACROSS = 3
LEVEL: dict[str, Any] = {"linestyle": "--", "linewidth": 1.0}
RUN: dict[str, Any] = {"markersize": 4, "linewidth": 1.3}


def draw_debate(claims: Sequence[Claim]) -> Figure:
    """Three claims a row."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    n_rows = -(-len(claims) // ACROSS)
    figure = Figure(figsize=(4.4 * ACROSS, 0.4 + 3.9 * n_rows), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06))
    panels = figure.subplots(n_rows, ACROSS, squeeze=False).ravel()
    for axes, claim in zip(panels, claims, strict=False):
        draw_panel(axes, claim)
    for axes in panels[len(claims) :]:
        axes.set_axis_off()
    titled(figure, "Which index should find the shadow PTEs of a page?")
    return figure


def draw_panel(axes: Axes, claim: Claim) -> None:
    """Lines as they were run, levels dashed; a grey line where two of them were found to meet."""
    panel = claim.panel
    for colour, marker, line in zip(COLOURS, MARKERS, panel.curves, strict=False):
        axes.plot(line.x, line.y, color=colour, label=line.name, **(LEVEL if line.level else RUN | {"marker": marker}))
    if panel.log_x:
        log_axis(axes, "x", [line.x for line in panel.curves], short_words)
    if panel.log_y:
        log_axis(axes, "y", [line.y for line in panel.curves], short_words)
    for place in _places(claim):
        axes.axvline(place, color=GREY, linewidth=0.8, zorder=0)
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
    title = textwrap.wrap(f"{claim.number}. {claim.says}: {claim.verdict}", TITLE)
    axes.set_title("\n".join(title), loc="left", fontsize=9.5)
    axes.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=LEGEND_ACROSS, columnspacing=1.2)


def _places(claim: Claim) -> list[float]:
    """Measured crossings on the axis of the panel."""
    if not claim.panel.crosses:
        return []
    return [crossing.measured for crossing in claim.crossings if not math.isnan(crossing.measured)]
