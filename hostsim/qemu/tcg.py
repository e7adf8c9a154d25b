"""Dirty tracking of TCG: a store marks the page, a sync moves all marks; no exit, no lock, no time for the guest.

7.2 include/exec/ram_addr.h::cpu_physical_memory_sync_dirty_bitmap, 10.2 system/physmem.c::physical_memory_sync_dirty_bitmap:
a sync exchanges the log for zeros, and the next store to a page takes the slow path once (TLB_NOTDIRTY). After each sync the
migration thread waits until every vCPU has run a work item (softmmu/physmem.c::tcg_log_global_after_sync), so also until a
vCPU has ended its cpu-throttle sleep.
# Model limit: the slow path of that store costs the guest nothing (it is emulation, not an exit).
# Model limit: QEMU 7.2 under TCG loses writes through live TLB entries at a sync; here none is lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.dirty_tracker import Harvest, Timed
from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.guest import touch
from hostsim.guest.armed import ARMED_COLD, ARMED_HOT
from hostsim.guest.vm import Vm
from hostsim.qemu.harvest import Pages, arm, first_lost, first_misarmed, harvest, harvest_paced, mark_written, start_paced

CHECKED_SHARE = 64
"""Each sync checks 1 in CHECKED_SHARE pages of a sweep or trace for its next touch; the next sync checks other pages."""


class TcgTracker:
    """DirtyTracker whose marks are the pending touches that have passed."""

    name = "tcg"
    logs_reads = False
    initial_records = 0
    chunk_shift = 62

    def __init__(self, vm: Vm, knobs: Knobs, log_capacity: int = 0) -> None:
        """``log_capacity``: first writes to keep for each sync in ``transitions``, 0: none."""
        self.transitions: list[tuple[int, NDArray[np.int64]]] = []
        self._vm, self._knobs, self._log_capacity = vm, knobs, log_capacity
        ints = vm.guest.table.ints
        self._classes = [c for c in range(len(ints)) if ints[c, touch.IS_WRITE]]
        self._due = np.zeros(vm.memory.n_pages, np.uint8)
        self.clear_marks = np.zeros(1, np.uint8)
        self._syncs = 0
        self._spans = _united([vm.guest.table.ints[c, [touch.FIRST_GFN, touch.N_PAGES]].tolist() for c in self._classes])

    def start_log(self) -> Timed[None]:
        """Arm every page of every writing class. Takes no time."""
        yield from ()
        vm = self._vm
        for c in self._classes:
            work = vm.class_work(c)
            if self._is_paced(c):
                start_paced(vm.guest.table, c, work, vm.armed, vm.memory.zero)
                continue
            for low, high in self._chunks(c):
                arm(vm.guest.table, c, low, high, work, vm.armed, vm.memory.zero)

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Harvest all classes; takes no time. InvariantError if a write before now has left no record."""
        yield from ()
        now_ns = self._vm.env.now_ns
        counts = np.zeros(3, np.int64)
        log = np.empty((self._log_capacity, 3), np.int64)
        pages = Pages(bmap, self._vm.memory.zero, self._vm.memory.version, self._due)
        self._mark_written()
        for c in self._classes:
            self._harvest_class(c, pages, log, counts)
        self._check(bmap, now_ns)
        if self._log_capacity:
            self.transitions.append((now_ns, log[: counts[2]].copy()))
        return Harvest(int(counts[0]), int(counts[1]), waits_for_vcpus=True)

    def first_unharvested(self, now_ns: int) -> int:
        """First gfn written before now and not harvested, or -1."""
        self._mark_written()
        return next((low + int(due.argmax()) for low, due in self._due_in_spans() if due.any()), -1)

    def before_send(self, gfn: int) -> Timed[None]:
        """Do nothing: a sync has cleared the whole log."""
        yield from ()

    def harvested(self) -> None:
        """None: a sync moves all records into the bitmap at once."""
        return

    def spans(self) -> tuple[tuple[int, int], ...]:
        """The regions of the writing classes: a check of all pages would cost by the size of memory at each sync."""
        return self._spans

    def stop_log(self) -> Timed[None]:
        """Nothing to undo."""
        yield from ()

    def _harvest_class(self, c: int, pages: Pages, log: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        vm = self._vm
        work = vm.class_work(c)
        if self._is_paced(c):
            harvest_paced(vm.guest.table, c, work, vm.armed, pages, counts)
            return
        for low, high in self._chunks(c):
            harvest(vm.guest.table, c, low, high, work, vm.armed, pages, log, counts)

    def _mark_written(self) -> None:
        vm = self._vm
        for _, due in self._due_in_spans():
            due[:] = 0
        for c in self._classes:
            mark_written(vm.guest.table, c, vm.class_work(c), vm.armed, self._due)

    def _check(self, bmap: NDArray[np.uint8], now_ns: int) -> None:
        """Check law 3 after a harvest: written pages are in the bitmap, and every page is armed again. InvariantError."""
        for low, due in self._due_in_spans():
            lost = first_lost(due, bmap[low : low + len(due)])
            if lost >= 0:
                raise InvariantError(f"gfn {low + lost}: written before the sync at {now_ns} ns, not in the bitmap after it")
        late = self.first_unharvested(now_ns)
        if late >= 0:
            raise InvariantError(f"gfn {late}: a write before the sync at {now_ns} ns still waits to be harvested after it")
        for c in self._classes:
            if not self._is_armed(c):
                raise InvariantError(f"touch class {c}: not every page awaits its next write after the sync at {now_ns} ns")
        self._syncs += 1

    def _due_in_spans(self) -> list[tuple[int, NDArray[np.uint8]]]:
        return [(low, self._due[low:end]) for low, end in self._spans]

    def _is_armed(self, c: int) -> bool:
        vm = self._vm
        if self._is_paced(c):
            state = vm.armed.paced[c]
            return bool(state[ARMED_HOT] + state[ARMED_COLD] == vm.guest.table.ints[c, touch.N_PAGES])
        start = self._syncs % CHECKED_SHARE
        return first_misarmed(vm.guest.table, c, start, CHECKED_SHARE, vm.class_work(c), vm.armed.pending) < 0

    def _is_paced(self, c: int) -> bool:
        return bool(self._vm.guest.table.ints[c, touch.KIND] == touch.PACED)

    def _chunks(self, c: int) -> list[tuple[int, int]]:
        n_pages, step = int(self._vm.guest.table.ints[c, touch.N_PAGES]), self._knobs.harvest_chunk_pages
        return [(low, min(low + step, n_pages)) for low in range(0, n_pages, step)]


def _united(regions: list[list[int]]) -> tuple[tuple[int, int], ...]:
    """(first gfn, end) of the ranges that ``regions``, (first gfn, pages) each, cover together."""
    found: list[tuple[int, int]] = []
    for first, pages in sorted(regions):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], first + pages))
        else:
            found.append((first, first + pages))
    return tuple(found)
