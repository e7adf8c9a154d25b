"""The results of a machine that has run: plain tables and counters, copied from its live state."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from hostsim.core.constants import NS_PER_MS, NS_PER_S, PAGE_BYTES
from hostsim.machine.machine import Machine
from hostsim.qemu.link import PS_PER_NS, LinkSpec
from hostsim.qemu.mechanism import on_in
from hostsim.qemu.migration import Migration
from hostsim.qemu.ram_stream import connections_of, counted_page_bytes, host_bytes_per_s
from hostsim.qemu.state import Counters
from hostsim.qemu.window import switchover_bytes_per_ms
from hostsim.results.kvm import KVM_ROUNDS, KvmCosts, kvm_costs
from hostsim.results.mechanism import Mechanism, ends, mechanisms, named
from hostsim.results.qmp import QmpCounters, query_at_cancel, query_migrate
from hostsim.results.rounds import ROUNDS, rounds_of
from hostsim.results.sender import sender_of
from hostsim.results.series import EVENTS, KVM_SERIES, SERIES, marks_of, moments_of
from hostsim.results.tables import MigrationResult, OwnResult, Table
from hostsim.theory.guest_curve import guest_curve

ENDS = ("completed", "cancelled", "failed")
"""Ends of any migration."""


def migration_result(machine: Machine, migration: Migration, profile: str) -> MigrationResult:
    """The result of ``migration``; ``profile`` becomes a fact that the verdict reads."""
    state = migration.state
    status = _status(machine, state.status)
    counters = state.last_answer or migration.counters()
    ended = status == "completed"
    kvm = _kvm(machine, migration)
    moments = moments_of(migration, machine.vm.guest)
    return MigrationResult(
        status=status,
        query=_query(migration, counters, status),
        total_time_ms=counters.total_time_ms,
        downtime_ms=state.downtime_ms if ended or state.guest_moves else None,
        setup_time_ms=state.setup_time_ms,
        rounds=_rounds(migration, machine.env.now_ns, kvm),
        series=Table.read("series", SERIES if kvm is None else (*SERIES, *KVM_SERIES), moments),
        events=Table.read("events", EVENTS, marks_of(migration)),
        facts=_facts(machine, migration, profile) | interruptions(migration) | _attempt(machine, migration),
        kvm=kvm,
        own=_own(machine),
        sender=sender_of(machine, migration),
    )


def _status(machine: Machine, status: str) -> str:
    found = (one.status(machine) for one in mechanisms() if one.status is not None)
    ended = next((own for own in found if own is not None), None)
    return ended or (status if status in (*ENDS, *ends()) else "active")


def _own(machine: Machine) -> dict[str, OwnResult]:
    found = {one.name: one.own(machine) for one in mechanisms() if one.own is not None}
    return {name: own for name, own in found.items() if own is not None}


def _attempt(machine: Machine, migration: Migration) -> dict[str, int]:
    every = machine.attempts.begun if machine.attempts else []
    return {"attempt": every.index(migration) + 1} if len(every) > 1 else {}


def _kvm(machine: Machine, migration: Migration) -> KvmCosts | None:
    tallies, last = migration.recorder.tallies, migration.recorder.last_tally or machine.vm.tally()
    if not tallies or last is None:
        return None
    return kvm_costs(tallies, last, len(set(machine.vm.guest.clock_vcpu.tolist())), machine.vm.index_figures())


def _query(migration: Migration, counters: Counters, status: str) -> dict[str, Any]:
    fields = {name: getattr(counters, name) for name in Counters.__dataclass_fields__}
    m = migration.state
    qmp = QmpCounters(**fields, qemu=migration.parameters.qemu, error_desc=m.error_desc)
    return query_at_cancel(qmp, status) if status in ("cancelled", "failed") else query_migrate(qmp)


def query_now(migration: Migration) -> dict[str, Any]:
    """The answer of query-migrate at this moment of a run."""
    counters = migration.counters()
    return _query(migration, counters, counters.status)


def _rounds(migration: Migration, now_ns: int, kvm: KvmCosts | None) -> Table:
    columns = (*ROUNDS, *(column for one in _mechanisms(migration) for column in one.rounds))
    rounds = Table.read("rounds", columns, rounds_of(migration, now_ns))
    return rounds if kvm is None else rounds.beside(Table.of_dicts("rounds", KVM_ROUNDS, kvm.rounds))


def _facts(machine: Machine, migration: Migration, profile: str) -> dict[str, Any]:
    p, spec, vm = migration.parameters, machine.spec, machine.vm
    curve = guest_curve(spec.workloads, spec.seed)
    knots = np.unique(np.linspace(0, len(curve.t_s) - 1, 200).astype(int))
    filled = sum(length for block in vm.memory.blocks for _, length in block.filled)
    syncs = migration.recorder.syncs
    return {
        "memory_bytes": vm.memory.n_bytes,
        "page_size": PAGE_BYTES,
        "page_wire_bytes": counted_page_bytes(p, spec.content),
        "downtime_limit_ms": p.downtime_limit_ms,
        "max_bandwidth_bytes_per_s": p.max_bandwidth,
        "link_bandwidth_bytes_per_s": spec.link.bandwidth_bytes_per_s,
        **_streams(spec.link, connections_of(p)),
        "stream_round_trip_ms": 2 * spec.link.latency_ns / 1_000_000,
        "host_bandwidth_bytes_per_s": host_bytes_per_s(spec.sheet, p, spec.content),
        "avail_switchover_bandwidth_bytes_per_s": p.avail_switchover_bandwidth,
        "qemu": p.qemu,
        "profile": profile,
        "auto_converge": p.auto_converge,
        "max_cpu_throttle": p.max_cpu_throttle,
        "timeout_ms": p.timeout_ns // 1_000_000 or None,
        "working_set_pages": int(np.count_nonzero(vm.memory.version > machine.tracker.initial_records)),
        "cpu_bound_share": _cpu_bound_share(machine),
        "paces": _paces(machine),
        "dirty_curve_s": curve.t_s[knots].tolist(),
        "dirty_curve_pages": curve.at(curve.t_s[knots]).tolist(),
        "zero_pages": vm.memory.n_pages - filled,
        "filled_pages": filled,
        "first_pass_s": (syncs[1].t_ns - syncs[0].t_ns) / NS_PER_S if len(syncs) > 1 else None,
        **_facts_of_mechanisms(machine, migration),
    }


def _facts_of_mechanisms(machine: Machine, migration: Migration) -> dict[str, Any]:
    found = (one.facts(machine, migration) for one in _mechanisms(migration) if one.facts is not None)
    return {name: value for facts in found for name, value in facts.items()}


def _mechanisms(migration: Migration) -> tuple[Mechanism, ...]:
    """Records of the mechanisms that are on."""
    return named(frozenset(one.name for one in on_in(migration.parameters)))


def _streams(link: LinkSpec, connections: int) -> dict[str, Any]:
    """The bandwidth that ``connections`` TCP connections get from the link together, and the limit."""
    carried, window = link.stream_bytes_per_s, link.window_bytes
    limit = link.stream_limit
    if connections > 1 and limit not in (None, "link"):
        carried, window = carried * connections, window * connections
        if 0 < link.bandwidth_bytes_per_s <= carried:
            carried, limit = link.bandwidth_bytes_per_s, "link"
    return {
        "stream_bytes_per_s": carried, "stream_limit": limit, "stream_window_bytes": window if link.rtt_ps else None,
    }  # fmt: skip


def _cpu_bound_share(machine: Machine) -> float | None:
    rates = [(float(load.write_rate_per_s), load.pacing.open_loop) for load in machine.spec.workloads]
    total = sum(rate for rate, _ in rates)
    return sum(rate for rate, is_open in rates if not is_open) / total if total else None


def _paces(machine: Machine) -> list[list[float]]:
    """[share of the writes, full speed of the vCPU over its nominal speed] of each workload that writes; closed loop: 1.

    # Model limit: a verdict takes a task that thinks for one that catches up; a throttle takes more of its work than that.
    """
    loads = [(float(load.write_rate_per_s), load.pacing) for load in machine.spec.workloads]
    total = sum(rate for rate, _ in loads)
    return [[rate / total, float(pace.catch_up if pace.open_loop else 1 / pace.duty)] for rate, pace in loads if rate]


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
    outage_ms: of a pre-copy over a link with latency, or that is slow to drain the socket buffers: from the guest's stop at
    the source until the last byte is at the destination.
    beyond_limit: parts of a downtime that is far longer than the limit (_beyond_limit).
    manager_lost_s: moment at which the manager lost the destination; lost_after_completion: the end of the stream never
    reached the destination.
    """
    found = _of_link(migration) | _of_states(migration) | _of_acts(migration) | _outage(migration)
    found |= _beyond_limit(migration)
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
    """The time without a running guest on a link where it may be another than the downtime; {} on other links.

    # Model limit: the destination loads RAM and devices as they come, and starts the guest with the last byte.
    """
    m = migration.state
    is_moved = m.status == "completed" and not m.guest_moves and m.vm_stopped_ns and m.arrived_ns
    if not is_moved or not _outlasts_the_source(migration):
        return {}
    return {"outage_ms": (m.arrived_ns - m.vm_stopped_ns) / NS_PER_MS}


