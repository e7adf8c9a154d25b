"""KVM_GET_DIRTY_LOG that clears the pages it returns: the interface until 5.0; also with D bits in place of a log.

virt/kvm/kvm_main.c::kvm_get_dirty_log_protect: under mmu_lock KVM takes the bitmap word by word and protects the pages of
each, then flushes, and copies. A vCPU that writes to a page that is protected waits for the lock until the call drops it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.dirty_tracker import Harvest, Timed
from hostsim.costs.exits import EXCLUSIVE
from hostsim.kvm.plan import MASK_PAGES, whole_ns
from hostsim.kvm.trackers.kvm_log import KvmLog

TURNS = 64
"""Turns of a hold at most, so that the events of a call do not grow with memory: the pages of a turn lose W together."""


class GetDirtyLog(KvmLog):
    """DirtyTracker whose sync finds, protects and copies."""

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Find, protect, flush and copy. Takes slots_lock and mmu_lock."""
        started_ns = self._env.now_ns
        harvest = yield from self._vm.slots_lock.of(self._get(bmap))
        self._vm.times.sync_ns += self._env.now_ns - started_ns
        return harvest

    def _get(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        self._drain()
        found = newly = protected = 0

        def work() -> Timed[None]:
            nonlocal found, newly, protected
            found = self._engine.log.mark_due(self._due, 0, self._n_pages)
            hold_ns, done_ns = self._hold_ns(found), 0
            for end, pages in self._turns(found):
                end_ns = hold_ns * pages // found
                yield self._env.timeout(end_ns - done_ns)
                newly += self._clear(bmap, protected, end)
                protected, done_ns = end, end_ns
            yield self._env.timeout(hold_ns - done_ns)

        yield from self._vm.lock.during(EXCLUSIVE, work())
        yield from self._unlocked()
        if found:
            yield from self._vm.flush()
        newly += self._clear(bmap, protected, self._n_pages)
        if found:
            self._invalidate()
        self._check_recorded("after a GET")
        yield self._env.timeout(round(self._n_pages * self._plan.costs.get_ns))
        return Harvest(found, newly)

    def _turns(self, found: int) -> list[tuple[int, int]]:
        """(end gfn of a turn, dirty pages up to there), whole words of the bitmap; none where no spte loses W in order."""
        plan = self._plan
        if not found or plan.mmu.write_tracking != "write-protect" or plan.invalidates or self._vm.indexed is not None:
            return []
        # Model limit: a vCPU whose TLB holds a stale entry of a page writes on until the flush; here it faults once the page
        # is protected. Guests that write 8 MiB or more of 64 to 256 wait 98 % of a hold (measured), of 1 to 4 MiB 0 to 72 %.
        gfns = np.flatnonzero(self._due)
        last = gfns[np.arange(1, TURNS + 1) * found // TURNS - 1]
        ends = np.unique(np.minimum((last // MASK_PAGES + 1) * MASK_PAGES, self._n_pages))
        return list(zip(ends.tolist(), np.searchsorted(gfns, ends).tolist(), strict=True))

    def _clear(self, bmap: NDArray[np.uint8], first: int, end: int) -> int:
        now_ns = self._env.now_ns
        return self._engine.log.clear(self._due, first, end, split=False, protect_large=False, now_ns=now_ns, bmap=bmap)

    def _hold_ns(self, found: int) -> int:
        """Time under mmu_lock [ns]: of ``found`` pages in the log, of all sptes with D bits alone, or of the index call."""
        if self._vm.indexed is not None:
            return self._vm.indexed.get(self._due)
        costs = self._plan.costs
        return whole_ns(self._n_pages * costs.get_ns if self._plan.d_bit else found * costs.clear_ns)
