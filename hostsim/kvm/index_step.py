"""An index beside an engine: it repeats, without time, the changes that the guest and its ageing made to sptes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InvariantError
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.loops.layout import ZAPS
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.spte import DIRTY, PRESENT, TRACKED, WRITABLE
from hostsim.spte_index.tables import ACCESSED

Gfns = NDArray[np.int64]
Mask = NDArray[np.bool_]
Bits = NDArray[np.uint8]
PORTION_PAGES = 4096


def map_in_portions(index: BaseIndex, gfns: Gfns, flags: int) -> None:
    """Map ``gfns``, int64[n], with ``flags`` in ``index``, PORTION_PAGES at a time; the number of an spte is its gfn.

    An rmap allocates a descriptor for every spte of a call, and an index of one spte a gfn needs none: small calls save
    memory.
    """
    for first in range(0, len(gfns), PORTION_PAGES):
        some = gfns[first : first + PORTION_PAGES]
        index.map(some, some, flags)


class InStep:
    """Keeps ``index`` in the state of ``engine``; the number of an spte is its gfn. InvariantError where they differ.

    A change by the host reaches the index at the call of the index, under mmu_lock, and reaches the engine at the end of the
    hold or of the flush. InStep does not compare an spte between the two moments.
    owns_log: InStep is the only reader of the engine's log of exits, and empties the log at each read.
    """

    def __init__(self, design: str, index: BaseIndex, engine: GuestEngine, *, owns_log: bool) -> None:
        self.design, self.index, self.engine = design, index, engine
        self._owns_log, self._read = owns_log, 0
        self._late: Gfns = np.zeros(0, np.int64)
        """Gfns whose change only the index or only the engine has made."""
        self._due: Bits = np.zeros(0, np.uint8)
        self._starts, self._begun, self._emptied = False, False, 0
        self._seen = np.zeros(len(index.tables.flags), np.bool_)

    @property
    def flag(self) -> int:
        """The flag that a harvest clears in an spte."""
        return DIRTY if self.index.traits.logs_by_hardware else WRITABLE

    def log_starts(self) -> None:
        """Note that the index has cleared the flag of all sptes, or its D bits, and that the engine will follow."""
        self._starts = True

    def log_stops(self) -> None:
        """Note that the log is switched off."""
        self._starts = False

    def one_harvest_is_over(self) -> None:
        """Note that slots_lock lets the next harvest begin, which may reuse the array of the previous harvest."""
        self._due = np.zeros(0, np.uint8)

    def harvests(self, due: Bits) -> None:
        """Note that the index has cleared the flag of ``due``; the engine will follow, and sets ``due`` to 0 then."""
        self._due = due

    def follow(self, first: int = 0, end: int | None = None) -> None:
        """Repeat the changes by faults since the last call: first mapped pages, then pages made writable.

        first, end: gfns to search for changes without a logged fault; all by default.
        """
        # Model limit: of one interval between two calls all pages that were mapped are linked before those made writable.
        gfns = self._candidates(first, len(self._seen) if end is None else end)
        theirs = self.engine.kvm.sptes.spte[gfns]
        gone, waits = self._goes(gfns), self._waits(gfns)
        differs = (theirs ^ self.index.tables.flags[gfns]) & (PRESENT | self.flag) != 0
        self._late = gfns[differs & (gone | waits)]
        self._lose(gfns[~gone], theirs[~gone])
        self._gain(gfns[~gone], theirs[~gone], waits[~gone])
        self._check(gfns[~gone], theirs[~gone], waits[~gone])
        self._begun = True

    def set_young(self, first: int, end: int, young: Bits) -> Bits:
        """Set the index's A bits of [first, end) to ``young``; return uint8[end - first], the mapped young pages."""
        flags = self.index.tables.flags[first:end]
        is_young = (flags != 0) & (young == 1)
        flags &= ~np.uint8(ACCESSED)
        flags[is_young] |= ACCESSED
        return np.asarray(is_young, np.uint8)

    # -- pages

    def _candidates(self, first: int, end: int) -> Gfns:
        """Pages with a fault, by their last fault, oldest first; then other differing pages of [first, end), ascending."""
        pages, is_complete = self._faults()
        emptied = int(self.engine.kvm.state.emptied)
        if not is_complete or emptied != self._emptied or not self._begun:
            first, end = 0, len(self._seen)
        self._emptied = emptied
        unlike = (self.engine.kvm.sptes.spte[first:end] ^ self.index.tables.flags[first:end]) & (PRESENT | self.flag)
        rest = first + np.flatnonzero(unlike)
        self._seen[pages] = True
        rest = rest[~self._seen[rest]]
        self._seen[pages] = False
        return np.concatenate([pages, rest])

    def _faults(self) -> tuple[Gfns, bool]:
        """(pages by their last fault since the previous call, behind pages left alone then; whether the log is complete)."""
        kvm = self.engine.kvm
        n = int(kvm.state.logged_exits)
        pages = np.concatenate([self._late, kvm.log["page"][self._read : n]])
        is_complete = n < len(kvm.log)
        self._read = 0 if self._owns_log else n
        if self._owns_log:
            kvm.state.logged_exits = 0
        found, from_end = np.unique(pages[::-1], return_index=True)
        return found[np.argsort(-from_end)], is_complete

    def _goes(self, gfns: Gfns) -> Mask:
        """bool[k]: ``gfns`` that the index has unmapped and the engine will unmap; no fault maps them meanwhile."""
        state = self.engine.kvm.state
        if self.index.traits.protects_by_zapping and self._harvest_is_under_way():
            return np.ones(len(gfns), np.bool_)
        if state.invalidate_in_progress == 0:
            return np.zeros(len(gfns), np.bool_)
        return np.asarray((gfns >= state.invalidate_first) & (gfns < state.invalidate_end))

    def _harvest_is_under_way(self) -> bool:
        return self._log_is_to_start() or bool(self._due.any())

    def _log_is_to_start(self) -> bool:
        return self._starts and self.engine.kvm.state.is_logged == 0

    def _waits(self, gfns: Gfns) -> Mask:
        """bool[k]: ``gfns`` whose flag the index has cleared and the engine will clear."""
        if self._log_is_to_start():
            return np.ones(len(gfns), np.bool_)
        waits = np.zeros(len(gfns), np.bool_)
        inside = gfns < len(self._due)
        waits[inside] = self._due[gfns[inside]] == 1
        return waits

    # -- changes

    def _lose(self, gfns: Gfns, theirs: Bits) -> None:
        """Clear W where ageing cleared it; drop sptes that ageing, a cap, or the host before the run has unmapped."""
        state, flags = self.engine.kvm.state, self.index.tables.flags
        aged = gfns[(theirs & TRACKED != 0) & (flags[gfns] & WRITABLE != 0)]
        flags[aged] &= ~np.uint8(WRITABLE)
        is_extra = (theirs & PRESENT == 0) & (flags[gfns] != 0)
        if not self._begun:  # a page that the host took before the run may be mapped again, with fewer flags
            is_extra |= flags[gfns] & ~theirs & self.flag != 0
        if is_extra.any() and (state.ageing == ZAPS or state.cap_sptes > 0 or not self._begun):
            self.index.drop(gfns[is_extra])

    def _gain(self, gfns: Gfns, theirs: Bits, waits: Mask) -> None:
        flags, by_hardware = self.index.tables.flags, self.index.traits.logs_by_hardware
        writable = (theirs & WRITABLE != 0) & (by_hardware | ~waits)
        absent = (theirs & PRESENT != 0) & (flags[gfns] == 0)
        map_in_portions(self.index, gfns[absent & writable], PRESENT | ACCESSED | WRITABLE)
        map_in_portions(self.index, gfns[absent & ~writable], PRESENT | ACCESSED)
        if by_hardware:
            written = gfns[(theirs & PRESENT != 0) & (theirs & DIRTY != 0) & ~waits]
            flags[written] |= DIRTY
        elif len(granted := gfns[writable & (flags[gfns] & WRITABLE == 0)]):
            self.index.make_writable(granted)

    def _check(self, gfns: Gfns, theirs: Bits, waits: Mask) -> None:
        wanted = np.where(waits, PRESENT, PRESENT | self.flag)
        wrong = np.flatnonzero((theirs ^ self.index.tables.flags[gfns]) & wanted)
        if len(wrong):
            raise InvariantError(f"{self.design}: gfn {gfns[wrong[0]]} is mapped otherwise in the index than in the VM")
