"""The report of QEMU's guestperf of a run: progress, speed of the guest, and the scenario in guestperf's own words.

QEMU 10.2 tests/migration-stress/guestperf: report.py, progress.py, hardware.py, scenario.py, timings.py, engine.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_MS, NS_PER_S, PAGE_BYTES
from hostsim.core.units import parse_bytes, parse_duration, parse_rate, parse_speed
from hostsim.results.tables import MigrationResult, RunResult

GIB, MIB = 1 << 30, 1 << 20
PRESET = "guestperf"
POLL_S = 0.05
"""engine.py::_migrate polls each 50 ms."""
VCPU_TID, QEMU_PID = 1000, 999
"""Threads have numbers in a report; simulated ones get these."""


def guestperf_figures(result: RunResult, migration: MigrationResult) -> dict[str, float]:
    """Time in which a vCPU of guestperf's guest writes a GiB [ms], undisturbed and during the migration; {} of others."""
    before_ms = _gib_ms(result.scenario)
    if before_ms is None:
        return {}
    series = migration.series
    spans = np.diff(series["t_ns"], prepend=0)
    speed = float(np.average(series["guest_speed"], weights=spans)) if spans.sum() else 1.0
    found = {"guest_before_ms": before_ms}
    return found | ({"guest_during_ms": round(before_ms / speed, 6)} if speed > 0 else {})


def report_of(result: RunResult) -> dict[str, Any]:
    """The report of the last migration of ``result``, as guestperf's ``Report.deserialize`` reads it.

    Times are those of the simulation [s]. The speed of the guest is that of 100 ms each, so a GiB that is written within
    them gets their mean. CPU time is that of vCPUs in the guest and of the threads that send.
    """
    migration = result.migrations[-1]
    completed = migration.status == "completed"
    paused = "stop" in migration.events["event"].tolist()
    return {
        "hardware": _hardware(result.scenario),
        "scenario": guestperf_scenario(result),
        "result": {"success": completed and not paused},
        "progress_history": list(_history(result, migration)),
        "guest_timings": list(_guest_timings(result, migration)),
        "qemu_timings": list(_qemu_timings(result, migration)),
        "vcpu_timings": list(_vcpu_timings(result, migration)),
        "binary": f"hostsim {result.version}, as QEMU {migration.facts['qemu']}",
        "dst_host": "simulated", "kernel": "simulated", "initrd": "simulated", "transport": "tcp",
        "sleep": _start_s(result),
    }  # fmt: skip


def guestperf_scenario(result: RunResult) -> dict[str, Any]:
    """Parameters of the migration by guestperf's names and in its units: ms, MiB/s, s, percent."""
    migration = result.scenario["migration"]
    memory, bandwidth = parse_bytes(result.scenario["vm"]["memory"]), migration["bandwidth"]
    rounds, after = migration.get("postcopy_after_rounds"), migration.get("suspend_after_round")
    timeout = migration.get("timeout", "never")
    return {
        "name": result.name,
        "downtime": parse_duration(migration["downtime_limit"]) // NS_PER_MS,
        "bandwidth": 125_000 if bandwidth == "unlimited" else parse_speed(bandwidth) // MIB,
        "max_iters": (migration.get("cancel_after_round") or (1 << 31)) - 1,
        "max_time": (1 << 31) if timeout == "never" else parse_duration(timeout) // NS_PER_S,
        "pause": bool(after) or migration.get("suspend_after", "never") != "never",
        "pause_iters": after or 0,
        "post_copy": migration["postcopy_ram"], "post_copy_iters": 0 if rounds is None else rounds + 1,
        "auto_converge": migration["auto_converge"], "auto_converge_step": migration["cpu_throttle_increment"],
        "compression_mt": False, "compression_mt_threads": 1,
        "compression_xbzrle": migration["xbzrle"],
        "compression_xbzrle_cache": 100 * parse_bytes(migration["xbzrle_cache_size"]) // memory,
        "multifd": migration["multifd"], "multifd_channels": migration["multifd_channels"],
        "multifd_compression": "" if migration["multifd_compression"] == "none" else migration["multifd_compression"],
        "dirty_limit": migration["dirty_limit"],
        "x_vcpu_dirty_limit_period": parse_duration(migration["x_vcpu_dirty_limit_period"]) // NS_PER_MS,
        "vcpu_dirty_limit": migration["vcpu_dirty_limit"],
    }  # fmt: skip


def _hardware(scenario: Mapping[str, Any]) -> dict[str, Any]:
    vm = scenario["vm"]
    memory, spare = parse_bytes(vm["memory"]), 512 << 20 if _load(scenario) is not None else 0
    ring = vm.get("mmu", {}).get("ring_entries", 0) if vm["dirty_tracking"] == "dirty-ring" else 0
    return {
        "cpus": vm["vcpus"], "mem": max(1, round((memory - spare) / GIB)), "src_mem_bind": [], "dst_mem_bind": [],
        "src_cpu_bind": [], "dst_cpu_bind": [], "prealloc_pages": False, "huge_pages": False, "locked_pages": False,
        "dirty_ring_size": ring,
    }  # fmt: skip


