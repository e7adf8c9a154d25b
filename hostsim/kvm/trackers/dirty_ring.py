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
        vm.on_ring_full = self.reap
        self._env.process(self._reaper())

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Hold all vCPUs, reap their rings, release the vCPUs. Takes slots_lock and mmu_lock."""
        started_ns = self._env.now_ns
        yield from self._vm.hold_all()
        yield from self.reap()
        harvest = self._move(bmap)
        self._check_recorded("after a sync")
        self._vm.release_all()
        self._vm.times.sync_ns += self._env.now_ns - started_ns
        return harvest

    def reap(self) -> Timed[None]:
        """Collect the entries of all rings and protect their pages again. Takes slots_lock and mmu_lock; flushes."""
        started_ns = self._env.now_ns
        yield from self._vm.slots_lock.of(self._reap())
        self._vm.times.reap_ns += self._env.now_ns - started_ns

    def harvested(self) -> NDArray[np.uint8] | None:
        """uint8[n_pages], 1: the page was reaped and waits for a sync."""
        return self._reaped

    def _reap(self) -> Timed[None]:
        entries, masks = self._engine.log.take_rings(self._reaped)
        self._vm.times.reaps += 1
        self.reset_entries = entries
        if entries == 0:
            return
        hold_ns = self._plan.reset_hold_ns(masks, entries)
        yield from self._vm.lock.hold(EXCLUSIVE, hold_ns, max(1, hold_ns // masks))
        yield from self._vm.flush()
        self._engine.log.reset_rings(self._env.now_ns)
        self._check_recorded("after a reset of the rings")

    def _move(self, bmap: NDArray[np.uint8]) -> Harvest:
        found, newly = np.count_nonzero(self._reaped), np.count_nonzero(self._reaped > bmap)
        np.bitwise_or(bmap, self._reaped, out=bmap)
        self._reaped[:] = 0
        return Harvest(int(found), int(newly))

    def _reaper(self) -> Timed[None]:
        while True:
            yield self._env.timeout(self._reap_period_ns)
            if self._logged:
                yield from self.reap()
