"""MigrationState and its counters (migration/migration.h, migration/migration-stats.h)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class MigrationState:
    """State behind query-migrate; times on the host's clock, ms where QEMU keeps ms."""

    status: str = "none"
    start_ns: int = 0
    setup_time_ms: int = 0
    total_time_ms: int = 0
    downtime_ms: int = 0
    downtime_start_ns: int = 0
    vm_stopped_ns: int = 0
    arrived_ns: int = 0
    rest_sync_ns: int = 0
    rest_sent_ns: int = 0
    rest_bytes: int = 0
    devices_saved_ns: int = 0
    """Of the stopped VM: end of the last sync, last write of a page, bytes of those pages, end of the devices."""
    """The last byte of a pre-copy reaches the destination, where the guest then runs; 0: not sent, or lost."""
    handed_over_ns: int = 0
    """From then on a mechanism lets the guest run at the source though the switchover has stopped it; 0: none does."""
    end_ns: int = 0
    # window (migration_update_counters)
    window_start_ms: int = 0
    window_initial_bytes: int = 0
    window_initial_pages: int = 0
    bandwidth_bytes_per_ms: float = 0.0
    threshold_bytes: int = 0
    mbps: float = 0.0
    pages_per_second: float = 0.0
    expected_downtime_ms: int = 0
    # bytes beside the RAM stream: section headers and footers, device state
    other_bytes: int = 0
    precopy_bytes: int = 0
    # dirty bitmap (ram.c::RAMState)
    dirty_sync_count: int = 0
    remaining_at_sync_bytes: int = 0
    num_dirty_pages_period: int = 0
    time_last_bitmap_sync_ms: int = 0
    bytes_xfer_prev: int = 0
    dirty_pages_rate: int = 0
    dirty_rate_high_cnt: int = 0
    switching_over: bool = False
    # the guest runs, or is to run, at the destination before its memory is there; time without a connection, pages lost
    guest_moves: bool = False
    paused_ns: int = 0
    pages_lost: int = 0
    switchover_acked: bool = False
    source_failed: bool = False
    error_desc: str = ""
    last_answer: Counters | None = None


@dataclass(frozen=True)
class Counters:
    """One answer to query-migrate, in QEMU's units (bytes, pages, ms, megabits/s).

    ram: members of ``ram`` that mechanisms count, by QEMU's names.
    mechanisms: figures by the name of the mechanism (hostsim.qemu.mechanism::figures_of).
    """

    status: str
    total_time_ms: int
    setup_time_ms: int
    downtime_ms: int
    expected_downtime_ms: int
    cpu_throttle_percentage: int
    transferred: int
    remaining: int
    total: int
    duplicate: int
    normal: int
    dirty_pages_rate: int
    mbps: float
    dirty_sync_count: int
    pages_per_second: int
    precopy_bytes: int
    downtime_bytes: int
    ram: Mapping[str, int] = field(default_factory=dict)
    mechanisms: Mapping[str, Any] = field(default_factory=dict)
