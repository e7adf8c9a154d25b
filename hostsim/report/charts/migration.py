"""Charts of a migration over time: remaining, rates, guest and throttle; dirty log and mmu_lock; a mechanism's own table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hostsim.core.constants import NS_PER_MS, NS_PER_S, PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.costs.exits import EXITS
from hostsim.report.charts.chart import (
    COLOURS,
    N_DASHES,
    Array,
    Axis,
    Chart,
    Colour,
    Line,
    Look,
    Marks,
    Panel,
    Steps,
    spans_decades,
)
from hostsim.results.columns import labels
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.mechanism import end_words, mechanisms
from hostsim.results.series import KVM_SERIES, SERIES
from hostsim.verdict.words import seconds_words

if TYPE_CHECKING:
    from hostsim.results.columns import Column
    from hostsim.results.mechanism import Mechanism
    from hostsim.results.tables import MigrationResult, Table

LABELS = labels((*KVM_ROUNDS, *SERIES, *KVM_SERIES))
NUDGE_S = 1e-9
"""A sync is a step: it stands between the nanosecond before and the one after."""
HARVEST: dict[str, Colour] = {"sync_ns": "blue", "clear_ns": "vermilion", "reap_ns": "green", "host_wait_ns": "grey"}
"""Times of the threads that work on the log."""
LEAST_NS = 1_000
"""A CLEAR that finds nothing is not drawn."""
SHORTEST_ROUND_NS = 10_000_000
"""A shorter round is only the stop itself: shares of so short a time are meaningless."""
SHORTEST_SAMPLE_NS = 2_000_000
"""The rate over a shorter sample is a gap: it is that of an instant, thousands of times the others, and would hide them."""
LOCK: Mapping[str, tuple[str, Colour, int]] = {
    "lock_hold_ns": ("vCPUs hold it", "green", 0), "host_hold_ns": ("threads of the host hold it", "blue", 0),
    "lock_wait_ns": ("vCPUs wait for it", "vermilion", 1), "host_wait_ns": ("threads of the host wait for it", "ink", 1),
}  # fmt: skip
SPANS: Mapping[str, Colour] = {
    "setup": "sky", **{status: cast("Colour", colour) for one in mechanisms() for status, colour in one.spans.items()},
    "pre-switchover": "olive", "cancelling": "orange",
}  # fmt: skip
"""Statuses that are marked as spans: all but "active", in which a migration is most of its time."""


def timeline(migration: MigrationResult, number: int = 0) -> Chart:
    """Remaining bytes with the threshold, rates, and the guest, over simulated seconds since the migration started."""
    panels = [_remaining(migration), _rates(migration), _guest(migration)]
    told = headline(migration)
    return _over_time("migration", "The migration over time", migration, number, panels, f"{told[:1].upper()}{told[1:]}.")


def dirty_log(migration: MigrationResult, number: int = 0) -> Chart:
    """The cost of KVM's dirty log in ``migration``: time that the guest lost, exits by kind, harvests.

    number: of the migration in its run, from 0; the name of the chart has it from the second migration on.
    """
    panels = [_slowdown(migration), _exits(migration), _harvest(migration)]
    return _over_time("kvm", "What finding dirty pages cost", migration, number, panels)


def lock_shares(migration: MigrationResult, number: int = 0) -> Chart | None:
    """Holders of mmu_lock and waiters for it in each round of ``migration``; None where no column counts any.

    number: as in ``dirty_log``. Rounds shorter than SHORTEST_ROUND_NS leave a gap: a share of so short a time says nothing.
    """
    rounds = migration.rounds
    there = [name for name in LOCK if name in rounds.columns and np.any(rounds[name])]
    if not there:
        return None
    spans_ns = rounds["end_ns"] - rounds["start_ns"]
    spans = np.where(spans_ns >= SHORTEST_ROUND_NS, spans_ns, np.nan)
    lines = [_stairs(migration, 100 * rounds[name] / spans, *LOCK[name]) for name in there]
    panel = Panel(Axis("time in a second", "%", low=0.0), tuple(lines))
    lead = "100 % is one thread all the time; several vCPUs that wait at once can exceed it."
    return _over_time("mmu-lock", "mmu_lock: holders and waiters", migration, number, [panel], lead)


def headline(migration: MigrationResult) -> str:
    """``completed in 5.26 s, downtime 301 ms, 8 rounds``."""
    count = len(migration.rounds)
    rounds = f"{count} round{'' if count == 1 else 's'}"
    took = seconds_words(end_s(migration))
    if migration.status == "completed":
        return f"completed in {took}, downtime {seconds_words((migration.downtime_ms or 0) / 1000)}, {rounds}"
    return f"{end_words(migration.status)} after {took}, {rounds}"


def end_s(migration: MigrationResult) -> float:
    """End of the axis of time [s]; above 0, as an axis needs a length."""
    last_s = float(_seconds(migration.series).max(initial=0.0))
    return max(last_s, (migration.total_time_ms or 0) / 1000, 1e-3)


def _over_time(
    name: str, title: str, migration: MigrationResult, number: int, panels: list[Panel], lead: str = ""
) -> Chart:  # fmt: skip
    x = Axis("simulated time since the migration started", "s", low=0.0, high=end_s(migration))
    group = f"migration-{number + 1}"
    name = name if number == 0 else f"{name}-{number + 1}"
    return Chart(name, title, x, tuple(panels), _marks(migration), _states(migration), group=group, lead=lead)


def _remaining(migration: MigrationResult) -> Panel:
    series = migration.series
    at_s, remaining = saw_tooth(migration)
    threshold = np.where(series["threshold_bytes"] > 0, series["threshold_bytes"], np.nan)
    lines = (
        Line(LABELS["remaining_bytes"], at_s, remaining, "blue"),
        Line(LABELS["threshold_bytes"], _seconds(series), threshold, "vermilion", dash=1),
    )
    return Panel(Axis("left to send", "bytes", log=True), lines, 1.35)


def saw_tooth(migration: MigrationResult) -> tuple[Array, Array]:
    """Times [s] and remaining bytes: the series, and between its samples each sync as the step it is.

    Nothing left is a gap (NaN): a logarithmic axis has no 0.
    """
    rounds, series = migration.rounds, migration.series
    after = rounds["remaining_start_bytes"]
    before = after - rounds["newly_dirty_pages"] * PAGE_BYTES
    t_s = np.concatenate([_seconds(series), rounds["start_ns"] / 1e9 - NUDGE_S, rounds["start_ns"] / 1e9 + NUDGE_S])
    remaining = np.concatenate([series["remaining_bytes"], before, after])
    is_sample = np.repeat([True, False, False], [len(series), len(rounds), len(rounds)])
    order = np.argsort(t_s, kind="stable")
    order = order[(remaining[order] > 0) | is_sample[order]]
    return t_s[order], np.where(remaining[order] > 0, remaining[order], np.nan)


def _rates(migration: MigrationResult) -> Panel:
    t_s, series = _seconds(migration.series), migration.series
    spans_ns = np.diff(series["t_ns"], prepend=series["t_ns"][:1])
    dirtied = np.where(spans_ns >= SHORTEST_SAMPLE_NS, series["dirtied_pages_per_s"], np.nan) * PAGE_WIRE_BYTES * 8
    lines = (
        Line(LABELS["bandwidth_bytes_per_s"], t_s, series["bandwidth_bytes_per_s"] * 8, "blue", "before"),
        Line(LABELS["dirtied_pages_per_s"], t_s, dirtied, "vermilion", "before"),
    )
    return Panel(Axis("rate", "bit/s", low=0.0), lines)


def _guest(migration: MigrationResult) -> Panel:
    t_s, series = _seconds(migration.series), migration.series
    lines = [Line(LABELS["guest_speed"], t_s, 100 * series["guest_speed"], "green", "before")]
    throttle = series["throttle_percent"].astype(float)
    lines.append(Line(LABELS["throttle_percent"], t_s, throttle, "ink", "before", dash=1))
    top = float(np.nanmax(series["guest_speed"], initial=1.0)) * 100
    return Panel(Axis("of full speed", "%", low=-3.0, high=max(109.0, 1.09 * top)), tuple(lines), 0.8)


def _slowdown(migration: MigrationResult) -> Panel:
    """Work not done, by samples; time lost to exits, by rounds: throttle and catching up are in the first alone."""
    t_s, slowed, throttle = _running(migration, "guest_slowdown", "throttle_percent")
    rounds = migration.rounds
    stalled = np.where(rounds["end_ns"] - rounds["start_ns"] >= SHORTEST_ROUND_NS, 100 * rounds["stall_share"], np.nan)
    stalled[-1] = np.nan if migration.downtime_ms is not None else stalled[-1]
    lines = [
        Line(LABELS["guest_slowdown"], t_s, 100 * slowed, "green", "before"),
        _stairs(migration, stalled, LABELS["stall_share"], "ink", 1),
    ]
    if np.any(throttle):
        lines.append(Line(LABELS["throttle_percent"], t_s, throttle.astype(float), "vermilion", "before", dash=2))
    return Panel(Axis("of the guest's time", "%"), tuple(lines))


def _running(migration: MigrationResult, *columns: str) -> list[Any]:
    """Times [s] and ``columns`` of the samples taken before the guest was stopped."""
    series = migration.series
    stop_ns = migration.rounds["end_ns"][-1] - (migration.downtime_ms or 0) * NS_PER_MS
    until = int(np.searchsorted(series["t_ns"], stop_ns, side="right"))
    return [series["t_ns"][:until] / 1e9, *(series[column][:until] for column in columns)]


def _exits(migration: MigrationResult) -> Panel:
    rounds = migration.rounds
    seconds = np.maximum(rounds["end_ns"] - rounds["start_ns"], 1) / 1e9
    kinds = [kind.name for kind in EXITS]
    there = [(place, name) for place, name in enumerate(kinds) if np.any(rounds[name])]
    lines = [
        _stairs(migration, _or_gap(rounds[name] / seconds), LABELS[name], COLOURS[place % len(COLOURS)], place % N_DASHES)
        for place, name in there
    ]
    return Panel(Axis("exits", "/s", log=True), tuple(lines), 1.1)


def _harvest(migration: MigrationResult) -> Panel:
    """A mark a round, at its end: the sync that ends it stands there."""
    rounds = migration.rounds
    at_s, took = rounds["end_ns"] / 1e9, {name: _or_gap(rounds[name], LEAST_NS) for name in HARVEST}
    lines = tuple(
        Line(LABELS[name], at_s, took[name], colour, marked=True)
        for name, colour in HARVEST.items() if np.isfinite(took[name]).any()
    )  # fmt: skip
    return Panel(Axis("time in a round", "ns", log=True), lines)


def _or_gap(values: Array, least: float = 0.0) -> Array:
    """``values``, with NaN (a gap) for those up to ``least``: a logarithmic axis has no 0."""
    return np.where(values > least, values, np.nan).astype(float)


def _stairs(migration: MigrationResult, values: Array, name: str, colour: Colour, dash: int) -> Line:
    """A level a round."""
    rounds = migration.rounds
    edges_s = np.concatenate([rounds["start_ns"], rounds["end_ns"][-1:]]) / 1e9
    return Line(name, edges_s, np.append(np.asarray(values, float), values[-1:]), colour, "after", dash)


def _marks(migration: MigrationResult) -> tuple[Marks, ...]:
    """Syncs, outages of the link, and the time in which the guest stands still."""
    marks = [Marks("sync", migration.rounds["start_ns"] / 1e9)] if "start_ns" in migration.rounds.columns else []
    if migration.downtime_ms is not None:
        last_s = end_s(migration)
        starts = np.array([last_s - migration.downtime_ms / 1000])
        marks.append(Marks("downtime", starts, np.array([last_s]), "vermilion"))
    return (*marks, *_spans(migration.series))


def _spans(series: Table) -> Iterator[Marks]:
    """The time in each status of SPANS: a row of ``series`` has the status since the row before."""
    statuses, t_s = series["status"][1:], _seconds(series)
    for status, colour in SPANS.items():
        edges = np.diff(np.concatenate([[False], statuses == status, [False]]).astype(int))
        starts, ends = t_s[np.flatnonzero(edges == 1)], t_s[np.flatnonzero(edges == -1)]
        if len(starts):
            yield Marks(status, starts, ends, colour)


def _states(migration: MigrationResult) -> tuple[Steps, ...]:
    """Status and round, as the row of ``series`` at the end of a time says of that time."""
    series = migration.series
    found = []
    for column, name in (("status", "status"), ("round", "round")):
        if column in series.columns and len(series) > 1:
            values = np.asarray(series[column][1:])
            first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
            found.append(Steps(name, _seconds(series)[:-1][first], tuple(str(value) for value in values[first])))
    return tuple(found)


def _seconds(series: Table) -> Array:
    return series["t_ns"] / 1e9


QUANTITIES = {"ns": ("time", "ns"), "bytes": ("bytes", "bytes")}
"""Label and quantity of an axis by the unit of its columns; another unit is a label itself, of counts."""
LINES_MAX = 200
"""Rows whose points a line joins; more would cover the panel."""


def own_charts(migration: MigrationResult, number: int = 0) -> Iterator[Chart]:
    """A chart for each mechanism whose table in ``migration`` has rows with their times. number: as in ``dirty_log``."""
    for one in mechanisms():
        if one.moments and one.name in migration.own and len(migration.own[one.name].table):
            yield _own_chart(one, migration.own[one.name].table, number)


def _own_chart(one: Mechanism, table: Table, number: int) -> Chart:
    moment = next(column for column in one.table if column.name == one.moments[0])
    x = table[moment.name] / NS_PER_S
    by_unit: dict[str, list[Column[Any]]] = {}
    for column in one.table:
        if not column.key and column.name not in one.moments:
            by_unit.setdefault(column.unit, []).append(column)
    panels = tuple(_panel(unit, columns, table, x) for unit, columns in by_unit.items())
    name = one.name if number == 0 else f"{one.name}-{number + 1}"
    return Chart(name, one.title, Axis(moment.words, "s", low=0.0), panels, group=name)


def _panel(unit: str, columns: list[Column[Any]], table: Table, x: Any) -> Panel:
    label, quantity = QUANTITIES.get(unit, (unit, ""))
    values = [table[column.name].astype(float) for column in columns]
    look: Look = "line" if len(x) <= LINES_MAX else "points"
    is_log = spans_decades([one for value in values for one in value.tolist()])
    lines = [
        Line(column.label or column.heading, x, np.where(value > 0, value, np.nan) if is_log else value, colour, look)
        for column, value, colour in zip(columns, values, COLOURS, strict=False)
    ]
    return Panel(Axis(lines[0].name if len(lines) == 1 else label, quantity, is_log, None if is_log else 0.0), tuple(lines))
