"""Remaining by a dirty curve and a bandwidth, stretch of memory by stretch, as QEMU's cursor goes over them in turn.

A sync finds, of a stretch that the cursor has passed since, the share that the guest has dirtied since the sync before that:
a page that is dirtied and then sent is found again, for its record is still in the log. A stretch that waits for the cursor
keeps its pages, with the popularity that they have: hot pages are dirty soon after a sync, and count once until the cursor
is there. (migration/ram.c::find_dirty_block, ::migration_bitmap_sync; migration/migration.c::migration_iteration_run)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hostsim.theory.dirty_curve import DirtyCurve

STRETCHES = 512
"""Equal parts of the pages that the guest writes; 2048 change the times of the tests by at most a window (0.1 s)."""
ROUNDS_MAX = 5000
SETTLED = 1e-3
"""Remaining that falls by less than this share while the cursor goes round once has settled."""
HALVINGS = 60
LONGEST_S = 1e9
"""Greatest age of a page [s]; a page of that age is as good as never sent."""


def time_by_stretches_s(
    curve: DirtyCurve, sent_pages_per_s: float, threshold_pages: float, remaining_pages: float, least_round_s: float
) -> float | None:
    """Seconds from a sync that found ``remaining_pages`` to one below ``threshold_pages``; None: remaining settles above it.

    curve: distinct pages that the guest dirties within a time. sent_pages_per_s: above 0.
    least_round_s: length of a round, unless all is sent before.

    # Model limit: a log that is cleared chunk by chunk before it is sent (KVM_CLEAR_DIRTY_LOG) leaves pages clean
    # from that CLEAR on, and not from the sync before it. Such a migration ends sooner.
    """
    now_s, cursor, turn, before = 0.0, 0, 0, math.inf
    clean_at_s = -_ages_s(curve, remaining_pages)
    for _ in range(ROUNDS_MAX):
        dirty = curve.at(now_s - clean_at_s) / STRETCHES
        found = float(dirty.sum())
        if found < threshold_pages:
            return now_s
        if cursor // STRETCHES > turn:
            if found > (1 - SETTLED) * before:
                break
            turn, before = cursor // STRETCHES, found
        whole_s = found / sent_pages_per_s
        round_s = max(min(least_round_s, whole_s), whole_s - threshold_pages / sent_pages_per_s)
        passed = _passed(dirty, cursor, round_s * sent_pages_per_s)
        clean_at_s[passed] = now_s
        cursor += len(passed)
        now_s += round_s
    return None


def _ages_s(curve: DirtyCurve, remaining: float) -> NDArray[np.float64]:
    """Time for which each stretch has been clean, the oldest at the cursor, so that a sync finds ``remaining`` pages."""
    parts = 1 - np.arange(STRETCHES) / STRETCHES
    low, high = 0.0, 1.0
    while curve.at(parts * high).mean() < remaining and high < LONGEST_S:
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if curve.at(parts * middle).mean() >= remaining else (middle, high)
    return parts * high


def _passed(dirty: NDArray[np.float64], cursor: int, pages: float) -> NDArray[np.int64]:
    """Stretches that sending ``pages`` takes from ``cursor`` on, one at least; the last counts if half of it is sent."""
    order = (cursor + np.arange(STRETCHES)) % STRETCHES
    halves = np.cumsum(dirty[order]) - dirty[order] / 2
    return np.asarray(order[: max(1, int(np.searchsorted(halves, pages)))])
