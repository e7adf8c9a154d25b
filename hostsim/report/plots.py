"""The picture of a migration: remaining bytes, dirty rate and bandwidth, throttle and guest speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.report.drawing import BLUE, GREEN, GREY, INK, VERMILION, bytes_axis, pictures_of, titled
from hostsim.results.columns import labels
from hostsim.results.series import SERIES
from hostsim.verdict.words import seconds_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.results.tables import MigrationResult

Panel = Callable[["Axes", "MigrationResult"], None]
"""Draws one panel of a migration."""
LABELS = labels(SERIES)
LINES_MAX = 60
"""More syncs than this are marked at the upper edge alone: lines would make a grey area."""

def migration_pictures(migration: MigrationResult, name: str) -> dict[str, bytes]:
    """``png`` and ``svg`` of a migration; equal results give equal bytes. MissingExtraError without matplotlib."""
    return pictures_of(lambda: draw_migration(migration, name))


def draw_migration(migration: MigrationResult, name: str) -> Figure:
    """Three panels over simulated seconds since the migration started."""
    return draw_panels(migration, name, {_remaining: 1.35, _rates: 1.0, _guest: 0.8})


def draw_panels(migration: MigrationResult, name: str, panels_of: Mapping[Panel, float]) -> Figure:
    """A panel for each function of ``panels_of``, as high as its number says, with the syncs and the downtime in all."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(9.0, 7.2), layout=ConstrainedLayoutEngine(h_pad=0.06, hspace=0.02))
    panels = figure.subplots(len(panels_of), 1, sharex=True, gridspec_kw={"height_ratios": list(panels_of.values())})
    for axes, draw in zip(panels, panels_of, strict=True):
        _shade(axes, migration, named=axes is panels[0])
        draw(axes, migration)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=4, borderaxespad=0.2, handlelength=1.6)
        axes.tick_params(length=3)
    panels[-1].set_xlabel("simulated time since the migration started [s]")
    panels[0].set_xlim(0.0, _end_s(migration))
    titled(figure, name)
    panels[0].set_title(_headline(migration), loc="left", fontsize=9.5)
    return figure


def _remaining(axes: Axes, migration: MigrationResult) -> None:
    t_s, series = _seconds(migration), migration.series
    at_s, remaining = _saw_tooth(migration)
    axes.plot(at_s, remaining, color=BLUE, label=LABELS["remaining_bytes"])
    threshold = np.where(series["threshold_bytes"] > 0, series["threshold_bytes"], np.nan)
    axes.plot(t_s, threshold, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1.3, label=LABELS["threshold_bytes"])
    bytes_axis(axes, "y", [remaining, threshold])
    axes.set_ylabel("left to send")


def _saw_tooth(migration: MigrationResult) -> tuple[Any, Any]:
    """Times [s] and remaining bytes: the series, and between its samples each sync as the step it is.

    Nothing left is a gap (NaN): a logarithmic axis has no 0.
    """
    rounds, series = migration.rounds, migration.series
    after = rounds["remaining_start_bytes"]
    before = after - rounds["newly_dirty_pages"] * PAGE_BYTES
    t_ns = np.concatenate([series["t_ns"], rounds["start_ns"], rounds["start_ns"]])
    remaining = np.concatenate([series["remaining_bytes"], before, after])
    rank = np.repeat([1, 0, 2], [len(series), len(rounds), len(rounds)])
    # A sample at the instant of a sync is as before it or as after it: between the two it fits either way.
    order = np.lexsort((rank, t_ns))
    order = order[(remaining[order] > 0) | (rank[order] == 1)]
    line = np.where(remaining[order] > 0, remaining[order], np.nan)
    return t_ns[order] / 1e9, line


def _rates(axes: Axes, migration: MigrationResult) -> None:
    t_s, series = _seconds(migration), migration.series
    bandwidth = series["bandwidth_bytes_per_s"] * 8
    dirtied = series["dirtied_pages_per_s"] * PAGE_WIRE_BYTES * 8
    top = max(float(np.nanmax(np.concatenate([bandwidth, dirtied]), initial=0.0)), 1.0)
    scale, unit = _bit_scale(top)
    axes.plot(t_s, bandwidth / scale, color=BLUE, drawstyle="steps-pre", label=LABELS["bandwidth_bytes_per_s"])
    axes.plot(t_s, dirtied / scale, color=VERMILION, drawstyle="steps-pre", label=LABELS["dirtied_pages_per_s"])
    axes.set_ylim(0, top / scale * 1.12)
    axes.set_ylabel(f"rate [{unit}]")


def _guest(axes: Axes, migration: MigrationResult) -> None:
    t_s, series = _seconds(migration), migration.series
    axes.plot(t_s, series["guest_speed"] * 100, color=GREEN, drawstyle="steps-pre", label=LABELS["guest_speed"])
    look: dict[str, Any] = {"color": INK, "drawstyle": "steps-pre", "linewidth": 1.3}
    axes.plot(t_s, series["throttle_percent"], label=LABELS["throttle_percent"], **look)
    top = float(np.nanmax(series["guest_speed"], initial=1.0)) * 100
    axes.set_ylim(-3, max(109.0, 1.09 * top))
    axes.set_ylabel("of full speed [%]")


def _shade(axes: Axes, migration: MigrationResult, *, named: bool) -> None:
    """Syncs, and the time in which the guest stands still; in the legend if ``named``."""
    starts_s = migration.rounds["start_ns"] / 1e9
    if len(starts_s) > LINES_MAX and named:
        rug: dict[str, Any] = {
            "color": INK,
            "marker": "|",
            "markersize": 5,
            "markeredgewidth": 0.5,
            "linestyle": "none",
        }
        high = np.full(len(starts_s), 0.985)
        axes.plot(starts_s, high, transform=axes.get_xaxis_transform(), label="sync", **rug)
    elif len(starts_s) <= LINES_MAX:
        labels = ["sync" if named else "_", *["_"] * len(starts_s)]
        for start_s, label in zip(starts_s, labels, strict=False):
            axes.axvline(start_s, color=GREY, linewidth=0.8, zorder=0.5, label=label)
    if migration.downtime_ms is not None:
        end_s = _end_s(migration)
        look: dict[str, Any] = {"color": VERMILION, "alpha": 0.22, "linewidth": 0, "zorder": 0.4}
        axes.axvspan(end_s - migration.downtime_ms / 1000, end_s, label="downtime" if named else "_", **look)


def _headline(migration: MigrationResult) -> str:
    count = len(migration.rounds)
    rounds = f"{count} round{'' if count == 1 else 's'}"
    took = seconds_words(_end_s(migration))
    if migration.status == "completed":
        return f"completed in {took}, downtime {seconds_words((migration.downtime_ms or 0) / 1000)}, {rounds}"
    ended = "cancelled" if migration.status == "cancelled" else "not complete"
    return f"{ended} after {took}, {rounds}"


def _seconds(migration: MigrationResult) -> Any:
    return migration.series["t_ns"] / 1e9


def _end_s(migration: MigrationResult) -> float:
    """End of the axis of time [s]; above 0, as an axis needs a length."""
    last_s = float(_seconds(migration).max(initial=0.0))
    total_s = (migration.total_time_ms or 0) / 1000
    return max(last_s, total_s, 1e-3)


def _bit_scale(bits_per_s: float) -> tuple[float, str]:
    steps = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))
    return next(((scale, unit) for scale, unit in steps if bits_per_s >= scale), (1.0, "bit/s"))
