"""The figures of one run that comparisons are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.core.latency import merged
from hostsim.core.units import parse_duration
from hostsim.guest.windows import window_local
from hostsim.results.guestperf import guestperf_figures
from hostsim.results.mechanism import end_words, mechanisms, percent
from hostsim.results.memory import OUT_OF_MEMORY, HostResult
from hostsim.results.tables import MigrationResult, RunResult
from hostsim.scenario.guest_schema import Active

Figures = dict[str, int | float | str | None]

OUTCOMES = ("total_time_ms", "downtime_ms", "transferred_bytes")
"""Figures that count only if the migration completed: bytes sent before a cancel are not the cost of a migration."""
AGEING = "ageing."
"""Opens the names of figures that only runs with [ageing] have."""
JUDGED = (*OUTCOMES, "guest_slowdown_percent", f"{AGEING}pass_mean_ns")
"""The figures a verdict is about; of each the less the better."""
NO_MIGRATION = "ran"
RAN_OUT = OUT_OF_MEMORY
"""The host ran out of memory, with a migration or without: the figures until then are not compared with other runs."""
KVM = "kvm."
"""Opens the names of figures that only runs under KVM have."""
MODE = "mode."
"""Opens the names of figures of the mechanism that migrated the guest."""
MEMORY = "memory."
"""Opens the names of figures that only runs with [host.memory] have."""
SWAP_IN, LOCK_WAIT = ("fault_major", "async_fault_major"), ("lock_wait_vcpu",)
"""Names of distributions: waits of a vCPU, and of a task of the guest, for swap-in; waits of vCPUs for mmu_lock."""
TEXTS = ("status", f"{MODE}ended")
"""Figures that are words."""
STOPS = ("migration_thread_low_pending", "migration_completion_vm_stop")
"""Events from which on the guest is not to run."""
INDEX = ("index_bytes", "start_ns")
"""Figures of an index of sptes: bytes beside the page tables, and the time that switching the log on takes."""


def figures_of(result: RunResult) -> Figures:
    """``status`` first, then figures with their unit in the name; None where the run has none.

    guest_slowdown_percent: work the vCPUs lost while they were to run, that is without the stop of the switchover;
    guest_lost_ms: work lost in all, the stop included, mean of the vCPUs' work clocks.
    """
    if result.host is not None and result.host.out_of_memory is not None:
        return {"status": RAN_OUT} | _counters(result) | _of_host(result)
    if not result.migrations:
        alone: Figures = {"status": NO_MIGRATION, "guest_slowdown_percent": _idle_percent(result)}
        return alone | _counters(result) | _of_host(result)
    migration = result.migrations[0]
    return {
        "status": migration.status,
        "total_time_ms": migration.total_time_ms,
        "downtime_ms": migration.downtime_ms,
        "transferred_bytes": migration.query.get("ram", {}).get("transferred"),
        "guest_slowdown_percent": slowdown_percent(migration),
        "guest_lost_ms": lost_ms(migration),
        "throttle_max_percent": int(migration.series["throttle_percent"].max(initial=0)),
    } | _counters(result) | _mode(result, migration) | _kvm(migration) | _of_host(result)  # fmt: skip


def figure_names(runs: Iterable[Figures]) -> list[str]:
    """Every figure that any of ``runs`` has, the judged figures first."""
    found = dict.fromkeys(name for figures in runs for name in figures if name not in TEXTS)
    return [*(name for name in JUDGED if name in found), *(name for name in found if name not in JUDGED)]


def slowdown_percent(migration: MigrationResult) -> float | None:
    """100 (1 - work done / time), over the samples in which the guest was to run; None if there are none.

    Of a guest that runs at the source again after its stop (``goes_on``) those since then: its pauses are the price.
    """
    series, events = migration.series, migration.events
    spans = np.diff(series["t_ns"], prepend=0)
    stops_ns = events["t_ns"][np.isin(events["event"], STOPS)].min(initial=np.iinfo(np.int64).max)
    live = (series["status"] == "active") & (spans > 0) & (series["t_ns"] <= stops_ns)
    if migration.facts.get("goes_on"):
        live = (spans > 0) & (series["t_ns"] > stops_ns + round(migration.facts["stopped_ms"] * NS_PER_MS))
    live[:1] = False  # no earlier sample: the work before the first one is unknown
    if not live.any():
        return None
    return percent(1.0 - float(np.average(series["guest_speed"][live], weights=spans[live])))


def lost_ms(migration: MigrationResult) -> float:
    """Sum of (1 - guest speed) x time."""
    series = migration.series
    spans = np.diff(series["t_ns"], prepend=0)
    return round(float(np.sum((1.0 - series["guest_speed"]) * spans)) / 1e6, 6) + 0.0


def _idle_percent(result: RunResult) -> float | None:
    if not len(result.guest) or not result.end_ns:
        return None
    loads = {load["name"]: _duty(load, result.end_ns) for load in result.scenario["vm"].get("workload", ())}
    nominal = sum(loads.get(row.get("workload"), 1.0) for row in result.guest.rows()) / len(result.guest)
    return percent(1.0 - float(result.guest["work_ns"].mean()) / nominal / result.end_ns) if nominal else None


def _duty(load: Mapping[str, Any], end_ns: int) -> float:
    """Share of the time up to ``end_ns`` in which a workload, as resolved, works: less than 1 if it thinks or rests."""
    think = load.get("think")
    if think is None:
        return _in_windows(load.get("active"), end_ns)
    work, sleep = parse_duration(think["work"]), parse_duration(think["sleep"])
    return work / (work + sleep) * _in_windows(load.get("active"), end_ns)


def _in_windows(active: Mapping[str, Any] | None, end_ns: int) -> float:
    """Share of the time up to ``end_ns`` in windows of the host's clock, between which the work clock stands."""
    windows = Active.model_validate(active) if active else None
    if windows is None or not windows.is_of_host:
        return 1.0
    return float(window_local(windows.start, windows.length, windows.period, end_ns)) / end_ns


