"""A VM under KVM whose vCPUs walk their memory, phase by phase, while one thread works on its dirty log.

The selftests and rows of published tables use it; its log, mmu_lock and flushes are the code that a migrating VM runs.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import simpy

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S
from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.costs import load_costs
from hostsim.guest.workload import Active, Guest, Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tally import Tally
from hostsim.machine.trackers import TRACKERS
from hostsim.spte_index.spte import PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes

Timed = Generator[simpy.Event, Any, int]


@dataclass(frozen=True)
class Walk:
    """Each vCPU goes over its pages once, writes every ``write_every``-th and reads the others.

    step: distance [pages] of accesses that may need KVM; the accesses between take only the loop's time.
    """

    step: int = 1
    write_every: int = 1

    def accesses(self, pages: int) -> int:
        """Accesses of one vCPU that walks ``pages``."""
        return -(-pages // self.step)


@dataclass(frozen=True)
class WalkedSpec:
    """mmu, interface: as of a scenario's VM; n_vcpus; vcpu_pages: 4 KiB pages that each vCPU walks.

    overlap: all vCPUs walk the first ``vcpu_pages``, else each its own part; populated: the vCPUs have written all pages
    before, else nothing is mapped and the host has allocated nothing.
    """

    mmu: MmuSpec
    interface: Interface
    n_vcpus: int
    vcpu_pages: int
    overlap: bool = False
    populated: bool = False

    @property
    def n_pages(self) -> int:
        """4 KiB pages of all slots together."""
        return self.n_vcpus * self.vcpu_pages

    @property
    def walked_pages(self) -> int:
        """Pages that some vCPU walks, from page 0 on."""
        return self.vcpu_pages if self.overlap else self.n_pages

    def first_page(self, vcpu: int) -> int:
        """Page where ``vcpu`` begins."""
        return 0 if self.overlap else vcpu * self.vcpu_pages

    def slots(self) -> list[tuple[int, int]]:
        """[first, end) pages of each memslot."""
        n = self.mmu.n_slots
        return [(self.n_pages * i // n, self.n_pages * (i + 1) // n) for i in range(n)]


class WalkedVm:
    """vm: the VM, its vCPUs in user space between two walks; tracker: its log; bitmap: uint8[n_pages] of the last GET."""

    def __init__(self, spec: WalkedSpec) -> None:
        self.spec, self.env = spec, Clock()
        filled = [(0, spec.n_pages)] if spec.populated else []
        memory = make_memory(lay_out([("pc.ram", spec.n_pages, filled)]))
        idle = build_guest((), 0)
        self.vm = live_vm(self.env, memory, idle, spec.n_vcpus, 0, spec.mmu, spec.interface, running=False)
        self.tracker: Any = TRACKERS[spec.interface](self.vm, Knobs(), 0)
        """A tracker of KVM (hostsim.kvm.trackers.kvm_log.KvmLog)."""
        self.bitmap = np.zeros(spec.n_pages, np.uint8)
        self.logged = False
        self._costs = load_costs(spec.mmu.costs)

    @property
    def sptes(self) -> Sptes:
        """Sptes of the VM, to be looked at."""
        return self.vm.engine.kvm.sptes

    @property
    def reset_entries(self) -> int:
        """Entries that the last reset of the dirty rings found."""
        return int(self.tracker.reset_entries)

    def tally(self) -> Tally:
        """All counters now."""
        return self.vm.tally()

    # -- ioctls of user space

    def enable(self) -> Timed:
        """Start logging; returns sptes that lost W and regions that were split."""
        large, small = (0, 0) if self.vm.plan.all_set else self.vm.engine.log.count_start(splits=self.vm.plan.eager_split)
        yield from self.tracker.start_log()
        self.logged = True
        return large + small

    def get(self) -> Timed:
        """KVM_GET_DIRTY_LOG of all slots into ``bitmap``; without manual protect it protects too. Returns dirty pages."""
        self.bitmap[:] = 0
        harvest = yield from self.tracker.sync(self.bitmap)
        return int(harvest.newly_dirty_pages)

    def clear(self, chunk_pages: int = 0) -> Timed:
        """KVM_CLEAR_DIRTY_LOG of all that the last GET found; returns pages cleared.

        chunk_pages: pages of an ioctl, 0: a slot.
        """
        cleared = 0
        for first, end in self.spec.slots():
            for start in range(first, end, chunk_pages or end - first):
                cleared += yield from self.tracker.clear(start, min(end, start + (chunk_pages or end - first)))
        return cleared

    def disable(self) -> Timed:
        """Stop logging; returns regions that are mapped large again."""
        yield from self.tracker.stop_log()
        self.logged = False
        return int(self.tracker.recovered_regions)

    # -- walks of the vCPUs

    def run(self, walk: Walk) -> Timed:
        """Run ``walk`` on all vCPUs; returns the number of accesses when the slowest is back in user space."""
        self.vm.begin_work(self._work_of(walk))
        length_ns = self._length_ns(walk)
        yield self.env.all_of([vcpu.run_to(length_ns) for vcpu in self.vm.vcpus])
        return walk.accesses(self.spec.vcpu_pages) * self.spec.n_vcpus

    def run_while(self, work: Timed) -> Timed:
        """The vCPUs write their memory over and over until ``work`` is done; returns the value of ``work``."""
        self.vm.begin_work(self._work_of(Walk(), for_ever=True))
        self.vm.release_all()
        result = yield from work
        yield from self.vm.hold_all()
        return result

    def _work_of(self, walk: Walk, *, for_ever: bool = False) -> Guest:
        """The loop before an access comes first, then the access."""
        first_ns, more_ns = self._loop_ns(walk, 1), self._loop_ns(walk, walk.step)
        n_pages = self.spec.vcpu_pages
        once = None if for_ever else Active(first_ns, more_ns * walk.accesses(n_pages))
        rate = Fraction(NS_PER_S, more_ns)
        return build_guest(
            [
                Workload(
                    "walk", "strided", (v,), self.spec.first_page(v), n_pages, rate, stride_pages=walk.step, active=once
                )
                for v in range(self.spec.n_vcpus)
            ],
            seed=0,
        )

    def _loop_ns(self, walk: Walk, pages: int) -> int:
        """The vCPU's own work on ``pages`` of its walk, the one with the access included; at least 1."""
        if walk.step == 1:
            reads_ns = (walk.write_every - 1) * self._costs.read_loop_ns
            return max(1, round((self._costs.loop_ns + reads_ns) / walk.write_every))
        return max(1, round(self._costs.loop_ns + (pages - 1) * self._costs.read_loop_ns))

    def _length_ns(self, walk: Walk) -> int:
        """Work of a vCPU from its entry to its exit to user space."""
        n_pages = self.spec.vcpu_pages
        last_ns = (walk.accesses(n_pages) - 1) * self._loop_ns(walk, walk.step)
        rest_ns = round((n_pages - 1) % walk.step * self._costs.read_loop_ns)
        return self._loop_ns(walk, 1) + last_ns + rest_ns

    def walk_for(self, write_every: int) -> Walk:
        """Accesses that KVM can see: the writes alone where no read faults, else all of them.

        Where the first write splits a large spte, the pages around it are unmapped, and dirty as soon as they are read (an
        spte that a read maps writable dirties its page on a logged slot), so a read there is a write.
        """
        if write_every == 1 or self._only_writes_fault():
            return Walk(write_every, write_every)
        return Walk(1, write_every)

    def _only_writes_fault(self) -> bool:
        """Whether no read of a walked page faults, and no write has to split a large spte."""
        n_pages = self.spec.walked_pages
        n_regions = -(-n_pages // REGION_PAGES)
        level, large = self.sptes.level[:n_regions], self.sptes.large[:n_regions]
        if (large[level != 0] & (PRESENT | WRITABLE | TRACKED) != PRESENT | WRITABLE).any():
            return False
        small = np.repeat(level == 0, REGION_PAGES)[:n_pages]
        return not (small & (self.sptes.spte[:n_pages] & (PRESENT | TRACKED) != PRESENT)).any()

    def check_harvest(self, walk: Walk, found: int, expected: int | None = None) -> None:
        """Law 3: each page written by ``walk`` is in the harvest, and no other unless ``expected`` pages began dirty.

        Raises InvariantError.
        """
        pages = self.spec.vcpu_pages
        walkers = 1 if self.spec.overlap else self.spec.n_vcpus
        wanted = walk.accesses(pages) * walkers if expected is None else expected
        firsts = [self.spec.first_page(v) for v in range(walkers)]
        lost = sum(int((self.bitmap[first : first + pages : walk.step] == 0).sum()) for first in firsts)
        if lost or found != wanted:
            raise InvariantError(f"dirty log: {found} pages harvested, {wanted} dirtied, {lost} of them lost")
