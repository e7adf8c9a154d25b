"""A guest under KVM, plain and slow: one event a touch, sets and dictionaries."""

from __future__ import annotations

from collections import Counter, defaultdict

import simpy

from hostsim.core.latency import Latencies
from tests.twins.clock import clock_of
from tests.twins.kvm_case import Case
from tests.twins.kvm_lock import TwinLock
from tests.twins.kvm_memory import TwinMemory
from tests.twins.kvm_vcpu import TwinVcpu


class TwinGuest:
    """Memory, mmu_lock and vCPUs of a case on one clock, and their counters."""

    def __init__(self, case: Case) -> None:
        self.case, self.env = case, simpy.Environment()
        self.memory, self.lock = TwinMemory(case), TwinLock(self.env, case.costs)
        self.exits: Counter[str] = Counter()
        self.wait_ns = self.hold_ns = self.populating = 0
        self.latencies: defaultdict[str, Latencies] = defaultdict(Latencies)
        self.log: list[tuple[int, int, int, str]] = []
        self.clocks = {(w, v): clock_of(load) for w, load in enumerate(case.workloads) for v in load.vcpus}
        self.vcpus = [self._vcpu(v) for v in range(case.n_vcpus)]

    def _vcpu(self, v: int) -> TwinVcpu:
        loads = [
            (load, load.vcpus.index(v), self.clocks[w, v]) for w, load in enumerate(self.case.workloads) if v in load.vcpus
        ]
        return TwinVcpu(self, v, loads)

    def work_ns(self) -> dict[tuple[int, int], int]:
        """Of each clock, before the host events of now."""
        return {who: clock.work_before(self.env.now) for who, clock in self.clocks.items()}
