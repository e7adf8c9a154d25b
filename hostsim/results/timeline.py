"""The results of a run in its recording: counters equal to the series, phases, rounds."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.timeline import Track
from hostsim.machine.recording import Counter, Recording
from hostsim.results.columns import INT, Column, Columns
from hostsim.results.memory import MEMORY_SERIES
from hostsim.results.series import SERIES

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration
    from hostsim.results.tables import RunResult, Table

PHASES, ROUNDS = Track("vm", "migration state"), Track("vm", "rounds")
DOWNTIME, OUTAGES = Track("vm", "guest stopped"), Track("vm", "outages of the link")
COUNTED = ("remaining_bytes", "dirty_pages_rate_per_s", "dirtied_pages_per_s", "bandwidth_bytes_per_s", "threshold_bytes",
           "throttle_percent", "guest_speed")  # fmt: skip
"""Columns of ``series`` that become counters."""
OF_HOST, OF_VMS = ("free_frames", "swap_used_pages"), ("resident_pages",)
"""Columns of ``memory_series`` that become counters of the host, and of each VM."""


def note_run(recording: Recording, machine: Machine, result: RunResult) -> None:
    """Add to ``recording`` the facts that are known when the run of ``machine`` is over: its end, phases and counters.

    result: of that run; its series and its memory become counters.
    """
    recording.end_ns = result.end_ns
    attempts = machine.attempts.every if machine.attempts else []
    for attempt, found in zip(attempts, result.migrations, strict=True):
        _note_phases(recording, attempt, result.end_ns)
        recording.counters += _counters("vm", found.series, SERIES, COUNTED, attempt.state.start_ns)
    if result.host is not None and "memory_series" in result.host.tables:
        _note_memory(recording, result.host.tables["memory_series"])


def _note_phases(recording: Recording, attempt: Migration, end_ns: int) -> None:
    told = [(t_ns, event.split()) for t_ns, event, _ in attempt.recorder.marks]
    marks = [(t_ns, words[-1]) for t_ns, words in told if words[0] == "migrate_set_state"]
    for (t_ns, status), (next_ns, _) in pairwise([*marks, (end_ns, "")]):
        recording.span(PHASES, status, t_ns, next_ns)
    for before, after in pairwise(attempt.recorder.syncs):
        recording.span(
            ROUNDS, f"round {before.dirty_sync_count}", before.t_ns, after.t_ns, remaining_bytes=before.remaining_bytes,
            sent_bytes=after.sent_bytes - before.sent_bytes, dirtied_pages=after.dirtied_pages,
        )  # fmt: skip
    stopped_ns = attempt.state.downtime_start_ns
    if stopped_ns:
        over_ns = attempt.destination.run_ns if attempt.destination is not None else marks[-1][0]
        recording.span(DOWNTIME, "downtime", stopped_ns, max(stopped_ns, over_ns))
    if attempt.destination is not None:
        _note_destination(recording, attempt, end_ns)
    for outage in attempt.link.spec.outages:
        recording.span(OUTAGES, "outage", outage.start_ns, outage.start_ns + outage.length_ns, drops=outage.drops)


def _note_destination(recording: Recording, attempt: Migration, end_ns: int) -> None:
    there = attempt.destination
    assert there is not None
    recording.span(
        Track("vm at the destination", "vCPUs"), "the guest runs here", there.run_ns, max(end_ns, there.run_ns),
        faults=there.faults, requests=there.requests, stalled_ns=there.stalled_ns,
    )  # fmt: skip


def _note_memory(recording: Recording, table: Table) -> None:
    vms = np.asarray(table.columns["vm"])
    for name in dict.fromkeys(vms.tolist()):
        rows = vms == name
        process, wanted = ("host", OF_HOST) if name == vms[0] else ("", ())
        recording.counters += _counters(process, table, MEMORY_SERIES, wanted, 0, rows)
        recording.counters += _counters(str(name), table, MEMORY_SERIES, OF_VMS, 0, rows)


def _counters(
    process: str, table: Table, columns: Columns[Any], names: tuple[str, ...], start_ns: int, rows: Any = slice(None)
) -> list[Counter]:
    """Columns ``names`` of ``table`` as counters; rows without a figure are left out."""
    times = np.asarray(table.columns["t_ns"], np.int64)[rows] + start_ns
    return [_counter(process, column, times, table.columns[column.name][rows]) for column in columns if column.name in names]


def _counter(process: str, column: Column[Any], t_ns: Any, values: Any) -> Counter:
    known = np.ones(len(values), np.bool_) if column.dtype == INT else ~np.isnan(np.asarray(values, float))
    return Counter(process, column.name, column.unit, t_ns[known], np.asarray(values)[known])
