"""A VM under KVM: its sptes, its vCPUs and mmu_lock on SimPy's clock."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from hostsim.host.clock import Clock
from hostsim.host.kvm.setup import KvmCosts, KvmSetup
from hostsim.host.kvm.tally import Tally, new_counts, tally_of
from hostsim.kernels.exits import FINISHED, PML_ENTRIES, TOUCH, Lock, Slot, Vcpus, run_vcpus
from hostsim.mmu.spte import make_sptes


@dataclass(frozen=True)
class Walk:
    """Each vCPU goes over its pages once, writes every ``write_every``-th and reads the others.

    step: every so many pages there is an access that may need KVM; the others take the loop's time alone.
    """

    step: int = 1
    write_every: int = 1

    def accesses(self, pages: int) -> int:
        """Accesses of one vCPU that walks ``pages``."""
        return -(-pages // self.step)


class KvmVm:
    """``sptes``: the slot; ``bitmap``: uint8[n_pages], what the last GET returned; ``logged``: whether writes are logged."""

    def __init__(self, env: Clock, setup: KvmSetup, costs: KvmCosts) -> None:
        self.env, self.setup, self.costs = env, setup, costs
        self.sptes = make_sptes(setup.n_pages)
        self.bitmap = np.zeros(setup.n_pages, np.uint8)
        self.logged = False
        self.flushes, self.host_hold_ns = 0, 0
        self._vcpus = Vcpus(*np.zeros((len(Vcpus._fields), setup.n_vcpus), np.int64))
        self._lock = Lock(np.zeros(setup.n_vcpus, np.int64), np.zeros(4, np.int64))
        self._heap = np.zeros(setup.n_vcpus, np.int64)
        self._counts = new_counts()

    def tally(self) -> Tally:
        """All counters now."""
        return tally_of(self.env.now_ns, self._counts, self.host_hold_ns, self.flushes)

    def run(self, walk: Walk, populate: bool = False) -> Generator[simpy.Event, Any, None]:
        """All vCPUs make ``walk``; returns when the slowest is back in user space. Takes mmu_lock as its faults do.

        populate: the host has to allocate what is touched.
        """
        exits = self.costs.populate if populate else self.costs.exits
        self._start(walk)
        slot = Slot(self.logged, self.setup.policy.pml, self.setup.huge)
        while True:
            next_ns = run_vcpus(
                self.sptes, self._vcpus, self._lock, self._heap, slot, exits, self._counts,
                self.env.upcoming_ns(),
            )  # fmt: skip
            if next_ns < 0:
                break
            yield self.env.timeout(next_ns - self.env.now_ns)
        yield self.env.timeout(max(0, self._back_ns(walk) - self.env.now_ns))

    def _start(self, walk: Walk) -> None:
        vcpus, pages = self._vcpus, self.setup.vcpu_pages
        vcpus.ns[:], vcpus.stage[:] = self.env.now_ns + self._loop_ns(walk, 1), TOUCH
        vcpus.page[:] = [self.setup.first_page(v) for v in range(self.setup.n_vcpus)]
        vcpus.end[:], vcpus.step[:] = vcpus.page + pages, walk.step
        vcpus.is_write[:], vcpus.loop_ns[:] = 1, self._loop_ns(walk, walk.step)
        vcpus.completed[:] = 0

    def _loop_ns(self, walk: Walk, pages: int) -> int:
        """The vCPU's own work on ``pages`` of its walk, the one with the access included."""
        if walk.step == 1:
            reads = (walk.write_every - 1) * self.costs.read_loop_ns
            return round((self.costs.loop_ns + reads) / walk.write_every)
        return round(self.costs.loop_ns + (pages - 1) * self.costs.read_loop_ns)

    def _back_ns(self, walk: Walk) -> int:
        """When the slowest has looped to its end and left for user space; every exit drains the PML buffer."""
        vcpus, exits = self._vcpus, self.costs.exits
        assert (vcpus.stage == FINISHED).all()
        rest = (self.setup.vcpu_pages - 1) % walk.step * self.costs.read_loop_ns
        back = vcpus.ns + round(rest) + exits.exit_ns + exits.pml_drain_ns * vcpus.pml // PML_ENTRIES
        vcpus.pml[:] = 0
        return int(back.max())
