"""Auto-converge: steps of the throttle and their size (ram.c::migration_trigger_throttle, ::mig_throttle_guest_down)."""

from __future__ import annotations

from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.state import MigrationState

HIGH_PERIODS_A_STEP = 2


def dirty_rate_is_high(m: MigrationState, p: MigrationParameters, dirty_bytes: int, xfer_bytes: int) -> bool:
    """Count a period whose dirty bytes exceed the threshold share of the sent bytes; return True at every second one.

    dirty_bytes: newly dirty in the period; xfer_bytes: sent in the period.
    A period below the threshold does not reset the count (ram.c::migration_trigger_throttle).
    """
    if dirty_bytes <= xfer_bytes * p.throttle_trigger_threshold // 100:
        return False
    m.dirty_rate_high_cnt += 1
    if m.dirty_rate_high_cnt < HIGH_PERIODS_A_STEP:
        return False
    m.dirty_rate_high_cnt = 0
    return True


def next_percent(percent: int, p: MigrationParameters, dirty_bytes: int, xfer_bytes: int) -> int:
    """Throttle of the next step [percent].

    percent: throttle now, 0 before the first step; the result is at least that.
    dirty_bytes: newly dirty in the period; xfer_bytes: sent in the period.
    """
    if percent == 0:
        return p.cpu_throttle_initial
    increment = p.cpu_throttle_increment
    if p.cpu_throttle_tailslow:
        # The CPU share at which the dirty bytes of a period would fall to the threshold (mig_throttle_guest_down).
        now = 100 - percent
        ideal = now * (xfer_bytes * p.throttle_trigger_threshold // 100) // dirty_bytes
        increment = min(now - ideal, increment)
    return min(percent + increment, p.max_cpu_throttle)
