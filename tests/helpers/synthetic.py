"""Results made up from closed forms, in the form that the engine hands over, without running it."""

from __future__ import annotations

from typing import Any

import numpy as np

from hostsim.results.qmp import QmpCounters, query_at_cancel, query_migrate
from hostsim.results.rounds import ROUNDS
from hostsim.results.series import EVENTS, SERIES, Mark
from hostsim.results.tables import MigrationResult, RunResult, Table

PAGE = 4096
WIRE = 4104
SECOND_NS = 1_000_000_000


def migration(
    rounds: int = 10,
    status: str = "completed",
    memory: int = 4 << 30,
    shrink: float = 0.5,
    throttled: bool = False,
) -> MigrationResult:
    """Each round is ``shrink`` times as long as the one before, down to 50 ms; 10 Gbit/s."""
    bandwidth = 1.25e9
    lengths = np.maximum(memory / bandwidth * shrink ** np.arange(rounds), 0.05)
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    rate = shrink * bandwidth / WIRE
    throttle = [min(99, 10 * max(0, i - 2)) if throttled else 0 for i in range(rounds)]
    rows = [_round(i, starts, rate, bandwidth, throttle[i]) for i in range(rounds)]
    series = [row for i in range(rounds) for row in _samples(i, starts, rate, bandwidth, throttle[i])]
    total_ms, downtime_ms = round(starts[-1] * 1000) + 40, 40
    series.append(series[-1] | {"t_ns": round(starts[-1] * SECOND_NS) + downtime_ms * 1_000_000})
    counters = _counters(status, total_ms, downtime_ms, memory, rounds, throttle[-1], rate)
    return MigrationResult(
        status=status,  # type: ignore[arg-type]
        query=query_at_cancel(counters) if status == "cancelled" else query_migrate(counters),
        total_time_ms=total_ms,
        downtime_ms=downtime_ms if status == "completed" else None,
        setup_time_ms=2,
        rounds=Table.of_dicts("rounds", ROUNDS, rows),
        series=Table.of_dicts("series", SERIES, series),
        events=Table.read("events", EVENTS, _events(status, starts, throttle, downtime_ms)),
        facts=_facts(memory, bandwidth, rate, throttled),
    )


def run_result(*migrations: MigrationResult, name: str = "synthetic") -> RunResult:
    guest = Table("guest", {"vcpu": np.arange(2), "work_ns": np.array([SECOND_NS, SECOND_NS])})
    scenario: dict[str, Any] = {"name": name, "seed": 7, "vm": {"memory": "4GiB", "vcpus": 2}}
    return RunResult(scenario, 7, "0.1.0", migrations, guest, {"transitions": 12345}, 20 * SECOND_NS)


def _round(i: int, starts: np.ndarray, rate: float, bandwidth: float, throttle: int) -> dict[str, Any]:
    begin, end = starts[i], starts[i + 1]
    pages = round((end - begin) * bandwidth / WIRE)
    return {
        "round": i + 1, "start_ns": round(begin * SECOND_NS), "end_ns": round(end * SECOND_NS),
        "remaining_start_bytes": pages * PAGE, "newly_dirty_pages": pages, "normal_pages": pages, "zero_pages": 0,
        "sent_bytes": pages * WIRE, "dirty_rate_pages_per_s": rate * (1 - throttle / 100),
        "bandwidth_bytes_per_s": bandwidth, "threshold_bytes": round(bandwidth * 0.3), "throttle_percent": throttle,
    }  # fmt: skip


def _samples(i: int, starts: np.ndarray, rate: float, bandwidth: float, throttle: int) -> list[dict[str, Any]]:
    begin, end = starts[i], starts[i + 1]
    speed = 1 - throttle / 100
    return [
        {
            "t_ns": round(t * SECOND_NS), "status": "active", "round": i + 1,
            "remaining_bytes": round((end - t) * bandwidth), "transferred_bytes": round(t * bandwidth),
            "dirty_pages_rate_per_s": round(rate * speed),
            "dirtied_pages_per_s": rate * speed * (1 + 0.1 * np.sin(9 * t)), "bandwidth_bytes_per_s": bandwidth,
            "threshold_bytes": round(bandwidth * 0.3), "expected_downtime_ms": 300, "throttle_percent": throttle,
            "guest_speed": speed,
        }
        for t in np.arange(begin, end, 0.1)
    ]  # fmt: skip


def _events(status: str, starts: np.ndarray, throttle: list[int], downtime_ms: int) -> list[Mark]:
    end = round(starts[-1] * SECOND_NS)
    steps = [Mark(round(starts[i] * SECOND_NS), "migration_throttle", p) for i, p in enumerate(throttle) if p]
    stop = [Mark(end, "migration_completion_vm_stop", 0)] if status == "completed" else []
    return [*steps, *stop, Mark(end + downtime_ms * 1_000_000, f"migrate_set_state {status}", 0)]


def _counters(
    status: str, total_ms: int, downtime_ms: int, memory: int, rounds: int, throttle: int, rate: float
) -> QmpCounters:
    return QmpCounters(
        status=status, qemu="10.2", total_time_ms=total_ms, setup_time_ms=2, downtime_ms=downtime_ms,
        expected_downtime_ms=300, cpu_throttle_percentage=throttle, transferred=2 * memory, remaining=1 << 26,
        total=memory, duplicate=12, normal=2 * memory // PAGE, dirty_pages_rate=round(rate), mbps=9999.5,
        dirty_sync_count=rounds, pages_per_second=304_000, precopy_bytes=2 * memory, downtime_bytes=0,
    )  # fmt: skip


def _facts(memory: int, bandwidth: float, rate: float, throttled: bool) -> dict[str, Any]:
    return {
        "memory_bytes": memory, "page_size": PAGE, "page_wire_bytes": WIRE, "downtime_limit_ms": 300,
        "max_bandwidth_bytes_per_s": 0, "link_bandwidth_bytes_per_s": round(bandwidth),
        "host_bandwidth_bytes_per_s": 4 * round(bandwidth), "qemu": "10.2", "profile": "qemu",
        "auto_converge": throttled, "max_cpu_throttle": 99, "timeout_ms": None, "working_set_pages": 262_144,
        "cpu_bound_share": 1.0, "dirty_curve_s": [0.1, 1.0, 10.0],
        "dirty_curve_pages": [rate * 0.1, rate * 0.7, 262_144], "zero_pages": 12,
        "filled_pages": memory // PAGE,
        "first_pass_s": memory / bandwidth,
    }  # fmt: skip
