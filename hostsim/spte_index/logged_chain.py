"""A chain of the sptes of a slot that exists while the slot is logged, beside another index for all else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.spte_index.chains import ChainedIndex, Chains, free_chain, link, link_all
from hostsim.spte_index.protocol import BaseIndex, Bits, Gfns, Slot, SpteNumbers
from hostsim.spte_index.rmap import RmapIndex
from hostsim.spte_index.shadow_walk import TableScanIndex
from hostsim.spte_index.spte import WRITABLE
from hostsim.spte_index.tables import ENTRIES, SpteTables
from hostsim.spte_index.walk import HEADER_LINES, PROTECT, Walk, act, look, look_in_table, meets
from hostsim.spte_index.work import PAGES, VISITED
from hostsim.spte_index.writable_chain import WritableChainIndex

# The loops.


@jit
def link_slot(tables: SpteTables, chains: Chains, walk: Walk, slot_bits: int, writable_only: bool) -> int:
    """Take W from the sptes of a slot whose log begins, and give each spte a node; returns the number of sptes that lost W.

    ``tables``, ``chains`` and ``walk`` change in place. ``walk``: begun with PROTECT for the gfns of the slot.
    slot_bits: the bit of the slot, as tables note it.
    writable_only: no spte gets a node, since none stays writable.
    """
    changed = 0
    for i in range(tables.n_active[0]):
        table = int(tables.active[i])
        look(walk.work, PAGES, table * HEADER_LINES)
        walk.work[VISITED] += 1
        if tables.slots[table] & slot_bits == 0:
            continue
        for spte in range(table * ENTRIES, (table + 1) * ENTRIES):
            if spte & 7 == 0:
                look_in_table(tables, table, (spte & 511) >> 3, walk.work)
            walk.work[VISITED] += 1
            if tables.flags[spte] != 0 and meets(tables, walk, spte):
                walk.work[VISITED] -= 1  # act counts the visit again
                changed += act(tables, walk, spte)
                if not writable_only:
                    link(tables, chains, spte, walk.work)
    return changed


# The designs.


class LoggedChainIndex(WritableChainIndex):
    """A chain of all sptes of a slot, built when its log begins and freed when it ends; ``partner`` for the other slots."""

    name: ClassVar[str] = "logged-chain"
    notes_slots: ClassVar[bool] = True
    writable_only: ClassVar[bool] = False
    """The chain holds the writable sptes alone."""
    traits = RmapIndex.traits

    def __init__(self, tables: SpteTables, slots: Sequence[Slot]) -> None:
        super().__init__(tables, slots)
        self.logged: set[int] = set()

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Map ``sptes`` to ``gfns`` with ``flags`` through the partner, and chain the sptes of a logged slot."""
        self.partner.place(sptes, gfns, flags, walk)
        if not self.writable_only or flags & WRITABLE:
            self._link(sptes, gfns)
        self._forget_zapped(walk)

    def _link(self, sptes: SpteNumbers, gfns: Gfns | NDArray[np.int32]) -> None:
        for slot in sorted(self.logged):
            inside = (gfns >= self.slots[slot].first) & (gfns < self.slots[slot].end)
            link_all(self.tables, self.chains, sptes[inside], self.writable_only, self.work)

    def make_writable(self, sptes: SpteNumbers) -> None:
        """Take the faults; a chain of writable sptes gets the sptes of a logged slot."""
        BaseIndex.make_writable(self, sptes)
        if self.writable_only:
            self._link(sptes, self.tables.gfn[sptes])

    def apply(self, walk: Walk) -> int:
        """Walk the chain to protect gfns of logged slots; let the partner do all else."""
        if walk.action != PROTECT:
            return super().apply(walk)
        wanted = self.slots_of(walk.first, walk.end)
        if all(slot in self.logged for slot in wanted):
            return self.walk_slots(walk, let_go=self.writable_only)
        return self.partner.apply(walk)

    def protect_slot(self, slot: int) -> int:
        """Walk the chain if the slot is logged; else let the partner protect."""
        walk = self.protecting(slot)
        if slot in self.logged:
            return self.walk_slots(walk, whole=True, let_go=self.writable_only)
        return self.partner.apply(walk)

    def harvest(self, slot: int, dirty: Bits) -> int:
        """Walk the chain if any page of the slot is dirty."""
        return self.protect_slot(slot) if dirty.any() else 0

    def start_log(self, slot: int) -> int:
        """Read the tables of the slot, take W, and build the chain on the way."""
        self.logged.add(slot)
        return link_slot(self.tables, self.chains, self.protecting(slot), 1 << slot, self.writable_only)

    def stop_log(self, slot: int) -> None:
        """Free the chain."""
        self.logged.discard(slot)
        free_chain(self.chains, slot, self.begin(PROTECT).work)


class LoggedWritableChainIndex(LoggedChainIndex):
    """A chain of the writable sptes of a logged slot; no index beside it, so unmapping and ageing read all tables."""

    name: ClassVar[str] = "logged-writable-chain"
    partner_kind: ClassVar[type[BaseIndex]] = TableScanIndex
    link_bytes: ClassVar[int] = ChainedIndex.link_bytes + TableScanIndex.link_bytes
    writable_only: ClassVar[bool] = True
    traits = TableScanIndex.traits.but(links="mmu_lock", links_writes=True)
