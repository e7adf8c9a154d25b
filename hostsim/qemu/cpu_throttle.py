"""cpu-throttle: every vCPU runs 10 ms, then sleeps 10 ms p/(1-p) (7.2 softmmu/cpu-throttle.c; 10.x migration/)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from hostsim.core.clock import Clock
from hostsim.guest.vm import VmBase

Step = Generator[simpy.Event, Any, None]
TIMESLICE_NS = 10_000_000
"""CPU_THROTTLE_TIMESLICE_NS."""


def period_ns(percent: int) -> int:
    """Time between two ticks of the throttle timer: 10 ms / (1-p)."""
    return TIMESLICE_NS * 100 // (100 - percent)


def sleep_ns(percent: int) -> int:
    """Sleep of each vCPU at each tick [ns]: 10 ms p/(1-p)."""
    return TIMESLICE_NS * percent // (100 - percent)


class CpuThrottle:
    """The throttle of one VM: one timer for all vCPUs."""

    def __init__(self, env: Clock, vm: VmBase, overshoot_ns: int, timer_late_ns: int) -> None:
        """Make an idle throttle.

        overshoot_ns: time that each sleep lasts beyond the requested one.
        timer_late_ns: time from the expiry of the timer to its callback. The callback sets the timer again from the current
        time, so the lateness adds up (cpu_throttle_timer_tick).
        """
        self.percent = 0
        self._env, self._vm, self._overshoot_ns, self._timer_late_ns = env, vm, overshoot_ns, timer_late_ns
        self._ticking = False

    def set(self, percent: int) -> None:
        """Set the percentage (1..99); an idle timer ticks at once (cpu_throttle_set)."""
        self.percent = percent
        if not self._ticking:
            self._env.process(self._timer())

    def stop(self) -> None:
        """No more ticks; a sleep under way ends by itself (cpu_throttle_stop)."""
        self.percent = 0

    def _timer(self) -> Step:
        self._ticking = True
        # The timer is on QEMU_CLOCK_VIRTUAL_RT, which stands still while the VM is stopped.
        while self.percent and self._vm.running:
            for vcpu in self._vm.vcpus:
                vcpu.throttle(sleep_ns(self.percent) + self._overshoot_ns)
            yield self._env.timeout(period_ns(self.percent) + self._timer_late_ns)
        self._ticking = False


def dirty_sync_timer(
    env: Clock, count: Callable[[], int], sync: Callable[[], Step], active: Callable[[], bool]
) -> Step:
    """Sync the bitmap when no sync has happened for 5 s (QEMU 10.x, cpu_throttle_dirty_sync_timer_tick).

    The first pass gets no sync: it copies all memory anyhow. A sync by the timer counts as a sync, and the timer is set
    again when that sync is over.
    count: returns the number of syncs so far.
    sync: does a sync; it takes host time.
    active: returns whether the migration still runs; the timer ends with it.
    """
    previous = 0
    while True:
        yield env.timeout(DIRTY_SYNC_TIMESLICE_NS)
        if not active():
            return
        if previous == count() > 1:
            yield from sync()
        previous = count()


DIRTY_SYNC_TIMESLICE_NS = 5_000_000_000
"""CPU_THROTTLE_DIRTY_SYNC_TIMESLICE_MS."""
