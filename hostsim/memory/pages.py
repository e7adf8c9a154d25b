"""The place of each page of a VM: in a frame of the host, in swap, or between the two."""

from __future__ import annotations

from collections import Counter

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.errors import InvariantError
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import AWAY, RESIDENT, UNTOUCHED
from hostsim.kvm.mmu_notifier import MmuNotifier
from hostsim.kvm.vcpu_times import check_vcpu_times
from hostsim.memory.fault_waits import WAITERS, FaultWaits
from hostsim.memory.policies.protocol import AgeingPolicy, Pages
from hostsim.memory.swap_area import NO_SLOT, Copy

SWAPPED, READING, CACHED, WRITING, MISSING = range(AWAY, AWAY + 5)
"""Beside UNTOUCHED and RESIDENT: in swap alone; being read; read and not mapped yet; unmapped and being written; at the
destination of post-copy not placed yet.
"""
PLACES = {UNTOUCHED: "untouched", RESIDENT: "resident", SWAPPED: "swapped", READING: "reading", CACHED: "cached",
          WRITING: "writing", MISSING: "missing"}  # fmt: skip
BY_GUEST, BY_HOST = 1, 2
"""Flags of ``not_idle``: the guest or a thread of the host has accessed the page, or faulted it in."""
HAS_FRAME = (RESIDENT, READING, CACHED, WRITING)


class VmPages:
    """The pages of one VM at the host.

    where: uint8[n_pages], place of each page, the engine's ``backing``.
    host_young: uint8[n_pages], 1: an access that reclaim has not seen, by a thread of the host that read the page, or by the
    guest before a daemon made the page old (PG_young).
    not_idle: uint8[n_pages], BY_GUEST | BY_HOST: an access that the idle-tracking daemon has not seen (PG_idle is clear):
    reclaim made the page old, the migration thread read it, or a fault brought it in.
    pte_dirty: uint8[n_pages], 1: the host's own pte of the page is dirty, since a write brought the page in. The guest's
    writes through an spte leave the pte clean.
    slot: int64[n_pages], swap slot or NO_SLOT.
    token: int64[n_pages], swap-outs of the page so far.
    charged: frames of the VM, the free lists of its vCPUs included.
    limit: most frames of the VM.
    waits: of faults, by waiter.
    counts: events by name.
    arriving: gfn to the event that fires when the read of the page is complete.
    """

    def __init__(self, number: int, vm: LiveVm, notifier: MmuNotifier, policy: AgeingPolicy, limit: int) -> None:
        n_pages = vm.memory.n_pages
        self.number, self.vm, self.notifier, self.policy, self.limit = number, vm, notifier, policy, limit
        self.where = vm.engine.pages.backing
        assert len(self.where) == n_pages, "the engine knows which pages the host has"
        self.host_young = np.zeros(n_pages, np.uint8)
        self.not_idle = np.zeros(n_pages, np.uint8)
        self.pte_dirty = np.ones(n_pages, np.uint8)
        self.slot = np.full(n_pages, NO_SLOT, np.int64)
        self.token = np.zeros(n_pages, np.int64)
        self.charged = int(np.count_nonzero(self.where == RESIDENT))
        self.waits = {waiter: FaultWaits(vm.env) for waiter in WAITERS}
        self.counts: Counter[str] = Counter()
        self.arriving: dict[int, simpy.Event] = {}
        self.isolated: set[int] = set()
        """Pages taken off the policy to be swapped out, still mapped."""
        self._young = np.zeros(n_pages, np.uint8)

    def take_in_fresh(self) -> None:
        """Insert pages that vCPUs populated from their free lists into the policy (mm/swap.c::lru_add_drain)."""
        fresh: Pages = self.vm.engine.pages.take_fresh()
        if len(fresh):
            self.counts["populated"] += len(fresh)
            self.policy.insert(fresh)

    def _fresh(self) -> Pages:
        """int64[k]: the pages that ``take_in_fresh`` would insert."""
        return self.vm.engine.pages.fresh()

    def _frames_at_hand(self) -> int:
        """Free frames that threads of this VM have allocated and not filled."""
        return self.vm.engine.pages.frames_at_hand

    def look(self) -> NDArray[np.uint8]:
        """uint8[n_pages], 1: accessed since it was last made old, by the guest or by a thread of the host."""
        self.notifier.look(self._young)
        np.maximum(self._young, self.host_young, out=self._young)
        return self._young

    def copy_of(self, page: int) -> Copy:
        """The copy of ``page`` that the next swap-out writes."""
        self.token[page] += 1
        return Copy(self.number, page, int(self.token[page]), bool(self.vm.memory.zero[page]))

    def check_copy(self, page: int, copy: Copy) -> None:
        """InvariantError unless ``copy`` is the newest content of ``page``."""
        if copy != Copy(self.number, page, int(self.token[page]), bool(self.vm.memory.zero[page])):
            raise InvariantError(f"VM {self.number}, gfn {page}: swapped in as {copy}, swapped out {self.token[page]} times")

    def check(self) -> None:
        """InvariantError if pages are lost or counted twice, or an spte outlives its host page.

        Also if the time of a vCPU does not add up (hostsim.kvm.vcpu_times).
        """
        check_vcpu_times(self.vm)
        gfn = self.vm.engine.pages.first_orphan()
        if gfn >= 0:
            raise InvariantError(f"VM {self.number}, gfn {gfn}: mapped, and {PLACES[int(self.where[gfn])]} at the host")
        n_by_place = np.bincount(self.where, minlength=WRITING + 1)
        frames = int(n_by_place[list(HAS_FRAME)].sum()) + self._frames_at_hand()
        if frames != self.charged:
            raise InvariantError(f"VM {self.number}: {frames} frames in use, {self.charged} charged")
        in_swap = np.isin(self.where, (SWAPPED, READING, CACHED, WRITING))
        if not np.array_equal(in_swap, self.slot != NO_SLOT):
            gfn = int(np.flatnonzero(in_swap != (self.slot != NO_SLOT))[0])
            raise InvariantError(f"VM {self.number}, gfn {gfn}: {PLACES[int(self.where[gfn])]} with slot {self.slot[gfn]}")
        self._check_listed()

    def _check_listed(self) -> None:
        """InvariantError unless policy and fresh pages hold exactly the resident and cached pages, without isolated ones."""
        listed = np.zeros(len(self.where), np.bool_)
        listed[self.policy.resident_pages()] = True
        listed[self._fresh()] = True
        wanted = np.isin(self.where, (RESIDENT, CACHED))
        wanted[list(self.isolated)] = False
        if not np.array_equal(listed, wanted):
            gfn = int(np.flatnonzero(listed != wanted)[0])
            raise InvariantError(f"VM {self.number}, gfn {gfn}: {PLACES[int(self.where[gfn])]}, on a list: {listed[gfn]}")
