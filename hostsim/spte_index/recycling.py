"""KVM's limit of shadow pages: which page tables are shadowed, and the faults of a guest that needs more.

A fault that finds fewer than KVM_MIN_FREE_MMU_PAGES left zaps the oldest shadow pages, in the order of their allocation,
until KVM_REFILL_PAGES are free. So a guest that goes round in more page tables than the limit allows finds none of
them, however little more it is.

Linux arch/x86/kvm/mmu/mmu.c::make_mmu_pages_available, ::kvm_mmu_zap_oldest_mmu_pages, ::kvm_mmu_get_shadow_page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hostsim.spte_index.tables import ENTRIES

MIN_FREE, REFILL = 5, 25
"""KVM_MIN_FREE_MMU_PAGES, KVM_REFILL_PAGES (arch/x86/include/asm/kvm_host.h)."""
SHARE_PERMILLE, LEAST_LIMIT = 20, 64
"""KVM_PERMILLE_MMU_PAGES, KVM_MIN_ALLOC_MMU_PAGES (ibid.)."""
ROOTS = 4
"""Roots that a vCPU keeps: its own, and KVM_MMU_NUM_PREV_ROOTS."""
GROUP_PAGES = 8
"""PTE_PREFETCH_NUM: pages that a fault maps where the slot is not logged."""
LEVELS = 4
TOP_BITS = 9

Key = tuple[int, int, int]
"""(address space, level, number): of a shadow page; level 1: its entries map pages, level 4: a root."""


def default_limit(n_pages: int) -> int:
    """Shadow pages of a VM with ``n_pages`` in its memslots (mmu.c::kvm_mmu_calculate_default_mmu_pages)."""
    return max(LEAST_LIMIT, n_pages * SHARE_PERMILLE // 1000)


def shadow_pages(n_pages: int) -> int:
    """Shadow pages of an address space that maps ``n_pages`` in a row, 4 KiB each: tables of each level, and a root."""
    found, entries = 1, n_pages
    for _ in range(1, LEVELS):
        entries = -(-entries // ENTRIES)
        found += entries
    return found


@dataclass
class RecyclingCounts:
    """KVM's counters. faults: pf_taken; allocated: mmu_cache_miss; recycled: mmu_recycled; flushes: of batches zapped."""

    faults: int = 0
    allocated: int = 0
    recycled: int = 0
    flushes: int = 0

    def __sub__(self, before: RecyclingCounts) -> RecyclingCounts:
        """Counts since ``before``."""
        return RecyclingCounts(*(mine - theirs for mine, theirs in zip(self.as_tuple(), before.as_tuple(), strict=True)))

    def as_tuple(self) -> tuple[int, int, int, int]:
        """(faults, allocated, recycled, flushes)."""
        return self.faults, self.allocated, self.recycled, self.flushes


class ShadowPages:
    """The shadow pages of a VM with one vCPU and 4 KiB pages; the host has all of its memory, and no slot is logged.

    limit: most shadow pages (n_max_mmu_pages), 64 or more.
    """

    # Model limit: processes of a guest share no page tables; KVM keeps one shadow page for a table that several use.
    # Model limit: of page tables with fewer than 512 entries, and of large pages, nothing is known.

    def __init__(self, limit: int) -> None:
        assert limit >= LEAST_LIMIT, "KVM refuses less (x86.c::kvm_vm_ioctl_set_nr_mmu_pages)"
        self.limit, self.counts = limit, RecyclingCounts()
        self._pages: dict[Key, set[int]] = {}
        """Oldest first (active_mmu_pages); of each its entries: numbers of lower tables, of a lowest one groups of pages."""
        self._roots: deque[int] = deque(maxlen=ROOTS)

    @property
    def used(self) -> int:
        """Shadow pages there are (n_used_mmu_pages)."""
        return len(self._pages)

    def load(self, space: int) -> None:
        """Load CR3: the root of ``space`` is found, or allocated (mmu.c::kvm_mmu_load)."""
        if space in self._roots:
            self._roots.remove(space)
        self._roots.append(space)
        if _root(space) not in self._pages:
            self._make_room()
            self._allocate(_root(space))

    def touch(self, space: int, page: int) -> bool:
        """Access virtual ``page`` of the loaded ``space``; returns whether that was a fault."""
        assert self._roots[-1] == space, "the space is loaded"
        group = page // GROUP_PAGES
        path = _path(space, page)
        if self._maps(path, (group,)):
            return False
        self.counts.faults += 1
        self._make_room()
        for above, below in pairwise(path):
            if below[2] not in self._pages[above]:
                # Zapping a table leaves those below it: they are found by the guest's table again, with their sptes.
                if below not in self._pages:
                    self._allocate(below)
                self._pages[above].add(below[2])
        self._pages[path[-1]].add(group)
        return True

    def sweep(self, space: int, first: int, n_pages: int, code: Sequence[int] = ()) -> RecyclingCounts:
        """Access ``n_pages`` from virtual page ``first`` on, in order; returns the counts.

        code: pages that the guest needs for each access: its instructions.
        """
        before = RecyclingCounts(*self.counts.as_tuple())
        page, end = first, first + n_pages
        while page < end:
            region_end = min(end, (page // ENTRIES + 1) * ENTRIES)
            self._sweep_region(space, page, region_end, code)
            page = region_end
        return self.counts - before

    def _sweep_region(self, space: int, first: int, end: int, code: Sequence[int]) -> None:
        path = _path(space, first)
        groups = range(first // GROUP_PAGES, -(-end // GROUP_PAGES))
        if self._maps(path, groups) and all(self._maps(_path(space, page), (page // GROUP_PAGES,)) for page in code):
            return
        for group in groups:
            before = self.counts.allocated, self.counts.recycled
            is_fault = self.touch(space, max(first, group * GROUP_PAGES))
            for page in code:
                self.touch(space, page)
            # A fault that neither allocated nor recycled is followed by others that do neither, up to the table's end.
            if is_fault and (self.counts.allocated, self.counts.recycled) == before:
                mapped = self._pages[path[-1]]
                missing = [other for other in range(group + 1, groups.stop) if other not in mapped]
                mapped.update(missing)
                self.counts.faults += len(missing)
                return

    def _maps(self, path: Sequence[Key], groups: Sequence[int]) -> bool:
        """Whether a walk from the root comes to the lowest table of ``path``, which maps ``groups``."""
        pages = self._pages
        reaches = all(above in pages and below[2] in pages[above] for above, below in pairwise(path))
        return reaches and pages[path[-1]].issuperset(groups)

    def _allocate(self, key: Key) -> None:
        self._pages[key] = set()
        self.counts.allocated += 1

    def _make_room(self) -> None:
        """Zap the oldest shadow pages if few are left; roots in use stay."""
        free = max(0, self.limit - self.used)
        if free >= MIN_FREE:
            return
        in_use = {_root(space) for space in self._roots}
        goes: list[Key] = []
        for key in self._pages:
            if len(goes) == REFILL - free:
                break
            if key not in in_use:
                goes.append(key)
        for key in goes:
            del self._pages[key]
            space, level, number = key
            if level < LEVELS:
                self._pages.get((space, level + 1, number >> TOP_BITS), set()).discard(number)
        self.counts.recycled += len(goes)
        self.counts.flushes += 1


def _root(space: int) -> Key:
    return space, LEVELS, 0


def _path(space: int, page: int) -> list[Key]:
    """Tables of ``page``, from the root down."""
    return [(space, level, page >> TOP_BITS * level) for level in range(LEVELS, 0, -1)]