def _counters(result: RunResult) -> Figures:
    return {name: value for name, value in result.counters.items() if _is_number(value)}


def _mode(result: RunResult, migration: MigrationResult) -> Figures:
    """Bytes sent over the size of memory, CPU time of the sending threads, and figures of one mechanism alone."""
    ram, sender = migration.query.get("ram", {}), migration.sender
    found: Figures = {}
    found["ended"] = _ended(migration)
    if ram.get("total"):
        found["sent_percent"] = percent(ram["transferred"] / ram["total"])
    if sender is not None:
        found["sender_cpu_ns"] = round((sender.thread_cpu_s + sender.channel_cpu_s) * NS_PER_S)
    if "outage_ms" in migration.facts:
        found["outage_ms"] = migration.facts["outage_ms"]
    for one in mechanisms():
        found |= {} if one.compared is None else one.compared(migration)
    found |= guestperf_figures(result, migration)
    return {f"{MODE}{name}": value for name, value in found.items()}


def _ended(migration: MigrationResult) -> str:
    """The end of a migration in a few words."""
    events = set(migration.events["event"].tolist())
    if migration.status == "completed":
        return "completed, guest suspended" if "stop" in events else "converged"
    if migration.status == "cancelled":
        timeout_ms = migration.facts.get("timeout_ms")
        timed_out = timeout_ms and migration.total_time_ms >= timeout_ms
        return "too many rounds" if "cancel_after_round" in events else "timed out" if timed_out else "cancelled"
    return end_words(migration.status)


def _kvm(migration: MigrationResult) -> Figures:
    """The cost of finding dirty pages from the first sync to the end; {} where KVM did not find them."""
    if migration.kvm is None:
        return {}
    index = migration.kvm.index or {}
    found = {**migration.kvm.logged, **{name: index[name] for name in INDEX if name in index}}
    return {f"{KVM}{name}": value for name, value in found.items() if _is_number(value)}


def _of_host(result: RunResult) -> Figures:
    return {} if result.host is None else _memory(result.host) | _ageing(result.host)


def _memory(host: HostResult) -> Figures:
    """Stalls, swap-in and reclaim of the first VM on a host with [host.memory]; {} without."""
    if host.memory is None:
        return {}
    row = host.memory["vms"][0]
    found = {name: row[name] for name in ("stall_share", "swapped_in", "direct_reclaims", "migration_wait_ns")}
    return {f"{MEMORY}{name}": value for name, value in found.items()} | {f"{MEMORY}swap_in_p99_ns": _p99_ns(host, SWAP_IN)}


def _ageing(host: HostResult) -> Figures:
    """Passes over the first VM, their young pages, and its vCPUs' waits for mmu_lock; {} without ageing."""
    if not host.ageing or not host.ageing[0]["passes"]:
        return {}
    told = host.ageing[0]
    found = {
        "pass_mean_ns": told["pass_mean_ns"], "pass_max_ns": told["pass_max_ns"],
        "young_pages": round(told["young_pages"] / told["passes"]),
        "false_old_pages": round(told["false_old_pages"] / told["passes"]), "lock_wait_p99_ns": _p99_ns(host, LOCK_WAIT),
    }  # fmt: skip
    return {f"{AGEING}{name}": value for name, value in found.items()}


def _p99_ns(host: HostResult, names: tuple[str, ...]) -> int:
    """99th percentile of the distributions ``names`` of the first VM; 0 without a wait."""
    return merged(one.latencies for one in host.latencies if one.what in names and one.vm == "vm").percentile_ns(99)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
