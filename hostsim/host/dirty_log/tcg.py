"""Dirty tracking of TCG: a store marks the page, a sync moves all marks; no exit, no lock, no time for the guest.

10.x system/physmem.c::cpu_physical_memory_sync_dirty_bitmap; the log is exchanged for zeros at each sync and the next
store to a page takes the slow path once (TLB_NOTDIRTY). After each sync the thread waits until every vCPU has run a work
item (softmmu/physmem.c::tcg_log_global_after_sync): a vCPU that cpu-throttle has put to sleep is waited for.
# Model limit: the slow path of that store costs the guest nothing (it is emulation, not an exit).
# Model limit: QEMU 7.2 under TCG loses writes through live TLB entries at a sync; here none is lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.errors import InvariantError
from hostsim.guest import touch
from hostsim.host.knobs import Knobs
from hostsim.host.vm import Vm
from hostsim.kernels.harvest import Pages, arm, earliest_pending, harvest, harvest_paced, is_written, start_paced
from hostsim.mmu.dirty_tracker import Harvest


class TcgTracker:
    """DirtyTracker whose marks are the pending touches that have passed."""

    name = "tcg"

    def __init__(self, vm: Vm, knobs: Knobs, log_capacity: int = 0) -> None:
        """``log_capacity``: first writes to keep for each sync in ``transitions``, 0: none."""
        self.transitions: list[tuple[int, NDArray[np.int64]]] = []
        self._vm, self._knobs, self._log_capacity = vm, knobs, log_capacity
        ints = vm.guest.table.ints
        self._classes = [c for c in range(len(ints)) if ints[c, touch.IS_WRITE]]
        self._harvested = np.zeros(vm.memory.n_pages if self._overlap() else 0, np.uint8)

    def start_log(self, now_ns: int) -> int:
        """Arm every page of every writing class."""
        vm = self._vm
        for c in self._classes:
            work = vm.class_work(c)
            if self._is_paced(c):
                start_paced(vm.guest.table, c, work, vm.armed, vm.memory.zero)
                continue
            for low, high in self._chunks(c):
                arm(vm.guest.table, c, low, high, work, vm.armed, vm.memory.zero)
        return 0

    def sync(self, bmap: NDArray[np.uint8], now_ns: int) -> Harvest:
        """Harvest all classes; InvariantError if a write before now has left no record."""
        counts = np.zeros(3, np.int64)
        log = np.empty((self._log_capacity, 3), np.int64)
        self._harvested[:] = 0
        pages = Pages(bmap, self._vm.memory.zero, self._vm.memory.version, self._harvested)
        for c in self._classes:
            self._harvest_class(c, pages, log, counts)
        if self._log_capacity:
            self.transitions.append((now_ns, log[: counts[2]].copy()))
        return Harvest(int(counts[0]), int(counts[1]), waits_for_vcpus=True)

    def before_send(self, first_gfn: int, n_pages: int, now_ns: int) -> int:
        """Nothing: the sync has cleared the log already."""
        return 0

    def is_dirty(self, gfn: int, now_ns: int) -> bool:
        """Whether a write before ``now_ns`` waits to be harvested."""
        vm = self._vm
        return bool(is_written(vm.guest.table, vm.guest.clocks, vm.armed, gfn, now_ns))

    def stop_log(self, now_ns: int) -> int:
        """Nothing to undo."""
        return 0

    def _harvest_class(self, c: int, pages: Pages, log: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        vm = self._vm
        work = vm.class_work(c)
        if self._is_paced(c):
            harvest_paced(vm.guest.table, c, work, vm.armed, pages, counts)
            return
        for low, high in self._chunks(c):
            harvest(vm.guest.table, c, low, high, work, vm.armed, pages, log, counts)
        offset, n_pages = (int(vm.guest.table.ints[c, i]) for i in (touch.OFFSET, touch.N_PAGES))
        if earliest_pending(vm.armed.pending, offset, offset + n_pages) < work:
            raise InvariantError(f"touch class {c}: a write before the sync at {vm.env.now_ns} ns was not harvested")

    def _is_paced(self, c: int) -> bool:
        return bool(self._vm.guest.table.ints[c, touch.KIND] == touch.PACED)

    def _chunks(self, c: int) -> list[tuple[int, int]]:
        n_pages, step = int(self._vm.guest.table.ints[c, touch.N_PAGES]), self._knobs.harvest_chunk_pages
        return [(low, min(low + step, n_pages)) for low in range(0, n_pages, step)]

    def _overlap(self) -> bool:
        ints = self._vm.guest.table.ints[self._classes]
        order = np.argsort(ints[:, touch.FIRST_GFN])
        first, size = ints[order, touch.FIRST_GFN], ints[order, touch.N_PAGES]
        ends = np.maximum.accumulate(first + size) if len(first) else first
        return bool((first[1:] < ends[:-1]).any())
