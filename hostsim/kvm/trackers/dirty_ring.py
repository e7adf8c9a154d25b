"""Dirty rings: each vCPU leaves entries in a ring of its own, user space reaps them.

virt/kvm/dirty_ring.c::kvm_dirty_ring_reset; QEMU accel/kvm/kvm-all.c::kvm_dirty_ring_reap, ::kvm_dirty_ring_reaper_thread,
::kvm_dirty_ring_flush.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.dirty_tracker import Harvest, Timed
from hostsim.costs.exits import EXCLUSIVE
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.trackers.kvm_log import KvmLog


class DirtyRing(KvmLog):
    """DirtyTracker that reaps: at a sync, each second, and when a vCPU comes out with a full ring."""

    # Model limit: at a sync all vCPUs stay out until the rings are reaped; QEMU lets each vCPU enter again once it was out.

    def __init__(self, vm: LiveVm, reap_period_ns: int | None = None) -> None:
        """``reap_period_ns``: from one reap of the reaper thread to the next; None: the plan's period."""
        super().__init__(vm)
        self._reap_period_ns = self._plan.reap_period_ns if reap_period_ns is None else reap_period_ns
        self._reaped = np.zeros(self._n_pages, np.uint8)
        """1: the page was reaped since the last sync."""
        self.reset_entries = 0
        """Entries of all rings that the last reap reset."""
        self.dirtied = np.zeros(len(vm.vcpus), np.int64)
        """int64[n_vcpus], entries reaped from each ring so far (CPUState.dirty_pages)."""
        self.limited = False
        """Whether dirty-limit is in service: a full ring is reaped by itself, and the reaper thread rests."""
        self._users = 0
        vm.on_ring_full = self._ring_full
        self._env.process(self._reaper())

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Hold all vCPUs, reap their rings, release the vCPUs. Takes slots_lock and mmu_lock."""
        started_ns = self._env.now_ns
        if self.limited:
            yield from self.flush_rings()
            harvest = self._move(bmap)
        else:
            yield from self._vm.hold_all()
            yield from self.reap()
            harvest = self._move(bmap)
        self._check_recorded("after a sync")
        if not self.limited:
            self._vm.release_all()
        self._vm.times.sync_ns += self._env.now_ns - started_ns
        return harvest

    def flush_rings(self) -> Timed[None]:
        """Kick one vCPU after the other, then reap (kvm-all.c::kvm_dirty_ring_flush); waits for threads that sleep.

        memory_global_dirty_log_sync outside a migration does this, too.
        """
        for vcpu in self._vm.vcpus:
            yield vcpu.run_work_item()
        yield from self.reap()

    def start_log(self) -> Timed[None]:
        """Switch the log on, unless dirty-limit has it on already (memory.c::memory_global_dirty_log_start)."""
        self._users += 1
        if self._users == 1:
            yield from super().start_log()

    def stop_log(self) -> Timed[None]:
        """Switch the log off, unless another user of the log is left (memory.c::memory_global_dirty_log_stop)."""
        self._users -= 1
        if self._users == 0:
            yield from super().stop_log()

    def reap(self, vcpu: int | None = None) -> Timed[None]:
        """Collect the entries of the ring of ``vcpu`` (None: of all) and protect their pages again.

        Takes slots_lock and mmu_lock; flushes.
        """
        started_ns = self._env.now_ns
        yield from self._vm.slots_lock.of(self._reap(vcpu))
        self._vm.times.reap_ns += self._env.now_ns - started_ns

    def harvested(self) -> NDArray[np.uint8] | None:
        """uint8[n_pages], 1: the page was reaped and waits for a sync."""
        return self._reaped

    def _ring_full(self, vcpu: int) -> Timed[None]:
        """Reap all rings; with dirty-limit that of ``vcpu``, for a ring that another vCPU has emptied never gets full."""
        yield from self.reap(vcpu if self.limited else None)

    def _reap(self, vcpu: int | None) -> Timed[None]:
        found = self._engine.log.ring_entries()
        self.dirtied += found if vcpu is None else np.where(np.arange(len(found)) == vcpu, found, 0)
        entries, masks = self._engine.log.take_rings(self._reaped, vcpu)
        self._vm.times.reaps += 1
        self.reset_entries = entries
        if entries == 0:
            return
        hold_ns = self._plan.reset_hold_ns(masks, entries)
        yield from self._vm.lock.hold(EXCLUSIVE, hold_ns, max(1, hold_ns // masks))
        yield from self._vm.flush()
        pages = self._engine.log.reset_rings(self._env.now_ns)
        self._refuse(self._engine.log.first_unrecorded_of(pages), "after a reset of the rings")

    def _move(self, bmap: NDArray[np.uint8]) -> Harvest:
        found, newly = np.count_nonzero(self._reaped), np.count_nonzero(self._reaped > bmap)
        np.bitwise_or(bmap, self._reaped, out=bmap)
        self._reaped[:] = 0
        return Harvest(int(found), int(newly))

    def _reaper(self) -> Timed[None]:
        while True:
            yield self._env.timeout(self._reap_period_ns)
            if self._logged and not self.limited:
                yield from self.reap()
