"""The base of KVM's dirty trackers: switches the log on and off, and checks law 3.

KVM_SET_USER_MEMORY_REGION with KVM_MEM_LOG_DIRTY_PAGES: arch/x86/kvm/x86.c::kvm_mmu_slot_apply_flags.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.dirty_tracker import Timed
from hostsim.core.errors import InvariantError
from hostsim.kvm.live_vm import LiveVm
from hostsim.spte_index.spte import REGION_PAGES


class KvmLog:
    """Base of the trackers. One log operation at a time: each takes slots_lock."""

    # Model limit: sptes change at the end of the flush after a hold, except those that a GET write-protects. KVM
    # changes all of them within the hold, and a vCPU without a stale TLB entry sees the change at once.

    logs_reads = True

    def __init__(self, vm: LiveVm) -> None:
        n_pages = vm.memory.n_pages
        self.name: str = vm.plan.interface
        self.initial_records = int(vm.plan.all_set)
        self.chunk_shift = vm.plan.chunk_shift
        self.clear_marks = np.zeros(-(-n_pages >> self.chunk_shift), np.uint8)
        self._vm, self._env, self._engine, self._plan = vm, vm.env, vm.engine, vm.plan
        self._n_pages = n_pages
        self._due = np.zeros(n_pages, np.uint8)
        """uint8[n_pages], pages that the operation under way has found; all 0 between operations."""
        self._logged = False
        self.recovered_regions = 0
        """Regions that got a large spte again, over all times that the log was switched off."""

    def start_log(self) -> Timed[None]:
        """Protect all sptes, or set the whole log. Takes slots_lock and, to protect, mmu_lock; then flushes."""
        yield from self._vm.slots_lock.of(self._start())

    def spans(self) -> tuple[tuple[int, int], ...]:
        """All memory: a read that maps a page writable leaves a record, too."""
        return ((0, self._n_pages),)

    def stop_log(self) -> Timed[None]:
        """Switch the log off and recover huge pages. Takes slots_lock and mmu_lock."""
        yield from self._vm.slots_lock.of(self._stop())

    def before_send(self, gfn: int) -> Timed[None]:
        """Do nothing: a harvest clears the pages that it finds."""
        yield from ()

    def harvested(self) -> NDArray[np.uint8] | None:
        """None: a sync moves all records from the log into the bitmap at once."""
        return None

    def first_unharvested(self, now_ns: int) -> int:
        """First gfn that is in log, ring or PML buffer now and in no harvest yet, or -1."""
        return self._engine.log.first_unharvested(self._got())

    def _got(self) -> NDArray[np.uint8]:
        """uint8[n_pages], 1: a harvest has the page; its record stays in the log until a clear."""
        return self._due

    def _start(self) -> Timed[None]:
        plan = self._plan
        yield from self._slot_calls(plan.costs.enable_call_ns, plan.costs.enable_next_call_ns)
        if plan.all_set:
            yield self._env.timeout(round(self._n_pages * plan.costs.all_set_ns))
        else:
            yield from self._protect_slots()
        self._engine.log.start(plan.all_set, plan.eager_split, self._env.now_ns)
        self._invalidate()
        self._logged = True
        self._check_recorded("when the log was switched on")

    def _protect_slots(self) -> Timed[None]:
        """An ioctl a slot: each takes mmu_lock for its share of the work and flushes unconditionally."""
        # Model limit: sptes lose W, and writes are logged, when the last slot is switched on.
        plan, total_ns = self._plan, 0

        def share_ns(slot: int) -> int:
            nonlocal total_ns
            total_ns = total_ns or self._start_hold_ns()
            return total_ns * (slot + 1) // plan.n_slots - total_ns * slot // plan.n_slots

        for slot in range(plan.n_slots):
            yield from self._vm.lock.hold(plan.slot_mode, partial(share_ns, slot), plan.start_unit_ns)
            yield from self._unlocked()
            yield from self._vm.flush()

    def _invalidate(self) -> None:
        """Unmap all pages if the kernel unmaps instead of protecting."""
        # Model limit: Book3S PR keeps writable pages mapped when a log starts and loses their writes; here it unmaps them.
        if self._plan.invalidates:
            self._engine.mmu.zap(0, self._n_pages, self._env.now_ns)

    def _slot_calls(self, first_ns: float, next_ns: float) -> Timed[None]:
        """KVM_SET_USER_MEMORY_REGION of each slot beside the work on its pages (kvm_set_memslot).

        Each waits for a grace period (kvm_swap_active_memslots: synchronize_srcu_expedited).
        """
        calls_ns = self._plan.slot_calls_ns(first_ns, next_ns, self._n_pages * PAGE_BYTES)
        if calls_ns:
            yield self._env.timeout(calls_ns)

    def _unlocked(self) -> Timed[None]:
        """Let the part of an index's call pass that runs without mmu_lock."""
        if self._vm.indexed is not None and self._vm.indexed.unlocked_ns:
            yield self._env.timeout(self._vm.indexed.unlocked_ns)

    def _start_hold_ns(self) -> int:
        if self._vm.indexed is not None:
            return self._vm.indexed.start_log()
        return self._plan.start_hold_ns(*self._engine.log.count_start(splits=self._plan.eager_split))

    def _stop(self) -> Timed[None]:
        costs = self._plan.costs
        yield from self._slot_calls(costs.disable_call_ns, costs.disable_next_call_ns)
        recovered_before = self.recovered_regions
        if self._plan.recovery_flush != "slot" and self._plan.recovery != "none":
            yield from self._recover_each() if self._plan.recovery_flush == "each" else self._recover_by_spte()
        else:
            yield from self._vm.lock.hold(self._plan.slot_mode, self._stop_hold_ns, self._plan.stop_unit_ns)
            for _ in range(self._plan.n_slots if self.recovered_regions > recovered_before else 0):
                yield from self._vm.flush()
        self._engine.log.stop(self._plan.recovery, self._env.now_ns)
        self._logged = False

    def _count_recovered(self) -> int:
        """Regions that will get a large spte again, counted when mmu_lock is taken."""
        found = self._engine.log.count_recoverable() if self._plan.recovery != "none" else 0
        self.recovered_regions += found
        return found

    def _stop_hold_ns(self) -> int:
        regions = self._count_recovered()
        if self._vm.indexed:
            return self._vm.indexed.stop_log()
        return self._plan.stop_hold_ns(regions, self._n_pages - regions * REGION_PAGES)

    def _recover_each(self) -> Timed[None]:
        """Zap the page table of a region and flush, under mmu_lock, before the next region (5.19 to 6.12).

        arch/x86/kvm/mmu/tdp_mmu.c::zap_collapsible_spte_range.
        """
        region_ns = self._plan.stop_hold_ns(1)
        for _ in range(self._count_recovered()):
            yield from self._vm.lock.during(self._plan.slot_mode, self._zap_and_flush(region_ns))

    def _recover_by_spte(self) -> Timed[None]:
        """Zap spte after spte and flush after each, under mmu_lock, which yields between two (5.13 to 5.18).

        arch/x86/kvm/mmu/tdp_mmu.c::zap_collapsible_spte_range, ::tdp_mmu_zap_spte_atomic.
        """
        # Model limit: zapping spte by spte costs an spte as much as zapping the page table of a region costs one of its 512.
        self._count_recovered()
        spte_ns = self._plan.stop_spte_ns
        for sptes in self._engine.log.recoverable_sptes().tolist():
            yield from self._zap_sptes(sptes, spte_ns)

    def _zap_sptes(self, sptes: int, spte_ns: int) -> Timed[None]:
        """The turns of one region; those behind a flush that interrupts no vCPU are one hold."""
        # Model limit: if a flush of a region finds no vCPU in guest mode, the rest of its 512 sptes is zapped as if none
        # entered the guest meanwhile. An event for each of millions of flushes would take minutes.
        mode, running = self._plan.slot_mode, 1
        while sptes > 0 and running > 0:
            running = yield from self._vm.lock.during(mode, self._zap_and_flush(spte_ns))
            sptes -= 1
        if sptes > 0:
            unit_ns = spte_ns + self._vm.flush.count_idle(sptes)
            yield from self._vm.lock.hold(mode, sptes * unit_ns, unit_ns)

    def _zap_and_flush(self, zap_ns: int) -> Timed[int]:
        """Returns the number of vCPUs that the flush has interrupted."""
        yield self._env.timeout(zap_ns)
        return (yield from self._vm.flush())

    def _drain(self) -> None:
        """Kick every vCPU out of the guest, which drains its PML buffer (vmx.c::vmx_sync_dirty_log)."""
        if self._plan.pml:
            self._engine.interrupt(self._env.now_ns)

    def _check_recorded(self, when: str, first: int = 0, end: int | None = None) -> None:
        """Check law 3: each page of [first, end) that the guest can write without an exit has a record. InvariantError."""
        self._refuse(self._engine.log.first_unrecorded(first, end), when)

    def _refuse(self, gfn: int, when: str) -> None:
        if gfn >= 0:
            raise InvariantError(f"gfn {gfn}: writable without a record at {self._env.now_ns} ns, {when}")
