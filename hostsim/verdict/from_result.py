"""Evidence from a simulated migration, which knows its guest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.results.sender import BUSY
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.verdict.evidence import Channels, Evidence, LoggingCost, PageTables, Round
from hostsim.verdict.logging_cost import KINDS
from hostsim.verdict.mechanism import seen_in_run
from hostsim.verdict.sender import busy_thread
from hostsim.verdict.throttled import throttled_of
from hostsim.verdict.window import Stream

if TYPE_CHECKING:
    from hostsim.results.kvm import KvmCosts
    from hostsim.results.tables import MigrationResult, RunResult

Array = NDArray[Any]
INTERRUPTIONS = (
    "outages_s", "retransmission_timeouts", "retransmitted_bytes", "lost_packets", "pre_switchover_ms", "cancelling_ms",
    "cancelled_in", "stopped_ms", "suspended_s", "set", "manager_lost_s", "lost_after_completion", "attempt", "outage_ms",
    "goes_on", "beyond_limit",
)  # fmt: skip
SPEED_LEAST = 0.01
"""The curve of a guest that stands still has no end (assumed)."""


class Columns(Protocol):
    """A table as far as it is read here."""

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Arrays of equal length by name."""


def evidence_from_result(result: RunResult, index: int = 0) -> Evidence:
    """Evidence from the ``index``-th migration of a run: rounds, limits, and the dirty curve of its guest."""
    migration = result.migrations[index]
    facts, ram = migration.facts, migration.query.get("ram", {})
    limit = facts.get("downtime_limit_ms")
    return Evidence(
        source="run",
        status=migration.status,
        elapsed_s=_elapsed_s(migration),
        total_time_ms=_number(migration.total_time_ms),
        downtime_ms=_number(migration.downtime_ms),
        samples=len(migration.rounds.columns["round"]) + 1,
        ram_bytes=_number(facts.get("memory_bytes")),
        filled_pages=_number(facts.get("filled_pages")),
        page_bytes=int(facts.get("page_size", PAGE_BYTES)),
        page_wire_bytes=int(facts.get("page_wire_bytes", PAGE_WIRE_BYTES)),
        sent_bytes=_number(ram.get("transferred")),
        remaining_bytes=_number(ram.get("remaining")),
        sync_count=_number(ram.get("dirty-sync-count")),
        first_pass_s=_number(facts.get("first_pass_s")),
        rounds=_rounds(migration.rounds, int(facts.get("page_size", PAGE_BYTES))),
        downtime_limit_ms=_number(limit),
        downtime_limit_from="assumed" if limit is None else "given",
        timeout_ms=_number(facts.get("timeout_ms")),
        working_set_pages=_number(facts.get("working_set_pages")),
        curve=_curve(facts, _speed(migration)),
        mechanisms=seen_in_run(result, migration),
        logging=None if migration.kvm is None else _logging(migration.kvm, migration.rounds),
        page_tables=None if migration.kvm is None else _page_tables(migration.kvm),
        error_desc=str(migration.query.get("error-desc", "")),
        interruptions={name: facts[name] for name in INTERRUPTIONS if name in facts},
        profile=str(facts.get("profile") or "qemu"),
        qemu=None if facts.get("qemu") is None else str(facts["qemu"]),
        warnings=result.warnings,
        assumptions=result.assumptions,
        channels=_channels(migration, result.scenario),
        thread=busy_thread(migration.sender, BUSY),
        surely_sent_bytes_per_s=_surely_sent_bytes_per_s(result),
        **_bandwidths(facts, migration),
        **_throttle(facts, migration),
    )


def _surely_sent_bytes_per_s(result: RunResult) -> float:
    from hostsim.scenario.plausible import surely_sent_bytes_per_s  # no scenario is loaded to read a log

    return float(surely_sent_bytes_per_s(result.scenario))


def _channels(migration: MigrationResult, scenario: Mapping[str, Any]) -> Channels | None:
    one = migration.sender
    if one is None or not one.channels:
        return None
    cpu_s = one.thread_cpu_s + one.channel_cpu_s
    is_assumed = one.compression != "none" and scenario.get("vm", {}).get("compression_ratio") is None
    return Channels(
        one.channels, one.channels_busy, one.bottleneck, one.thread_share, cpu_s, one.compression, one.wire_ratio, is_assumed
    )


def _elapsed_s(migration: MigrationResult) -> float:
    total = migration.total_time_ms
    seconds = migration.series.columns["t_ns"] / 1e9
    return total / 1000 if total else (float(seconds[-1]) if len(seconds) else 0.0)


def _rounds(table: Columns, page_bytes: int) -> tuple[Round, ...]:
    """Round i was found by the sync that opened round i + 1, so its dirty pages stand in the next row."""
    columns = table.columns
    seconds = (columns["end_ns"] - columns["start_ns"]) / 1e9
    newly, remaining = columns["newly_dirty_pages"], columns["remaining_start_bytes"] / page_bytes
    return tuple(
        Round(
            duration_s=float(seconds[i]),
            newly_dirty_pages=float(newly[i + 1]),
            pending_pages=float(max(0.0, remaining[i + 1] - newly[i + 1])),
            throttle_percent=float(columns["throttle_percent"][i]),
        )
        for i in range(len(seconds) - 1)
        if seconds[i] > 0
    )


