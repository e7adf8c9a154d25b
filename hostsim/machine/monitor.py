"""The monitor of a host: checks invariants of its memory and samples its VMs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from hostsim.core.clock import Clock
from hostsim.core.errors import InvariantError
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import RESIDENT
from hostsim.kvm.vcpu_times import check_vcpu_times
from hostsim.memory.host_memory import HostMemory
from hostsim.qemu.recorder import SERIES_PERIOD_NS


@dataclass(frozen=True)
class VmSample:
    """One VM at one moment; work_ns: of all its work clocks; swapped_in, swapped_out: pages so far."""

    work_ns: int
    resident_pages: int
    swapped_in: int
    swapped_out: int


@dataclass(frozen=True)
class HostSample:
    """free_frames: None where memory does not run short; vms: in the order of the host."""

    t_ns: int
    free_frames: int | None
    swap_used_pages: int
    vms: tuple[VmSample, ...]


class Monitor:
    """Samples of a host, each 100 ms and where ``cut`` is called; the monitor changes no state and draws no numbers."""

    def __init__(self, env: Clock, vms: Sequence[LiveVm], memory: HostMemory | None) -> None:
        self.samples: list[HostSample] = []
        self._env, self._vms, self._memory = env, vms, memory
        env.process(self._run())

    def look(self) -> None:
        """Check all invariants and take a sample, if none was taken at this moment. InvariantError."""
        self._check()
        self.cut()

    def cut(self) -> None:
        """Take a sample, if none was taken at this moment: from now on a guest runs at another rate."""
        if not self.samples or self.samples[-1].t_ns < self._env.now_ns:
            self.samples.append(self._sample())

    def _run(self) -> Generator[simpy.Event, Any, None]:
        while True:
            self.look()
            yield self._env.timeout(SERIES_PERIOD_NS)

    def _check(self) -> None:
        if self._memory is not None:
            self._memory.check()
        for number, vm in enumerate(self._vms):
            gfn = vm.engine.pages.first_orphan()
            if gfn >= 0:
                raise InvariantError(f"VM {number}, gfn {gfn}: mapped, and the host does not have it")
            vm.engine.mmu.check_counts()
            check_vcpu_times(vm)

    def _sample(self) -> HostSample:
        memory = self._memory
        free = None if memory is None else memory.frames.free
        used = 0 if memory is None else memory.area.used
        return HostSample(self._env.now_ns, free, used, tuple(self._of(i) for i in range(len(self._vms))))

    def _of(self, number: int) -> VmSample:
        vm, memory = self._vms[number], self._memory
        counts = {} if memory is None else memory.vms[number].counts
        resident = int(np.count_nonzero(vm.engine.pages.backing == RESIDENT))
        return VmSample(vm.work_ns(), resident, counts.get("swapped_in", 0), counts.get("swapped_out", 0))
