"""Phases of a benchmark: each vCPU does a given amount of work and exits."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from hostsim.guest.pacing import work_at
from hostsim.kvm.live_vm import LiveVm

Step = Generator[simpy.Event, Any, None]


class WorkPhases:
    """Phases of ``vm``, which has closed-loop work only and whose vCPUs start in the guest."""

    def __init__(self, vm: LiveVm) -> None:
        self._vm = vm
        self._clocks = [int(np.flatnonzero(vm.guest.clock_vcpu == v)[0]) for v in range(len(vm.vcpus))]
        self._in_guest = True

    def run_to(self, work_ns: int) -> Step:
        """Release all vCPUs; return when each has done ``work_ns`` of work since the start and is in user space."""
        if not self._in_guest:
            self._vm.release_all()
        walks = [self._vm.env.process(self._walk(v, work_ns)) for v in range(len(self._vm.vcpus))]
        yield self._vm.env.all_of(walks)
        self._in_guest = False

    def _walk(self, vcpu: int, work_ns: int) -> Step:
        """Hold ``vcpu`` once it has done ``work_ns``. Work is never ahead of time, so no wait overshoots."""
        env, clocks = self._vm.env, self._vm.guest.clocks
        while (left_ns := work_ns - int(work_at(clocks[self._clocks[vcpu]], env.now_ns))) > 0:
            yield env.timeout(left_ns)
        yield self._vm.vcpus[vcpu].hold()
