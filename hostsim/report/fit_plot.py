"""The picture of a fit: the dirty curve with its drawn guests and the rounds, and the residuals over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.fitting.fitted import GuestFit, rows_of
from hostsim.report.drawing import BLUE, GREY, INK, SKY, VERMILION, pictures_of, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_DRAWS = 40


def fit_pictures(fitted: GuestFit) -> dict[str, bytes]:
    """``png`` and ``svg``. MissingExtraError without matplotlib."""
    return pictures_of(lambda: draw_fit(fitted))


def draw_fit(fitted: GuestFit) -> Figure:
    """Two panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    curve, residuals = figure.subplots(1, 2)
    _curve(curve, fitted)
    _residuals(residuals, fitted)
    titled(figure, f"{fitted.name}: the guest fitted to its rounds")
    return figure


def _curve(axes: Axes, fitted: GuestFit) -> None:
    points = fitted.found.points
    lengths = [p.t_s for p in points] or [1.0]
    t_s = np.geomspace(min(0.05, min(lengths) / 2), max(lengths) * 2, 200)
    mib = 4096 / (1 << 20)
    for i, classes in enumerate(fitted.found.draws[:SHOWN_DRAWS]):
        axes.plot(
            t_s,
            classes.curve().at(t_s) * mib,
            color=SKY,
            alpha=0.25,
            linewidth=0.7,
            label="drawn guests" if i == 0 else None,
        )
    axes.plot(t_s, fitted.classes.curve().at(t_s) * mib, color=BLUE, label="fitted guest")
    found = [p.found_pages * mib for p in points]
    axes.errorbar(
        lengths[: len(found)],
        found,
        yerr=[p.off_pages * mib for p in points],
        linestyle="none",
        marker="o",
        markersize=4,
        color=VERMILION,
        capsize=2,
        label="newly dirty pages of the rounds",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("time since the log was cleared [s]")
    axes.set_ylabel("dirty memory [MiB]")
    axes.set_title("Dirty curve; pages that still wait to be sent\nkeep rounds below it", fontsize=9)
    axes.legend(loc="lower right")


def _residuals(axes: Axes, fitted: GuestFit) -> None:
    rows: list[dict[str, Any]] = [row for row in rows_of(fitted) if row["off_share"] is not None]
    ends, offs = [row["end_s"] for row in rows], [100 * row["off_share"] for row in rows]
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.errorbar(
        ends,
        offs,
        yerr=[100 * row["error_share"] for row in rows],
        linestyle="none",
        marker="o",
        markersize=4,
        color=VERMILION,
        ecolor=GREY,
        capsize=2,
    )
    axes.set_xlabel("end of the round, since the migration began [s]")
    axes.set_ylabel("measured over fitted, less 1 [%]")
    axes.set_title("Residuals: no trend is left if the guest\nbehaves alike all the time", fontsize=9)
