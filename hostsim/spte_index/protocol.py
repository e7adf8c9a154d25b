"""The protocol of an index of sptes: the calls that KVM makes, and the three primitives that a design supplies for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.tables import STREAMS, SpteTables, table_bytes
from hostsim.spte_index.walk import CLEAR_YOUNG, PROTECT, TEST_YOUNG, ZAP, Walk, grant_writes, note_slots
from hostsim.spte_index.work import LOCKS, N_WORK, OPERATIONS, ZAPPED, forget_lines, make_work

Bits = NDArray[np.uint8]
Gfns = NDArray[np.int64]
SpteNumbers = NDArray[np.int64]
NO_BITS = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Slot:
    """A memslot: gfns [first, end), multiples of 512. Slots of a VM follow each other without a gap from gfn 0."""

    first: int
    end: int

    @property
    def n_pages(self) -> int:
        """Pages of 4 KiB."""
        return self.end - self.first


@dataclass(frozen=True)
class Traits:
    """Where the answers of a design differ from those of the other designs, by design and not by defect.

    sees_young: ageing finds accessed bits.
    protects_by_zapping: write protection unmaps.
    keeps_bits: accessed and dirty bits outlive an unmapping, in a word of the page.
    zaps_all_on_delete: deleting a slot zaps the sptes of all slots.
    recycle: a gfn with more sptes than this loses them all at once; 0: never.
    cap: a vCPU with this many sptes loses them all before its next one is mapped; 0: no cap.
    one_spte: a gfn has at most one spte.
    has_notifiers: the host may unmap and age pages; False: guest pages are pinned.
    logs_by_hardware: the harvest reads dirty bits, so nothing has to be write-protected.
    hashed: sptes lie in a hash table, not in page tables.
    links: under which lock a fault links its spte: "mmu_lock" held exclusively, the "word" lock of the gfn, or "nothing" is
    linked, since the fault has walked the page table down to the spte anyway.
    links_writes: a write-protection fault links its spte, too.
    """

    sees_young: bool = True
    protects_by_zapping: bool = False
    keeps_bits: bool = False
    zaps_all_on_delete: bool = False
    recycle: int = 0
    cap: int = 0
    one_spte: bool = False
    has_notifiers: bool = True
    logs_by_hardware: bool = False
    hashed: bool = False
    links: Literal["mmu_lock", "word", "nothing"] = "mmu_lock"
    links_writes: bool = False

    def but(self, **changes: Any) -> Traits:
        """These traits with ``changes``."""
        return replace(self, **changes)


class BaseIndex(ABC):
    """Finds sptes by gfn, changes them in ``tables``, and counts the cache lines, locks and allocations of each call.

    Each call is one operation under one lock, made of the primitives ``place``, ``remove`` and ``apply`` of the design. A
    call that returns a number returns how many sptes it changed.

    tables: the sptes, changed in place.
    slots: of the VM, in the order of their gfns.
    work: int64[N_WORK], counts since the start of work under the lock.
    background: int64[N_WORK], counts of work that was put off until the lock was dropped.
    gone: numbers of deleted slots.
    fast_zap: whether zapping all sptes is put off until the lock is dropped.
    """

    name: ClassVar[str] = ""
    notes_slots: ClassVar[bool] = False
    """Tables know of which slots they hold sptes (kvm_mmu_page.slot_bitmap)."""
    harvests_slots: ClassVar[bool] = False
    """A harvest protects the whole slot if any page of the slot is dirty; else it looks up each dirty page."""
    link_bytes: ClassVar[int] = 0
    """Bytes a page of the arrays in which this program keeps heads and links, as the host that runs it has to hold them."""
    traits: Traits = Traits()

    def __init__(self, tables: SpteTables, slots: Sequence[Slot]) -> None:
        self.tables, self.slots = tables, tuple(slots)
        self.first = np.array([*(slot.first for slot in slots), slots[-1].end], np.int64)
        assert self.first[0] == 0
        assert all(slot.end == after for slot, after in zip(slots, self.first[1:], strict=True))
        self.work, self.background = make_work(), make_work()
        self.gone: set[int] = set()
        self.fast_zap = False
        self._zapped = np.empty(len(tables.flags), np.int32)

    @property
    def n_pages(self) -> int:
        """Pages of all slots."""
        return int(self.first[-1])

    @property
    def zapped(self) -> NDArray[np.int32]:
        """Sptes that the last call zapped, in the order in which it zapped them."""
        return self._zapped[: int(self.work[ZAPPED])]

    def kept_pages(self) -> int:
        """Pages of the slots that have not been deleted."""
        return sum(slot.n_pages for i, slot in enumerate(self.slots) if i not in self.gone)

    def slots_of(self, first: int, end: int) -> range:
        """Slots that hold a gfn of [first, end)."""
        low, high = np.searchsorted(self.first, [first, end - 1], side="right")
        return range(int(low) - 1, int(high))

    # The three primitives of a design.

    @abstractmethod
    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Set ``sptes``, all absent, to map ``gfns`` with ``flags``, and link them.

        sptes: int64[n], numbers of sptes in ``tables``.
        gfns: int64[n], the first gfn that each spte maps.
        flags: PRESENT, WRITABLE, DIRTY and ACCESSED as bits, for all of ``sptes``.
        walk: the call, for its counts; an index that recycles sptes zaps them through it.
        """

    @abstractmethod
    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Unlink and zap ``sptes``, int64[n]; ``walk`` is the call, whose action is ZAP."""

    @abstractmethod
    def apply(self, walk: Walk) -> int:
        """Find the sptes of the gfns of ``walk`` and do its action to them; returns how many sptes were changed."""

    # A call.

    def begin(self, action: int, first: int = 0, end: int = 0, mask: Bits = NO_BITS, young: Bits = NO_BITS) -> Walk:
        """Begin a call: count one operation under the lock; returns the Walk that the primitives take.

        action: ZAP, CLEAR_YOUNG, TEST_YOUNG or PROTECT of walk.py.
        first, end: the call is for gfns [first, end).
        mask: uint8[end - first], 1 for the gfns that are meant; empty: all.
        young: uint8[end - first], set to 1 for young gfns, in place; empty where the call does not age.
        """
        return self.call(Walk(action, first, end, mask, young, self._zapped, self.work))

    def call(self, walk: Walk) -> Walk:
        """Count one operation and its lock round trips; no cache line has been looked at yet."""
        self._forget_lines(walk.work)
        walk.work[ZAPPED] = 0
        walk.work[OPERATIONS] += 1
        walk.work[LOCKS] += self.locks(walk.action)
        return walk

    def _forget_lines(self, work: NDArray[np.int64]) -> None:
        """Make the next line of every structure a dependent one, in place: the guest has run since the last call."""
        forget_lines(work)
        self.tables.clock[0] += STREAMS

    def locks(self, action: int) -> int:  # noqa: ARG002  one design takes other locks to age
        """Lock round trips of a call that does ``action``."""
        return 1

    def map(self, sptes: SpteNumbers, gfns: Gfns, flags: int) -> None:
        """Set ``sptes``, all absent, to map ``gfns`` with ``flags``."""
        self.place(sptes, gfns, flags, self.begin(ZAP, 0, self.n_pages))
        if self.notes_slots:
            note_slots(self.tables, sptes, self.first)

    def make_writable(self, sptes: SpteNumbers) -> None:
        """Take a write-protection fault at each of ``sptes``: W, D and A are set."""
        grant_writes(self.tables, sptes, self.begin(PROTECT).work)

    def drop(self, sptes: SpteNumbers) -> None:
        """Zap ``sptes``, since the guest has changed its page table."""
        self.remove(sptes, self.begin(ZAP, 0, self.n_pages))

    def unmap(self, first: int, end: int) -> int:
        """Zap all sptes that map a gfn of [first, end): kvm_unmap_gfn_range."""
        return self.apply(self.begin(ZAP, first, end))

    def clear_young(self, first: int, end: int, young: Bits) -> int:
        """Test and clear accessed bits: kvm_age_gfn. young: uint8[end - first], set to 1 for young gfns, in place."""
        return self.apply(self.begin(CLEAR_YOUNG, first, end, young=young))

    def test_young(self, first: int, end: int, young: Bits) -> int:
        """Test accessed bits: kvm_test_age_gfn. young: uint8[end - first], set to 1 for young gfns, in place."""
        return self.apply(self.begin(TEST_YOUNG, first, end, young=young))

    def age_calls(self, firsts: Gfns, ends: Gfns, young: Bits, rows: NDArray[np.int64], *, clears: bool) -> None:
        """Make one ageing call for each range of gfns [firsts[i], ends[i]), in turn.

        young: uint8[ends.max() - firsts.min()], set to 1 for young gfns, in place.
        rows: int64[calls, N_WORK], filled in place with the counts that each call added to ``work``.
        clears: accessed bits are cleared, too.
        """
        low, high = int(firsts.min()), int(ends.max())
        action = CLEAR_YOUNG if clears else TEST_YOUNG
        self.apply_each(Walk(action, low, high, NO_BITS, young, self._zapped, self.work), firsts, ends, rows)

    def apply_each(self, walk: Walk, firsts: Gfns, ends: Gfns, rows: NDArray[np.int64]) -> None:
        """Make one call for each range of gfns [firsts[i], ends[i]) of ``walk``, in turn.

        A design that gets many calls replaces this loop by a compiled one.

        walk: action, and ``young`` for the gfns from the lowest of ``firsts`` on.
        firsts, ends: int64[calls].
        rows: int64[calls, N_WORK], filled in place with the counts that each call added to ``work``.
        """
        for i, (first, end) in enumerate(zip(firsts.tolist(), ends.tolist(), strict=True)):
            before = walk.work.copy()
            young = walk.young[first - walk.first : end - walk.first]
            self.apply(self.call(walk._replace(first=first, end=end, young=young)))
            rows[i] = walk.work - before

    def protect_slot(self, slot: int) -> int:
        """Take W from all sptes of a slot: kvm_mmu_slot_remove_write_access."""
        return self.apply(self.protecting(slot))

    def protecting(self, slot: int) -> Walk:
        """Begin a call that takes W from all sptes of a slot."""
        return self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end)

    def protect_masked(self, first: int, mask: Bits) -> int:
        """Take W from the sptes of the gfns first + i with mask[i] set: kvm_mmu_write_protect_pt_masked."""
        return self.apply(self.begin(PROTECT, first, first + len(mask), mask))

    def harvest(self, slot: int, dirty: Bits) -> int:
        """Do the design's part of GET_DIRTY_LOG: the next write to each dirty page is seen.

        dirty: uint8[pages of the slot], the log of the slot; a design that logs by hardware fills it, in place.
        """
        if self.harvests_slots:
            return self.protect_slot(slot) if dirty.any() else 0
        return self.protect_masked(self.slots[slot].first, dirty)

    def start_log(self, slot: int) -> int:
        """Begin logging a slot: no spte of the slot stays writable."""
        return self.protect_slot(slot)

    def stop_log(self, slot: int) -> None:  # noqa: B027  most designs keep nothing for a log
        """End logging a slot: by default nothing was kept for the log."""

    def zap_all(self) -> int:
        """Zap all sptes (kvm_mmu_zap_all), with ``fast_zap`` after the lock is dropped."""
        return self.zap_all_later() if self.fast_zap else self.apply(self.begin(ZAP, 0, self.n_pages))

    def zap_all_later(self) -> int:
        """Zap all sptes after the lock is dropped (kvm_mmu_zap_all_fast): the call itself makes the roots obsolete only."""
        walk = self.begin(ZAP, 0, self.n_pages)
        self._forget_lines(self.background)
        self.background[ZAPPED] = 0
        zapped = self.apply(walk._replace(work=self.background[:N_WORK]))
        self.work[ZAPPED] = self.background[ZAPPED]
        return zapped

    def delete_slot(self, slot: int) -> int:
        """Delete a slot with its sptes, and with the heads that the index keeps for the slot."""
        zapped = self.move_slot(slot)
        self.gone.add(slot)
        return zapped

    def move_slot(self, slot: int) -> int:
        """Give a slot other gfns: KVM zaps as for a slot that is deleted and made anew."""
        return self.zap_all() if self.traits.zaps_all_on_delete else self._zap_slot(slot)

    def _zap_slot(self, slot: int) -> int:
        return self.unmap(self.slots[slot].first, self.slots[slot].end)

    # Memory.

    def bytes_used(self) -> dict[str, int]:
        """Bytes of the kernel's structures by name; "tables" are the sptes themselves."""
        return {**self.index_bytes(), "tables": table_bytes(self.tables)}

    def index_bytes(self) -> dict[str, int]:
        """Bytes of the index without the sptes."""
        return {}

    @classmethod
    def array_bytes(cls, n_pages: int, n_vcpus: int) -> int:  # noqa: ARG003  one design keeps nodes for each vCPU
        """Bytes that this program takes for heads and links of ``n_pages``."""
        return n_pages * cls.link_bytes
