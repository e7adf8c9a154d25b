"""cpu-throttle: run 10 ms, sleep 10 ms p/(1-p), one timer for all vCPUs."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from typing import Any

import simpy

from hostsim.core.rng import keyed_exponential, stream_key
from hostsim.costs.host_sheet import HostSheet
from hostsim.qemu.parameters import MigrationParameters
from tests.twins.guest import TwinVcpu

SLICE_NS = 10_000_000


def latenesses(seed: int, name: str, mean_ns: int, spread_ns: int) -> Iterator[int]:
    """Mean and standard deviation: a least lateness and an exponential tail, each draw keyed by its number."""
    keys = stream_key(seed, f"host/{name}")
    for number in itertools.count(1):
        tail = keyed_exponential(*keys, number, 0) if spread_ns else 0
        yield mean_ns - spread_ns + round(spread_ns * tail)


class TwinThrottle:
    def __init__(self, env: simpy.Environment, vcpus: list[TwinVcpu], sheet: HostSheet, seed: int = 1) -> None:
        self.env, self.vcpus = env, vcpus
        mean_ns, spread_ns = sheet.throttle_overshoot_ns, sheet.throttle_overshoot_spread_ns
        self.wakes = [latenesses(seed, f"throttled vCPU {i}", mean_ns, spread_ns) for i in range(len(vcpus))]
        mean_ns, spread_ns = sheet.throttle_timer_late_ns, sheet.throttle_timer_late_spread_ns
        self.lates = latenesses(seed, "throttle timer", mean_ns, spread_ns)
        self.percent = self.high_periods = 0
        self.ticking = self.vm_stopped = False

    def evaluate(self, p: MigrationParameters, dirty_bytes: int, sent_bytes: int) -> bool:
        """A period is over; True if the throttle went up (every second period that dirtied too much)."""
        allowed = sent_bytes * p.throttle_trigger_threshold // 100
        if dirty_bytes <= allowed:
            return False
        self.high_periods += 1
        if self.high_periods < 2:
            return False
        self.high_periods = 0
        self.set(self._higher(p, dirty_bytes, allowed))
        return True

    def set(self, percent: int) -> None:
        self.percent = percent
        if not self.ticking:
            self.env.process(self._timer())

    def _higher(self, p: MigrationParameters, dirty_bytes: int, allowed: int) -> int:
        if self.percent == 0:
            return p.cpu_throttle_initial
        step = p.cpu_throttle_increment
        if p.cpu_throttle_tailslow:
            running = 100 - self.percent
            step = min(step, running - running * allowed // dirty_bytes)
        return min(p.max_cpu_throttle, self.percent + step)

    def _timer(self) -> Generator[simpy.Event, Any, None]:
        self.ticking = True
        while self.percent and not self.vm_stopped:
            for vcpu, wakes in zip(self.vcpus, self.wakes, strict=True):
                vcpu.throttle(SLICE_NS * self.percent // (100 - self.percent) + next(wakes))
            yield self.env.timeout(SLICE_NS * 100 // (100 - self.percent) + next(self.lates))
        self.ticking = False
