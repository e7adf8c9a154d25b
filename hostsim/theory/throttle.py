"""Auto-converge by arithmetic: the throttle a guest needs, the steps and syncs until it is reached."""

from __future__ import annotations

import math
from fractions import Fraction

TIMESLICE_NS = 10_000_000
"""A throttled vCPU runs this long between two sleeps (QEMU, CPU_THROTTLE_TIMESLICE_NS)."""
HIGH_SYNCS_PER_STEP = 2
"""Syncs that must find a high dirty rate for one step (QEMU, migration/ram.c::migration_trigger_throttle)."""


def throttle_needed(dirty_rate_pages_per_s: float, sent_rate_pages_per_s: float) -> float:
    """Share of CPU time (0..1) to take from a CPU-bound guest that meets no page twice: max(0, 1 - B/r).

    dirty_rate_pages_per_s: r, unthrottled. sent_rate_pages_per_s: B.
    """
    if dirty_rate_pages_per_s <= sent_rate_pages_per_s:
        return 0.0
    return 1.0 - sent_rate_pages_per_s / dirty_rate_pages_per_s


def increments_needed(needed: float, initial_percent: int = 20, increment_percent: int = 10) -> int:
    """Increments after the initial step until a throttle of ``needed`` (0..1) is reached: ceil((p - p0) / increment).

    initial_percent: p0, cpu-throttle-initial. increment_percent: cpu-throttle-increment.
    """
    return max(0, math.ceil((100.0 * needed - initial_percent) / increment_percent - 1e-9))


def steps_needed(
    needed: float, initial_percent: int = 20, increment_percent: int = 10, max_percent: int = 99
) -> int | None:
    """Steps, the initial one included, until a throttle of ``needed`` (0..1) is reached; None if it is beyond the maximum.

    initial_percent, increment_percent: as in ``increments_needed``. max_percent: max-cpu-throttle.
    """
    if needed <= 0:
        return 0
    if 100.0 * needed > max(max_percent, initial_percent) + 1e-7:
        return None
    return 1 + increments_needed(needed, initial_percent, increment_percent)


def high_syncs_needed(steps: int) -> int:
    """Syncs with a high dirty rate until ``steps`` throttle steps are taken."""
    return HIGH_SYNCS_PER_STEP * steps


def sleep_ns(percent: int) -> Fraction:
    """Sleep [ns] after each timeslice under a throttle of ``percent`` (0..99): 10 ms x p / (1 - p)."""
    return Fraction(TIMESLICE_NS * percent, 100 - percent)


def run_fraction(percent: int) -> Fraction:
    """Share of time a throttled vCPU runs: timeslice / (timeslice + sleep), which is 1 - p exactly."""
    return TIMESLICE_NS / (TIMESLICE_NS + sleep_ns(percent))
