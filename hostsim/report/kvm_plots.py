"""The picture of the cost of KVM's dirty logging: the guest's time, faults by kind, harvests."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.constants import NS_PER_MS
from hostsim.costs.exits import EXITS
from hostsim.report.drawing import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, log_axis, ns_axis, pictures_of
from hostsim.report.plots import draw_panels
from hostsim.results.columns import labels
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.series import KVM_SERIES, SERIES
from hostsim.verdict.words import count_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.results.tables import MigrationResult

LABELS = labels((*KVM_ROUNDS, *SERIES, *KVM_SERIES))
COLOURS = cycle((BLUE, GREEN, VERMILION, ORANGE, GREY, PURPLE, INK, SKY))
EXIT_COLOURS = {kind.name: colour for kind, colour in zip(EXITS, COLOURS, strict=False)}
HARVEST = {"sync_ns": (BLUE, "o"), "clear_ns": (VERMILION, "s"), "reap_ns": (GREEN, "^"), "host_wait_ns": (GREY, "v")}
"""Colours and marks of times of the threads that work on the log."""
PLACES = 6
LEAST_NS = 1_000
"""A CLEAR that finds nothing is not drawn."""
SHORTEST_ROUND_NS = 10_000_000
"""A shorter round is only the stop itself: shares of so short a time are meaningless."""


def kvm_pictures(migration: MigrationResult, name: str) -> dict[str, bytes]:
    """``png`` and ``svg``; equal results give equal bytes. {} unless KVM found the dirty pages."""
    return {} if migration.kvm is None else pictures_of(lambda: fixed_layout(draw_kvm(migration, name)))


def draw_kvm(migration: MigrationResult, name: str) -> Figure:
    """Three panels over simulated seconds since the migration started."""
    return draw_panels(migration, name, {_slowdown: 1.0, _exits: 1.1, _harvest: 1.0})


def fixed_layout(figure: Figure) -> Figure:
    """Fix the panels at the layout's places, rounded: the last digits depend on figures drawn before. In place."""
    figure.draw_without_rendering()
    places = [[round(edge, PLACES) for edge in axes.get_position().bounds] for axes in figure.axes]
    figure.set_layout_engine("none")
    for axes, (left, bottom, width, height) in zip(figure.axes, places, strict=True):
        axes.set_position((left, bottom, width, height))
    return figure


def _slowdown(axes: Axes, migration: MigrationResult) -> None:
    """Work not done, by samples; time lost to exits, by rounds: throttle and catching up are in the first alone."""
    t_s, slowed, throttle = _running(migration, "guest_slowdown", "throttle_percent")
    rounds = migration.rounds
    stalled = np.where(rounds["end_ns"] - rounds["start_ns"] >= SHORTEST_ROUND_NS, 100 * rounds["stall_share"], np.nan)
    stalled[-1] = np.nan if migration.downtime_ms is not None else stalled[-1]
    axes.plot(t_s, 100 * slowed, color=GREEN, drawstyle="steps-pre", label=LABELS["guest_slowdown"])
    _stairs(axes, migration, stalled, color=INK, linewidth=1.3, label=LABELS["stall_share"])
    if np.any(throttle):
        axes.plot(t_s, throttle, color=VERMILION, drawstyle="steps-pre", linewidth=1.3, label=LABELS["throttle_percent"])
    top = max(float(np.nanmax(values, initial=0.0)) for values in (100 * slowed, stalled, throttle))
    axes.set_ylim(min(0.0, 115 * float(np.min(slowed, initial=0.0))), max(1.0, 1.15 * top))
    axes.set_ylabel("of the guest's time [%]")


def _running(migration: MigrationResult, *columns: str) -> list[Any]:
    """Times [s] and ``columns`` of the samples taken before the guest was stopped."""
    series = migration.series
    stop_ns = migration.rounds["end_ns"][-1] - (migration.downtime_ms or 0) * NS_PER_MS
    until = int(np.searchsorted(series["t_ns"], stop_ns, side="right"))
    return [series["t_ns"][:until] / 1e9, *(series[column][:until] for column in columns)]


def _exits(axes: Axes, migration: MigrationResult) -> None:
    rounds = migration.rounds
    seconds = np.maximum(rounds["end_ns"] - rounds["start_ns"], 1) / 1e9
    rates = {column: _or_gap(rounds[column] / seconds) for column in EXIT_COLOURS if np.any(rounds[column])}
    for column, rate in rates.items():
        _stairs(axes, migration, rate, color=EXIT_COLOURS[column], label=LABELS[column])
    log_axis(axes, "y", rates.values(), count_words)
    axes.set_ylabel("exits per second")


def _harvest(axes: Axes, migration: MigrationResult) -> None:
    """A mark a round, at its end: the sync that ends it stands there."""
    rounds = migration.rounds
    took_ns = {column: _or_gap(rounds[column], LEAST_NS) for column in HARVEST}
    for column, (color, marker) in HARVEST.items():
        if np.isfinite(took_ns[column]).any():
            look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4, "linewidth": 0.8}
            look["label"] = LABELS[column]
            axes.plot(rounds["end_ns"] / 1e9, took_ns[column], **look)
    ns_axis(axes, "y", took_ns.values())
    axes.set_ylabel("time in a round")


def _or_gap(values: Any, least: float = 0.0) -> Any:
    """Nothing, or up to ``least``, is a gap (NaN): a logarithmic axis has no 0."""
    return np.where(values > least, values, np.nan)


def _stairs(axes: Axes, migration: MigrationResult, values: Any, **look: Any) -> None:
    """A level a round."""
    rounds = migration.rounds
    edges_s = np.repeat(np.concatenate([rounds["start_ns"], rounds["end_ns"][-1:]]) / 1e9, 2)[1:-1]
    axes.plot(edges_s, np.repeat(np.asarray(values, float), 2), **look)
