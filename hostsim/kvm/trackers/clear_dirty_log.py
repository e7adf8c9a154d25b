"""KVM_CLEAR_DIRTY_LOG: a sync copies the log, and pages are cleared chunk by chunk just before they are sent.

virt/kvm/kvm_main.c::kvm_clear_dirty_log_protect; QEMU migration/ram.c::migration_clear_memory_region_dirty_bitmap,
accel/kvm/kvm-all.c::kvm_physical_log_clear. With KVM_DIRTY_LOG_INITIALLY_SET the log starts with all pages dirty, and KVM
protects no page before the first CLEAR of its chunk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.dirty_tracker import Harvest, Timed
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.trackers.kvm_log import KvmLog


class ClearDirtyLog(KvmLog):
    """DirtyTracker whose sync copies; ``before_send`` protects."""

    # Model limit: chunks begin at gfn 0; QEMU counts the chunks of each RAMBlock from the block's start.

    def __init__(self, vm: LiveVm) -> None:
        super().__init__(vm)
        self._in_log = np.zeros(self._n_pages, np.uint8)
        """1: a sync has found the page, and no CLEAR has covered it yet."""
        self._known_pages = self._n_pages if vm.plan.all_set else 0

    def start_log(self) -> Timed[None]:
        """Begin with a log that no sync has read yet; an earlier log is gone with its records."""
        self._in_log[:], self.clear_marks[:] = 0, 0
        self._known_pages = self._n_pages if self._plan.all_set else 0
        yield from super().start_log()

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Copy the log. Takes slots_lock."""
        started_ns = self._env.now_ns
        harvest = yield from self._vm.slots_lock.of(self._copy(bmap))
        self._vm.times.sync_ns += self._env.now_ns - started_ns
        return harvest

    def before_send(self, gfn: int) -> Timed[None]:
        """CLEAR the chunk of ``gfn`` if it is marked. Takes slots_lock and mmu_lock, then flushes."""
        started_ns = self._env.now_ns
        yield from self._vm.slots_lock.of(self._clear_chunk(gfn >> self.chunk_shift))
        self._vm.times.clear_ns += self._env.now_ns - started_ns

    def clear(self, first: int, end: int) -> Timed[int]:
        """KVM_CLEAR_DIRTY_LOG of pages [first, end); returns pages cleared. Takes slots_lock and mmu_lock, then flushes."""
        started_ns = self._env.now_ns
        pages = yield from self._vm.slots_lock.of(self._clear(first, end))
        self._vm.times.clear_ns += self._env.now_ns - started_ns
        return pages

    def _got(self) -> NDArray[np.uint8]:
        return self._in_log

    def _copy(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        self._drain()
        found, newly = self._engine.log.copy(self._in_log, bmap)
        self.clear_marks[:] = 1
        self._check_recorded("after a GET")
        dirtied, self._known_pages = found - self._known_pages, found
        yield self._env.timeout(round(self._n_pages * self._plan.costs.get_ns))
        return Harvest(dirtied, newly)

    def _clear_chunk(self, chunk: int) -> Timed[None]:
        if self.clear_marks[chunk] == 0:
            return
        self.clear_marks[chunk] = 0
        first = chunk << self.chunk_shift
        yield from self._clear(first, min(self._n_pages, first + (1 << self.chunk_shift)))

    def _clear(self, first: int, end: int) -> Timed[int]:
        pages = large = masks = 0

        def hold_ns() -> int:
            nonlocal pages, large, masks
            pages = self._engine.log.mark_due(self._due, first, end, self._in_log)
            masks = self._plan.clear_masks(self._due[first:end])
            large = self._engine.log.count_large(first, end, self._plan.eager_split) if self._plan.all_set else 0
            if self._vm.indexed is not None:
                return self._vm.indexed.clear(self._due, first, end)
            splits = self._plan.all_set and self._plan.eager_split
            small, bare_words = self._engine.log.count_due(self._due, first, end, splits=splits)
            return self._plan.clear_hold_ns(small, large, masks, bare_words)

        self._drain()
        if self._plan.costs.clear_call_ns:
            yield self._env.timeout(round(self._plan.costs.clear_call_ns))
        yield from self._vm.lock.hold(self._plan.clear_mode, hold_ns, lambda ns: self._plan.clear_unit_ns(ns, masks))
        if pages or large:
            yield from self._vm.flush()
        self._protect(first, end)
        self._known_pages -= pages
        self._vm.times.clears += 1
        self._check_recorded("after a CLEAR", first, end)
        return pages

    def _protect(self, first: int, end: int) -> None:
        """Protect the pages found, and the large sptes of a log that started all set."""
        splits = self._plan.all_set and self._plan.eager_split
        protects = self._plan.all_set and not self._plan.eager_split
        now_ns = self._env.now_ns
        self._engine.log.clear(
            self._due, first, end, split=splits, protect_large=protects, now_ns=now_ns, got=self._in_log
        )
