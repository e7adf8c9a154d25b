"""A VM under KVM whose vCPUs make walks over their memory, with its log as user space drives it in between."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import simpy

from hostsim.core.clock import Clock
from hostsim.core.memory import GuestMemory, RamBlock
from hostsim.guest.workload import NS_PER_S, Active, Guest, Workload, build_guest
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.setup import BACKING_PAGES, KvmCosts, KvmSetup
from hostsim.kvm.tally import Tally, tally_of
from hostsim.spte_index.spte import REGION_PAGES, Sptes, make_sptes


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
    """``engine``: sptes and vCPUs; ``bitmap``: uint8[n_pages], what the last GET returned; ``logged``: writes are logged.

    To begin with all memory is mapped, in large sptes if it is huge, and the vCPUs are in user space.
    """

    def __init__(self, env: Clock, setup: KvmSetup, costs: KvmCosts) -> None:
        self.env, self.setup, self.costs = env, setup, costs
        block_regions = max(1, BACKING_PAGES[setup.backing] // REGION_PAGES)
        mechanism: Literal["pml", "write-protect"] = "pml" if setup.policy.pml else "write-protect"
        config = MmuConfig(mechanism, setup.huge, block_regions=block_regions)
        idle = build_guest((), 0)
        self.engine = GuestEngine(idle, _memory(setup.n_pages), setup.n_vcpus, config, costs.exits, running=False)
        self.bitmap = np.zeros(setup.n_pages, np.uint8)
        self.logged = False
        self.flushes, self.host_hold_ns = 0, 0

    @property
    def sptes(self) -> Sptes:
        """To be looked at."""
        return self.engine.kvm.sptes

    def unmap_all(self) -> None:
        """Nothing is mapped, as before a guest touches its memory."""
        self.engine.set_sptes(make_sptes(self.setup.n_pages), self.env.now_ns)

    def tally(self) -> Tally:
        """All counters now."""
        return tally_of(self.env.now_ns, self.engine, self.host_hold_ns, self.flushes)

    def run(self, walk: Walk, populate: bool = False) -> Generator[simpy.Event, Any, None]:
        """All vCPUs make ``walk``; returns when the slowest is back in user space. Takes mmu_lock as its faults do.

        populate: the host has to allocate what is touched.
        """
        # Model limit: the first entry of a walk takes no time.
        self.engine.set_costs(self.costs.exits, self.costs.populate_ns if populate else 0)
        self.engine.begin_work(self._work_of(walk))
        self.engine.run_to(self._length_ns(walk), self.env.now_ns)
        n_out = 0
        while n_out < self.setup.n_vcpus:
            due = self.engine.advance(self.env.upcoming_ns())
            if due is not None:
                n_out, back_ns = n_out + 1, due.ns
            else:
                yield self.env.timeout(self.engine.next_ns - self.env.now_ns)
        yield self.env.timeout(max(0, back_ns - self.env.now_ns))

    def _work_of(self, walk: Walk) -> Guest:
        """The loop before an access comes first, then the access."""
        first_ns, more_ns = self._loop_ns(walk, 1), self._loop_ns(walk, walk.step)
        n_pages = self.setup.vcpu_pages
        once = Active(first_ns, more_ns * walk.accesses(n_pages))
        rate = Fraction(NS_PER_S, more_ns)
        return build_guest(
            [
                Workload(
                    "walk", "strided", (v,), self.setup.first_page(v), n_pages, rate, stride_pages=walk.step, active=once
                )
                for v in range(self.setup.n_vcpus)
            ],
            seed=0,
        )

    def _loop_ns(self, walk: Walk, pages: int) -> int:
        """The vCPU's own work on ``pages`` of its walk, the one with the access included; at least 1."""
        if walk.step == 1:
            reads = (walk.write_every - 1) * self.costs.read_loop_ns
            return max(1, round((self.costs.loop_ns + reads) / walk.write_every))
        return max(1, round(self.costs.loop_ns + (pages - 1) * self.costs.read_loop_ns))

    def _length_ns(self, walk: Walk) -> int:
        """Work of a vCPU from its entry to its exit to user space."""
        n_pages = self.setup.vcpu_pages
        last_ns = (walk.accesses(n_pages) - 1) * self._loop_ns(walk, walk.step)
        rest_ns = round((n_pages - 1) % walk.step * self.costs.read_loop_ns)
        return self._loop_ns(walk, 1) + last_ns + rest_ns


def _memory(n_pages: int) -> GuestMemory:
    """What pages hold is of no matter here: none of them is zero."""
    block = RamBlock("pc.ram", 0, n_pages, ((0, n_pages),))
    return GuestMemory((block,), np.zeros(n_pages, np.uint8), np.zeros(n_pages, np.uint32))
