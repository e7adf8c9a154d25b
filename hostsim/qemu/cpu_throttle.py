"""cpu-throttle: every vCPU runs 10 ms, then sleeps 10 ms p/(1-p) (7.2 softmmu/cpu-throttle.c; 10.x migration/)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from hostsim.core.clock import Clock
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.vm import VmBase
from hostsim.qemu.lateness import Lateness

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
    """The throttle of one VM: one timer for all vCPUs. sleeps: that it has asked of them so far."""

    def __init__(self, env: Clock, vm: VmBase, sheet: HostSheet, seed: int) -> None:
        """Make an idle throttle.

        sheet: ``throttle_overshoot``: time that each sleep lasts beyond the requested one, drawn for each vCPU by itself;
        ``throttle_timer_late``: time from the expiry of the timer to its callback. The callback sets the timer again from
        the current time, so the lateness adds up (cpu_throttle_timer_tick).
        seed: of the run.
        """
        self.percent = self.sleeps = 0
        self._env, self._vm = env, vm
        mean_ns, spread_ns = sheet.throttle_overshoot_ns, sheet.throttle_overshoot_spread_ns
        self._wakes = [Lateness(seed, f"throttled vCPU {i}", mean_ns, spread_ns) for i in range(len(vm.vcpus))]
        self._late = Lateness(seed, "throttle timer", sheet.throttle_timer_late_ns, sheet.throttle_timer_late_spread_ns)
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
            for vcpu, wake in zip(self._vm.vcpus, self._wakes, strict=True):
                vcpu.throttle(sleep_ns(self.percent) + wake.next_ns())
            self.sleeps += len(self._wakes)
            yield self._env.timeout(period_ns(self.percent) + self._late.next_ns())
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
