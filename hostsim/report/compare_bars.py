"""A panel of a comparison over names, which have no order: a bar each, one below the other, with its figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hostsim.report.compare_lines import Line, ended, scale_of, spread_of
from hostsim.report.compare_words import TITLES
from hostsim.report.drawing import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILLED = 0.78
"""Share of the room of a combination that its bars take."""
ROOM = 1.16
"""Length of the axis over the longest bar: the space behind the bar is for the figures."""


def height(n_values: int, n_lines: int) -> float:
    """Inches of a panel."""
    return 0.8 + n_values * max(0.24, 0.11 * n_lines + 0.08)


def panel(axes: Axes, key: str, values: Sequence[str], lines: Sequence[Line], name: str) -> None:
    """Bars of figure ``name``, in the order of ``values`` from the top."""
    scale, unit = scale_of(lines, name)
    thick = FILLED / len(lines)
    for number, (text, rows) in enumerate(lines):
        offset = (number - (len(lines) - 1) / 2) * thick
        at, means, reach = spread_of(rows, name, scale)
        look: dict[str, Any] = {"color": COLOURS[number], "label": text or "_", "error_kw": {"elinewidth": 1.1}}
        bars = axes.barh([i + offset for i in at], means, 0.9 * thick, xerr=reach if _has_reach(reach) else None, **look)
        if len(lines) == 1:
            axes.bar_label(bars, [f"{mean:.3g}" for mean in means], padding=4, fontsize=8)
        for i, words in ended(rows, at):
            axes.text(0.01, i + offset, words, color=COLOURS[number], fontsize=7.5, va="center")
    axes.set_yticks(range(len(values)), values)
    axes.set_ylim(len(values) - 0.5, -0.5)
    low, high = axes.dataLim.intervalx
    axes.set_xlim(min(0.0, ROOM * low), ROOM * high if high > 0 else 1.0)
    axes.set_xlabel(f"{TITLES[name]} [{unit}]")
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    place = axes.get_subplotspec()
    if place is None or place.is_first_col():
        axes.set_ylabel(key)


def _has_reach(reach: Sequence[Sequence[float]]) -> bool:
    return any(gap > 0 for side in reach for gap in side)
