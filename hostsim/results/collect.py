"""From a machine that has run to its results: plain tables and counters, nothing that still moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from hostsim.core.clock import NEVER_NS
from hostsim.core.memory import PAGE_SIZE
from hostsim.guest.pacing import work_at
from hostsim.machine.machine import Machine
from hostsim.qemu.recorder import Sample, SyncPoint
from hostsim.qemu.send import NORMAL_PAGE_BYTES
from hostsim.qemu.state import Counters
from hostsim.qemu.thread import Migration
from hostsim.results.kvm import KVM_ROUNDS, KVM_SERIES, KvmCosts, kvm_columns, kvm_costs
from hostsim.results.qmp import QmpCounters, query_at_cancel, query_migrate
from hostsim.results.tables import EVENTS, ROUNDS, SERIES, MigrationResult, Table
from hostsim.theory.guest_curve import guest_curve

NS_PER_S = 1_000_000_000
GUEST = {
    "workload": "str", "vcpu": "int64", "pattern": "str", "pacing": "str", "work_ns": "int64", "write_touches": "float64",
    "read_touches": "float64",
}  # fmt: skip
"""Columns of ``guest``: a row a (workload, vCPU); touches are the expected number, work times rate."""


def guest_table(machine: Machine) -> Table:
    """What each vCPU did for each workload."""
    guest, now_ns = machine.vm.guest, machine.env.now_ns
    rows = []
    for clock, vcpu, w in zip(guest.clocks, guest.clock_vcpu, guest.clock_workload, strict=True):
        load = guest.workloads[w]
        work_ns = int(work_at(clock, now_ns))
        seconds = work_ns / NS_PER_S / len(load.vcpus)
        touches = (float(load.write_rate_per_s) * seconds, float(load.read_rate_per_s) * seconds)
        rows.append((load.name, int(vcpu), load.pattern, "open" if load.pacing.open_loop else "closed", work_ns, *touches))
    return Table.of("guest", GUEST, rows)


def migration_result(machine: Machine, migration: Migration, profile: str) -> MigrationResult:
    """The result of ``migration``; ``profile`` is told to the verdict."""
    state = migration.state
    status: Any = state.status if state.status in ("completed", "cancelled") else "active"
    counters = state.last_answer or migration.counters()
    ended = status == "completed"
    kvm = _kvm(machine, migration)
    series = _series(migration, len(machine.vm.guest.clocks))
    return MigrationResult(
        status=status,
        query=_query(counters, status, migration.parameters.qemu),
        total_time_ms=counters.total_time_ms,
        downtime_ms=state.downtime_ms if ended else None,
        setup_time_ms=state.setup_time_ms,
        rounds=_rounds(migration, machine.env.now_ns, kvm),
        series=series if kvm is None else _with_slowdown(series),
        events=_events(migration),
        facts=_facts(machine, migration, profile),
        kvm=kvm,
    )


def _kvm(machine: Machine, migration: Migration) -> KvmCosts | None:
    tallies, last = migration.recorder.tallies, machine.vm.tally()
    if not tallies or last is None:
        return None
    return kvm_costs(tallies, last, len(set(machine.vm.guest.clock_vcpu.tolist())), machine.vm.index_figures())


def _with_slowdown(series: Table) -> Table:
    (column,) = KVM_SERIES
    return Table(series.name, {**series.columns, column: 1 - series["guest_speed"]})


def _events(migration: Migration) -> Table:
    start_ns = migration.state.start_ns
    return Table.of("events", EVENTS, [(t - start_ns, name, value) for t, name, value in migration.recorder.marks])


def _query(counters: Counters, status: str, qemu: str) -> dict[str, Any]:
    fields = {name: getattr(counters, name) for name in Counters.__dataclass_fields__}
    qmp = QmpCounters(**{**fields, "qemu": qemu})
    return query_at_cancel(qmp) if status == "cancelled" else query_migrate(qmp)


def _rounds(migration: Migration, now_ns: int, kvm: KvmCosts | None) -> Table:
    syncs, start = migration.recorder.syncs, migration.state.start_ns
    end_ns = migration.state.end_ns or now_ns
    rows = [
        _round(sync, syncs[max(i - 1, 0)], syncs[i + 1] if i + 1 < len(syncs) else None, migration, start, end_ns)
        for i, sync in enumerate(syncs)
    ]
    if kvm is None:
        return Table.of("rounds", ROUNDS, rows)
    both = [(*row, *more) for row, more in zip(rows, kvm_columns(kvm), strict=True)]
    return Table.of("rounds", {**ROUNDS, **KVM_ROUNDS}, both)


def _round(
    sync: SyncPoint, before: SyncPoint, after: SyncPoint | None, migration: Migration, start_ns: int, end_ns: int
) -> tuple[Any, ...]:
    ram = migration.ram
    seconds = (sync.t_ns - before.t_ns) / NS_PER_S
    rate = sync.newly_dirty_pages / seconds if seconds > 0 else 0.0
    normal, zero, sent, until = (
        (after.normal_pages, after.zero_pages, after.sent_bytes, after.t_ns)
        if after else (ram.normal_pages, ram.zero_pages, migration.transferred_bytes, end_ns)
    )  # fmt: skip
    return (
        sync.dirty_sync_count, sync.t_ns - start_ns, until - start_ns, sync.remaining_bytes, sync.newly_dirty_pages,
        normal - sync.normal_pages, zero - sync.zero_pages, sent - sync.sent_bytes, rate,
        sync.bandwidth_bytes_per_s, sync.threshold_bytes, sync.throttle_percent,
    )  # fmt: skip


def _series(migration: Migration, n_clocks: int) -> Table:
    samples = migration.recorder.samples
    each = zip([None, *samples], samples, _dirtied_per_s(migration), strict=False)
    rows = [
        (
            sample.t_ns, sample.status, sample.dirty_sync_count, sample.remaining_bytes, sample.transferred_bytes,
            sample.dirty_pages_rate, rate, sample.bandwidth_bytes_per_s, sample.threshold_bytes,
            sample.expected_downtime_ms, sample.throttle_percent, _speed(before, sample, n_clocks),
        )
        for before, sample, rate in each
    ]  # fmt: skip
    return Table.of("series", SERIES, rows)


def _dirtied_per_s(migration: Migration) -> list[float]:
    """Of each sample, since the one before; what a sync finds was dirtied evenly since the last one, or until the stop.

    nan where no sync has counted: before the first one, and after the last one of a guest that runs on.
    """
    recorder, start_ns = migration.recorder, migration.state.start_ns
    stops_ns = [t_ns for t_ns, event, _ in recorder.marks if event == "migration_completion_vm_stop"]
    last_ns = min(stops_ns, default=NEVER_NS)
    counted_ns = [min(sync.t_ns, last_ns) - start_ns for sync in recorder.syncs]
    dirtied = np.cumsum([0, *(sync.dirtied_pages for sync in recorder.syncs[1:])])
    if not counted_ns:
        return [float("nan")] * len(recorder.samples)
    t_ns = np.array([sample.t_ns for sample in recorder.samples], np.int64)
    known = np.interp(t_ns, counted_ns, dirtied, left=np.nan, right=dirtied[-1] if stops_ns else np.nan)
    spans_s = np.diff(t_ns, prepend=t_ns[:1]) / NS_PER_S
    grown = np.diff(known, prepend=known[:1])
    return [float(rate) for rate in np.divide(grown, spans_s, out=np.full(len(t_ns), np.nan), where=spans_s > 0)]


def _speed(before: Sample | None, sample: Sample, n_clocks: int) -> float:
    """Share of nominal work that was done since the sample before."""
    if before is None or n_clocks == 0 or sample.t_ns <= before.t_ns:
        return 1.0
    return (sample.work_ns - before.work_ns) / n_clocks / (sample.t_ns - before.t_ns)


def _facts(machine: Machine, migration: Migration, profile: str) -> dict[str, Any]:
    p, spec, vm = migration.parameters, machine.spec, machine.vm
    curve = guest_curve(spec.workloads, vm.memory.n_pages, spec.seed)
    knots = np.unique(np.linspace(0, len(curve.t_s) - 1, 200).astype(int))
    filled = sum(length for block in vm.memory.blocks for _, length in block.filled)
    syncs = migration.recorder.syncs
    return {
        "memory_bytes": vm.memory.n_bytes,
        "page_size": PAGE_SIZE,
        "page_wire_bytes": NORMAL_PAGE_BYTES,
        "downtime_limit_ms": p.downtime_limit_ms,
        "max_bandwidth_bytes_per_s": p.max_bandwidth,
        "link_bandwidth_bytes_per_s": spec.link.bandwidth_bytes_per_s,
        "stream_bytes_per_s": spec.link.stream_bytes_per_s,
        "stream_limit": spec.link.stream_limit,
        "stream_window_bytes": spec.link.window_bytes if spec.link.rtt_ps else None,
        "stream_round_trip_ms": 2 * spec.link.latency_ns / 1_000_000,
        "host_bandwidth_bytes_per_s": NORMAL_PAGE_BYTES * NS_PER_S // spec.sheet.page_send_ns,
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
    }


def _cpu_bound_share(machine: Machine) -> float | None:
    rates = [(float(load.write_rate_per_s), load.pacing.open_loop) for load in machine.spec.workloads]
    total = sum(rate for rate, _ in rates)
    return sum(rate for rate, is_open in rates if not is_open) / total if total else None


def _paces(machine: Machine) -> list[list[float]]:
    """[share of the writes, full speed of the vCPU over its nominal speed] of each workload that writes; closed loop: 1."""
    loads = [(float(load.write_rate_per_s), load.pacing) for load in machine.spec.workloads]
    total = sum(rate for rate, _ in loads)
    return [[rate / total, float(pace.catch_up) if pace.open_loop else 1.0] for rate, pace in loads if rate]
