"""Facts about a migration that did not just run: outages, losses, a pause, a cancel, acts of an operator."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.qemu.migration import Migration

SET = "migrate_set_parameter "
STATE = "migrate_set_state "


def interruptions(migration: Migration) -> dict[str, Any]:
    """Facts that the verdict reads; a fact without an occasion is left out.

    outages_s: [start, end] since the migration started, of each outage that it met.
    retransmission_timeouts, retransmitted_bytes, lost_packets: of all connections, in post-copy of both directions.
    pre_switchover_ms, cancelling_ms: time in these states; cancelled_in: the state that migrate_cancel met.
    stopped_ms: time for which the guest stood still though it was not moved.
    goes_on: whether the guest then ran at the source again (MigrationState.handed_over_ns).
    suspended_s: moment at which an operator suspended the guest; set: [s, parameter, value] of each change.
    outage_ms: of a pre-copy over a link of 1 ms or more: from the guest's stop at the source until the last byte is at the
    destination.
    manager_lost_s: moment at which the manager lost the destination; lost_after_completion: the end of the stream never
    reached the destination.
    """
    found = _of_link(migration) | _of_states(migration) | _of_acts(migration) | _outage(migration)
    return {name: value for name, value in found.items() if value}


def _of_link(migration: Migration) -> dict[str, Any]:
    spec, m = migration.link.spec, migration.state
    if not spec.has_faults:
        return {}
    end_ns = m.end_ns or migration.env.now_ns
    spans = [(outage.start_ns, outage.start_ns + outage.length_ns) for outage in spec.outages]
    timeouts, retransmitted_bytes, losses = migration.link.counts()
    return {
        "outages_s": [[_s(a, m.start_ns), _s(b, m.start_ns)] for a, b in spans if a < end_ns and b > m.start_ns],
        "retransmission_timeouts": timeouts, "retransmitted_bytes": retransmitted_bytes, "lost_packets": losses,
        "loss": spec.loss,
    }  # fmt: skip


def _outage(migration: Migration) -> dict[str, Any]:
    """The time without a running guest on a link with latency of a millisecond or more; {} on other links.

    On a shorter link the guest runs at the destination within the millisecond in which the source ends, so the outage is the
    downtime.

    # Model limit: the destination loads RAM and devices as they come, and starts the guest with the last byte.
    """
    m = migration.state
    is_moved = m.status == "completed" and not m.guest_moves and m.vm_stopped_ns and m.arrived_ns
    if not is_moved or migration.link.spec.latency_ns < NS_PER_MS:
        return {}
    return {"outage_ms": (m.arrived_ns - m.vm_stopped_ns) / NS_PER_MS}


def _of_states(migration: Migration) -> dict[str, Any]:
    marks = [(t, event[len(STATE) :]) for t, event, _ in migration.recorder.marks if event.startswith(STATE)]
    ends = [*(t for t, _ in marks[1:]), migration.state.end_ns or migration.env.now_ns]
    spent_ns = {status: end - t for (t, status), end in zip(marks, ends, strict=True)}
    before = {status: earlier for (_, earlier), (_, status) in pairwise(marks)}
    return {
        "pre_switchover_ms": spent_ns.get("pre-switchover", 0) / NS_PER_MS,
        "cancelling_ms": spent_ns.get("cancelling", 0) / NS_PER_MS,
        "cancelled_in": before.get("cancelling", ""),
        "stopped_ms": _stopped_ns(migration) / NS_PER_MS,
        "goes_on": migration.state.handed_over_ns > 0,
    }


def _stopped_ns(migration: Migration) -> int:
    m = migration.state
    stops_ns = [t for t, event, _ in migration.recorder.marks if event in ("stop", "migration_thread_low_pending")]
    if not stops_ns or m.status == "completed":
        return 0
    return (m.handed_over_ns or m.end_ns or migration.env.now_ns) - stops_ns[0]


def _of_acts(migration: Migration) -> dict[str, Any]:
    start_ns, marks = migration.state.start_ns, migration.recorder.marks
    at_s = {event: _s(t, start_ns) for t, event, _ in marks}
    return {
        "set": [[_s(t, start_ns), event[len(SET) :], value] for t, event, value in marks if event.startswith(SET)],
        "suspended_s": at_s.get("stop"),
        "manager_lost_s": at_s.get("manager_lost_the_destination"),
        "lost_after_completion": "stream_lost_after_completion" in at_s,
    }


def _s(t_ns: int, start_ns: int) -> float:
    return (t_ns - start_ns) / NS_PER_S
