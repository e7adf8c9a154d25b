"""KVM_GET_DIRTY_LOG that clears the pages it returns: the interface until 5.0; also with D bits in place of a log.

virt/kvm/kvm_main.c::kvm_get_dirty_log_protect: KVM finds and protects dirty pages under mmu_lock, flushes, and copies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.dirty_tracker import Harvest, Timed
from hostsim.costs.exits import EXCLUSIVE
from hostsim.kvm.plan import whole_ns
from hostsim.kvm.trackers.kvm_log import KvmLog


class GetDirtyLog(KvmLog):
    """DirtyTracker whose sync finds, protects and copies."""

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Find, protect, flush and copy. Takes slots_lock and mmu_lock."""
        started_ns = self._env.now_ns
        harvest = yield from self._vm.slots_lock.of(self._get(bmap))
        self._vm.times.sync_ns += self._env.now_ns - started_ns
        return harvest

    def _get(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        found = 0

        def hold_ns() -> int:
            nonlocal found
            found = self._engine.log.mark_due(self._due, 0, self._n_pages)
            return self._hold_ns(found)

        self._drain()
        yield from self._vm.lock.hold(EXCLUSIVE, hold_ns)
        yield from self._unlocked()
        if found:
            yield from self._vm.flush()
        newly = self._clear(bmap)
        if found:
            self._invalidate()
        self._check_recorded("after a GET")
        yield self._env.timeout(round(self._n_pages * self._plan.costs.get_ns))
        return Harvest(found, newly)

    def _clear(self, bmap: NDArray[np.uint8]) -> int:
        now_ns = self._env.now_ns
        return self._engine.log.clear(
            self._due, 0, self._n_pages, split=False, protect_large=False, now_ns=now_ns, bmap=bmap
        )

    def _hold_ns(self, found: int) -> int:
        """Time under mmu_lock [ns]: of ``found`` pages in the log, of all sptes with D bits alone, or of the index call."""
        if self._vm.indexed is not None:
            return self._vm.indexed.get(self._due)
        costs = self._plan.costs
        return whole_ns(self._n_pages * costs.get_ns if self._plan.d_bit else found * costs.clear_ns)