def _bandwidths(facts: Mapping[str, Any], migration: MigrationResult) -> dict[str, Any]:
    names = ("max_bandwidth_bytes_per_s", "link_bandwidth_bytes_per_s", "host_bandwidth_bytes_per_s")
    known = {name: _number(facts.get(name)) for name in names}
    seen = migration.series.columns["bandwidth_bytes_per_s"]
    seen = seen[seen > 0]
    stream = _stream(facts, max(migration.sender.channels, 1) if migration.sender else 1)
    limits = [value for value in (*known.values(), stream and stream.bytes_per_s) if value]
    rate = float(np.median(seen)) if len(seen) else min(limits, default=0.0)
    return {
        **known,
        "stream": stream,
        "bandwidth_bytes_per_s": rate or None,
        "bandwidth_peak_bytes_per_s": float(np.percentile(seen, 95)) if len(seen) else rate or None,
        "bandwidth_is_steady": True,
        "switchover_bandwidth_bytes_per_s": _number(facts.get("avail_switchover_bandwidth_bytes_per_s")) or None,
    }


def _stream(facts: Mapping[str, Any], connections: int) -> Stream | None:
    """None: without latency, and in records that do not say it."""
    if not facts.get("stream_window_bytes"):
        return None
    return Stream(
        float(facts["stream_bytes_per_s"]),
        str(facts["stream_limit"]),
        float(facts["stream_window_bytes"]),
        float(facts["stream_round_trip_ms"]) / 1000.0,
        connections,
    )


def _throttle(facts: Mapping[str, Any], migration: MigrationResult) -> dict[str, Any]:
    percent = migration.series.columns["throttle_percent"]
    return {
        "auto_converge": None if facts.get("auto_converge") is None else bool(facts["auto_converge"]),
        "throttle_percent": float(percent.max()) if len(percent) else 0.0,
        "throttled": throttled_of(migration.series.columns),
        "max_cpu_throttle": float(facts.get("max_cpu_throttle") or 99.0),
        "cpu_bound_share": _number(facts.get("cpu_bound_share")),
        "paces": tuple((float(share), float(catch_up)) for share, catch_up in facts.get("paces") or ()),
    }


def _page_tables(kvm: KvmCosts) -> PageTables | None:
    told, spent = kvm.page_tables, kvm.logged
    if told is None or not spent["stall_ns"]:
        return None
    share = spent["stall_share"] * _table_ns(told) / spent["stall_ns"]
    return PageTables(share, told["cr3_loads"], told["unsync_tables"], told.get("invlpgs", 0), told.get("forks", 0))


def _table_ns(told: Mapping[str, int]) -> int:
    """Time in exits for page tables [ns]; told: ``kvm[].page_tables``."""
    return told["cr3_ns"] + told.get("table_exits_ns", 0)


def _logging(kvm: KvmCosts, rounds: Columns) -> LoggingCost:
    spent, tables = kvm.logged, kvm.page_tables or {"cr3_ns": 0}
    stall_ns = max(0, spent["stall_ns"] - spent["page_wait_ns"] - _table_ns(tables))
    own = stall_ns / spent["stall_ns"] if spent["stall_ns"] else 0.0
    return LoggingCost(
        seconds=float(rounds.columns["end_ns"][-1] - rounds.columns["start_ns"][0]) / 1e9,
        stall_s=stall_ns / 1e9,
        stall_share=spent["stall_share"] * own,
        lock_wait_s=spent["lock_wait_ns"] / 1e9,
        harvest_s=(spent["sync_ns"] + spent["clear_ns"]) / 1e9,
        exits={name: spent[name] for name in KINDS},
    )


def _speed(migration: MigrationResult) -> float:
    """Share of the guest's work that exits leave it, where it cannot catch up."""
    # Model limit: exits take more of short rounds than of long ones; the curve of a forecast is slowed down by the mean.
    lost = 0.0 if migration.kvm is None else float(migration.kvm.logged["stall_share"])
    return max(1 - lost * float(migration.facts.get("cpu_bound_share") or 0.0), SPEED_LEAST)


def _curve(facts: Mapping[str, Any], speed: float) -> DirtyCurve | None:
    """Pages that the guest dirties in an interval, if it does only the share ``speed`` of its work."""
    t_s = np.asarray(facts.get("dirty_curve_s") or [], np.float64) / speed
    pages = np.asarray(facts.get("dirty_curve_pages") or [], np.float64)
    positive = t_s > 0
    t_s, pages = t_s[positive], np.maximum.accumulate(pages[positive]) if positive.any() else pages[positive]
    if not len(t_s):
        return None
    return DirtyCurve(np.concatenate([[0.0], t_s]), np.concatenate([[0.0], pages]))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
