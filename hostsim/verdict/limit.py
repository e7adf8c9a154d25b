"""The downtime limit, as far as a log gives it away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.logs.model import MigrationLog

PASS_S = 0.11
"""Between answers this far apart QEMU's loop has tested at least once (a window of 100 ms and some delay)."""
SLACK = 1.05
"""Bandwidth, and with it the threshold, wavers by this much from window to window (assumed)."""


def revealed_limit_ms(log: MigrationLog) -> float | None:
    """The downtime limit, from answers before the first estimate.

    QEMU sets expected-downtime to downtime-limit at the start (migration/migration.c::migrate_fd_connect, 10.x
    migration_start_outgoing) and replaces it only once a dirty rate is known.
    """
    before = (log.dirty_pages_rate_per_s == 0) & (log.dirty_sync_count <= 1) & (log.expected_downtime_ms > 0)
    told = np.unique(log.expected_downtime_ms[before])
    return float(told[0]) if len(told) == 1 else None


def limit_bounds_ms(log: MigrationLog, at: NDArray[np.int64], bandwidth_bytes_per_s: float) -> tuple[float, float] | None:
    """(least, greatest) downtime limit [ms] by the instants at which QEMU synced and did not; None without a sync after the
    first pass, or if the two exclude each other: then QEMU did not send whole pages at this bandwidth.

    A sync needs remaining below bandwidth x limit, so remaining at a sync is a lower bound; a pass of the loop without
    a sync had at least that much remaining. ``at``: the answers with figures, while the guest runs.
    """
    remaining, sent = log.remaining_bytes[at], log.transferred_bytes[at]
    synced = (np.diff(log.dirty_sync_count[at]) > 0) & (log.dirty_sync_count[at][:-1] >= 2)
    tested = (np.diff(log.dirty_sync_count[at]) == 0) & (np.diff(log.t_s[at]) >= PASS_S)
    if not synced.any() or not tested.any() or not bandwidth_bytes_per_s:
        return None
    lowest = float(np.max(remaining[:-1][synced] - np.diff(sent)[synced]))
    highest = float(np.min(remaining[:-1][tested]))
    ms = 1000.0 / bandwidth_bytes_per_s
    low, high = max(0.0, lowest * ms / SLACK), highest * ms * SLACK
    return (low, high) if low <= high else None
