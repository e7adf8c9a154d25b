"""Twin of all indexes of sptes: a dictionary of sptes and sets of them by gfn, with nothing to find fast."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hostsim.spte_index.protocol import Slot, Traits
from hostsim.spte_index.spte import DIRTY, WRITABLE
from hostsim.spte_index.tables import ACCESSED


@dataclass
class TwinSpte:
    gfn: int
    n_pages: int
    flags: int
    vcpu: int

    def gfns(self) -> range:
        return range(self.gfn, self.gfn + self.n_pages)


@dataclass
class TwinIndex:
    """Every answer of an index with ``traits``, by looking at all there is."""

    slots: tuple[Slot, ...]
    traits: Traits
    sptes: dict[int, TwinSpte] = field(default_factory=dict)
    of_gfn: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    saved: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def map(self, sptes: list[tuple[int, TwinSpte]]) -> None:
        for number, spte in sptes:
            if self.traits.cap:
                same_vcpu = [n for n, other in self.sptes.items() if other.vcpu == spte.vcpu]
                self._zap(same_vcpu if len(same_vcpu) == self.traits.cap else [])
            self.sptes[number] = spte
            for gfn in spte.gfns():
                self.of_gfn[gfn].add(number)
            same_head = [n for n in self.of_gfn[spte.gfn] if self.sptes[n].n_pages == spte.n_pages]
            if self.traits.recycle and len(same_head) > self.traits.recycle:
                self._zap(same_head)

    def make_writable(self, numbers: list[int]) -> None:
        for number in numbers:
            self.sptes[number].flags |= WRITABLE | DIRTY | ACCESSED

    def drop(self, numbers: list[int]) -> None:
        self._zap(numbers)

    def unmap(self, first: int, end: int) -> int:
        return self._zap(self._of(range(first, end)))

    def ages(self, first: int, end: int, *, clear: bool) -> tuple[int, set[int]]:
        """Sptes (or words) that were young, and young gfns."""
        if not self.traits.sees_young:
            return 0, set()
        found, young = 0, set()
        for number in self._of(range(first, end)):
            spte = self.sptes[number]
            if spte.flags & ACCESSED:
                found += 1
                young |= {gfn for gfn in spte.gfns() if first <= gfn < end}
                spte.flags &= ~ACCESSED if clear else -1
        for gfn in range(first, end):
            if self.saved[gfn] & ACCESSED:
                found += 1
                young.add(gfn)
                self.saved[gfn] &= ~ACCESSED if clear else -1
        return found, young

    def protect(self, gfns: set[int]) -> int:
        found = self._of(gfns)
        if self.traits.protects_by_zapping:
            return self._zap(found)
        changed = [self.sptes[n] for n in found if self.sptes[n].flags & WRITABLE]
        for spte in changed:
            spte.flags &= ~WRITABLE
        return len(changed)

    def harvest(self, slot: int, log: set[int]) -> tuple[int, set[int]]:
        """The result of the call, and the pages that it marks as dirty."""
        pages = range(self.slots[slot].first, self.slots[slot].end)
        if self.traits.logs_by_hardware:
            dirty = self._read_dirty(pages)
            return len(dirty), dirty
        if self.traits.protects_by_zapping:
            return (self.protect(set(pages)) if log else 0), log
        return self.protect(log), log

    def _read_dirty(self, pages: range) -> set[int]:
        dirty = {gfn for gfn in pages if self.saved[gfn] & DIRTY}
        dirty |= {self.sptes[n].gfn for n in self._of(pages) if self.sptes[n].flags & DIRTY}
        for gfn in pages:
            self.saved[gfn] &= ~DIRTY
        for number in self._of(pages):
            self.sptes[number].flags &= ~DIRTY
        return dirty

    def start_log(self, slot: int) -> int:
        pages = range(self.slots[slot].first, self.slots[slot].end)
        if self.traits.logs_by_hardware:
            return len(self._read_dirty(pages))
        return self.protect(set(pages))

    def zap_all(self) -> int:
        return self._zap(list(self.sptes))

    def move_slot(self, slot: int) -> int:
        if self.traits.zaps_all_on_delete:
            return self.zap_all()
        return self.unmap(self.slots[slot].first, self.slots[slot].end)

    def _of(self, gfns: set[int] | range) -> list[int]:
        return sorted({number for gfn in gfns for number in self.of_gfn[gfn]})

    def _zap(self, numbers: list[int]) -> int:
        for number in numbers:
            spte = self.sptes.pop(number)
            for gfn in spte.gfns():
                self.of_gfn[gfn].discard(number)
            if self.traits.keeps_bits:
                self.saved[spte.gfn] |= spte.flags & (ACCESSED | DIRTY)
        return len(numbers)
