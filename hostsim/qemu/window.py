"""The 100 ms window: bandwidth, threshold, expected downtime (migration.c::migration_update_counters)."""

from __future__ import annotations

from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.ram import RamState
from hostsim.qemu.state import MigrationState

BUFFER_DELAY_MS = 100
"""migration.c BUFFER_DELAY."""


def total_bytes(m: MigrationState, ram: RamState) -> int:
    """Bytes on all channels, headers included: those of ``ram`` and those that the migration ``m`` counts beside it."""
    return ram.sent_bytes + ram.other_bytes + m.other_bytes


def switchover_bytes_per_ms(measured_bytes_per_ms: float, p: MigrationParameters) -> float:
    """Bandwidth behind threshold and expected downtime [bytes/ms]: ``measured_bytes_per_ms``, or the parameter in ``p``.

    QEMU rounds avail_switchover_bandwidth down to whole bytes/ms.
    """
    told = p.avail_switchover_bandwidth
    return float(told // 1000) if told else measured_bytes_per_ms


def open_window(m: MigrationState, ram: RamState, now_ms: int) -> None:
    """Start a window at ``now_ms``, with the counters of ``ram`` kept in ``m`` (update_iteration_initial_status)."""
    m.window_start_ms = now_ms
    m.window_initial_bytes = total_bytes(m, ram)
    m.window_initial_pages = ram.transferred_pages
    ram.reset_window()


def update_counters(m: MigrationState, ram: RamState, p: MigrationParameters, now_ms: int) -> bool:
    """Close the window if its 100 ms are over: one window's bandwidth, no smoothing. True if it was closed.

    m: counters, changed in place.
    ram: bytes sent so far.
    now_ms: QEMU's clock, whole milliseconds.
    """
    if now_ms < m.window_start_ms + BUFFER_DELAY_MS:
        return False
    transferred = total_bytes(m, ram) - m.window_initial_bytes
    spent_ms = now_ms - m.window_start_ms
    m.bandwidth_bytes_per_ms = transferred / spent_ms
    switchover = switchover_bytes_per_ms(m.bandwidth_bytes_per_ms, p)
    m.threshold_bytes = int(switchover * p.downtime_limit_ms)
    m.mbps = transferred * 8 / (spent_ms / 1000) / 1e6
    m.pages_per_second = (ram.transferred_pages - m.window_initial_pages) / (spent_ms / 1000)
    if m.dirty_pages_rate and transferred > 10000 and switchover > 0:
        m.expected_downtime_ms = int(m.remaining_at_sync_bytes / switchover)
    open_window(m, ram, now_ms)
    return True