def _load(scenario: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Guestperf's program among the workloads."""
    return next((load for load in scenario["vm"].get("workload", ()) if load.get("preset") == PRESET), None)


def _gib_ms(scenario: Mapping[str, Any]) -> float | None:
    """Time in which an undisturbed vCPU writes a GiB [ms]."""
    load = _load(scenario)
    if load is None:
        return None
    vcpus = scenario["vm"]["vcpus"] if load["vcpus"] == "all" else len(load["vcpus"])
    return float(1000 * vcpus * (GIB // PAGE_BYTES) / parse_rate(load["write_rate"]))


def _start_s(result: RunResult) -> float:
    return parse_duration(result.scenario["migration"]["start"]) / NS_PER_S


def _history(result: RunResult, migration: MigrationResult) -> Iterator[dict[str, Any]]:
    """An entry for the first poll in each round, and one for the end."""
    series, seen = migration.series, -1
    for i in range(len(series)):
        count, status = int(series["round"][i]), str(series["status"][i])
        if count > seen and status not in {"none", "setup"}:
            seen = count
            yield _entry(_start_s(result), migration, i, "active" if status == "device" else status)
    yield _last(_start_s(result), migration)


def _entry(start_s: float, migration: MigrationResult, i: int, status: str) -> dict[str, Any]:
    series = {name: column[i] for name, column in migration.series.columns.items()}
    total = migration.facts["memory_bytes"]
    sent = int(series["transferred_bytes"])
    wire = migration.facts["page_wire_bytes"]
    normal = min(sent // wire, migration.query.get("ram", {}).get("normal", sent // wire))
    ram = {
        "transferred_bytes": sent, "remaining_bytes": int(series["remaining_bytes"]), "total_bytes": total,
        "duplicate_pages": 0, "skipped_pages": 0, "normal_pages": normal, "normal_bytes": normal * PAGE_BYTES,
        "dirty_rate_pps": int(series["dirty_pages_rate_per_s"]),
        "transfer_rate_mbs": float(series["bandwidth_bytes_per_s"]) * 8 / 1e6, "iterations": int(series["round"]),
    }  # fmt: skip
    t_ns = int(series["t_ns"])
    return {
        "status": status, "ram": ram, "now": start_s + t_ns / NS_PER_S, "duration": t_ns // NS_PER_MS, "downtime": 0,
        "downtime_expected": int(series["expected_downtime_ms"]), "setup_time": migration.setup_time_ms,
        "throttle_pcent": int(series["throttle_percent"]), "dirty_limit_throttle_time_per_round": 0,
        "dirty_limit_ring_full_time": 0,
    }  # fmt: skip


def _last(start_s: float, migration: MigrationResult) -> dict[str, Any]:
    query = migration.query
    ram = query.get("ram", {})
    names = {"transferred_bytes": "transferred", "remaining_bytes": "remaining", "total_bytes": "total",
             "duplicate_pages": "duplicate", "skipped_pages": "skipped", "normal_pages": "normal",
             "normal_bytes": "normal-bytes", "dirty_rate_pps": "dirty-pages-rate", "transfer_rate_mbs": "mbps",
             "iterations": "dirty-sync-count"}  # fmt: skip
    return {
        "status": migration.status, "ram": {name: ram.get(key, 0) for name, key in names.items()},
        "now": start_s + (migration.total_time_ms or 0) / 1000, "duration": migration.total_time_ms,
        "downtime": migration.downtime_ms or 0, "downtime_expected": query.get("expected-downtime", 0),
        "setup_time": migration.setup_time_ms, "throttle_pcent": query.get("cpu-throttle-percentage", 0),
        "dirty_limit_throttle_time_per_round": query.get("dirty-limit-throttle-time-per-round", 0),
        "dirty_limit_ring_full_time": query.get("dirty-limit-ring-full-time", 0),
    }  # fmt: skip


def _work_s(result: RunResult, migration: MigrationResult) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(times since the run began, work of a vCPU by then) [s]: at full speed before the migration, then as in its series."""
    t_s = migration.series["t_ns"] / NS_PER_S
    spans = np.diff(t_s, prepend=0.0)
    start_s = _start_s(result)
    times = np.concatenate([[0.0], start_s + t_s])
    work = np.concatenate([[0.0], start_s + np.cumsum(spans * np.nan_to_num(migration.series["guest_speed"]))])
    return times, work


def _guest_timings(result: RunResult, migration: MigrationResult) -> Iterator[dict[str, Any]]:
    """A record each time that a vCPU has written a GiB: the moment [s], and how long it took [ms]."""
    gib_ms = _gib_ms(result.scenario)
    if gib_ms is None:
        return
    times, work = _work_s(result, migration)
    ends = np.arange(1, int(work[-1] * 1000 / gib_ms) + 1) * gib_ms / 1000
    moments = np.interp(ends, work, times)
    for moment, took in zip(moments.tolist(), np.diff(moments, prepend=0.0).tolist(), strict=True):
        yield from (_record(VCPU_TID + v, moment, round(1000 * took)) for v in range(result.scenario["vm"]["vcpus"]))


def _vcpu_timings(result: RunResult, migration: MigrationResult) -> Iterator[dict[str, Any]]:
    times, work = _work_s(result, migration)
    for at in np.arange(0.0, times[-1], 1.0).tolist():
        for vcpu in range(result.scenario["vm"]["vcpus"]):
            yield _record(VCPU_TID + vcpu, at, 1000 * float(np.interp(at, times, work)))


def _qemu_timings(result: RunResult, migration: MigrationResult) -> Iterator[dict[str, Any]]:
    """CPU time of QEMU [ms]: its vCPUs, and its sending threads evenly over the migration."""
    times, work = _work_s(result, migration)
    sender = migration.sender
    cpu_s = 0.0 if sender is None else sender.thread_cpu_s + sender.channel_cpu_s
    start_s, vcpus = _start_s(result), result.scenario["vm"]["vcpus"]
    for at in np.arange(0.0, times[-1], 1.0).tolist():
        share = max(0.0, at - start_s) / max(1e-9, times[-1] - start_s)
        yield _record(QEMU_PID, at, 1000 * (vcpus * float(np.interp(at, times, work)) + share * cpu_s))


def _record(tid: int, timestamp: float, value: float) -> dict[str, Any]:
    return {"tid": tid, "timestamp": timestamp, "value": value}