def _outlasts_the_source(migration: Migration) -> bool:
    """Whether the last byte may arrive a millisecond or more after the source is done.

    The source is done when its last write returns and the devices are saved. By then the last bytes may still be on a link
    with latency, or in full socket buffers that a slow link takes longer to drain.
    """
    link = migration.link.spec
    full_ns = connections_of(migration.parameters) * link.socket_buffer_ps // PS_PER_NS
    return max(link.latency_ns, full_ns - migration.sheet.switchover_ns) >= NS_PER_MS


FAR_MS, FAR_SHARE = 20, 1.2
"""The vm_stop and the devices of a small guest take 11 ms by the generic sheet, and the bandwidth wavers by some percent."""


def _beyond_limit(migration: Migration) -> dict[str, Any]:
    """Parts of a downtime of pre-copy that is FAR_MS and FAR_SHARE longer than the limit; {} for others.

    stop_ms: until the last sync is over, the wait for migrate-continue too; pages_ms: the pages left, pages_bytes;
    devices_ms: of device_bytes; answer_ms: wait for the destination's answer.
    taken_bytes_per_s: bandwidth by which QEMU decided to stop the guest.
    """
    m, p = migration.state, migration.parameters
    downtime_ms = m.downtime_ms or 0
    far_ms = max(p.downtime_limit_ms + FAR_MS, p.downtime_limit_ms * FAR_SHARE)
    is_bounded = m.status == "completed" and not m.guest_moves and m.devices_saved_ns and p.downtime_limit_ms
    if not is_bounded or downtime_ms <= far_ms:
        return {}
    ends = (m.downtime_start_ns, m.rest_sync_ns, m.rest_sent_ns, m.devices_saved_ns, m.end_ns)
    parts = ((b - a) / NS_PER_MS for a, b in pairwise(ends))
    found = dict(zip(("stop_ms", "pages_ms", "devices_ms", "answer_ms"), parts, strict=True))
    taken = switchover_bytes_per_ms(m.bandwidth_bytes_per_ms, p) * 1000
    sizes = {"pages_bytes": m.rest_bytes, "device_bytes": migration.sheet.device_state_bytes, "taken_bytes_per_s": taken}
    return {"beyond_limit": found | sizes}


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
