"""Walks over the shadow pages themselves: x86 of 2008-2011, the hybrid of 2011, and a design with no index at all.

Linux 2.6.35 arch/x86/kvm/mmu.c::kvm_mmu_slot_remove_write_access; hybrid: commit 95d4c16ce78c.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit
from hostsim.spte_index.protocol import BaseIndex, Bits, Gfns, SpteNumbers, Traits
from hostsim.spte_index.rmap import RmapIndex
from hostsim.spte_index.tables import ENTRIES, SpteTables
from hostsim.spte_index.walk import HEADER_LINES, Walk, act, look, look_in_table, meets, set_spte
from hostsim.spte_index.work import PAGES, VISITED

Ints = NDArray[np.int64]

# The loops.


@jit
def walk_tables(tables: SpteTables, walk: Walk, slot_bits: int) -> int:
    """Act on every spte that maps a gfn of the call, in tables that hold sptes of the slots in ``slot_bits``.

    slot_bits: bit i for slot i; -1: all tables.
    Returns how many sptes were changed.
    """
    changed = 0
    for i in range(tables.n_active[0]):
        table = int(tables.active[i])
        look(walk.work, PAGES, table * HEADER_LINES)
        walk.work[VISITED] += 1
        if tables.slots[table] & slot_bits != 0:
            changed += walk_table(tables, table, walk)
    return changed


@inlined
def walk_table(tables: SpteTables, table: int, walk: Walk) -> int:
    """Read all 64 lines of ``table``, also where it maps nothing; returns the number of sptes that ``walk`` changed.

    ``tables`` changes in place.
    """
    changed = 0
    for spte in range(table * ENTRIES, (table + 1) * ENTRIES):
        if spte & 7 == 0:
            look_in_table(tables, table, (spte & 511) >> 3, walk.work)
        walk.work[VISITED] += 1
        if tables.flags[spte] != 0 and meets(tables, walk, spte):
            walk.work[VISITED] -= 1  # act counts the visit again
            changed += act(tables, walk, spte)
    return changed


@jit
def map_in_tables(tables: SpteTables, sptes: Ints, gfns: Ints, flags: int, work: Ints) -> None:
    """Map ``sptes``, all absent, to ``gfns`` with ``flags``; nothing is linked. ``tables`` and ``work`` change in place."""
    for i in range(len(sptes)):
        set_spte(tables, int(sptes[i]), int(gfns[i]), flags, work)


@jit
def drop_in_tables(tables: SpteTables, sptes: Ints, walk: Walk) -> None:
    """Zap each of ``sptes``; nothing is unlinked. ``tables`` and ``walk`` change in place."""
    for spte in sptes:
        act(tables, walk, int(spte))


# The designs.


class ShadowWalkIndex(RmapIndex):
    """x86 of 2008-2011: the rmap for notifiers; write protection reads all active shadow pages that hold sptes of the slot.

    # Model limit: 2.6.35 took W from every spte of such a table; here sptes of another slot in that table keep W.
    """

    name: ClassVar[str] = "shadow-walk"
    harvests_slots: ClassVar[bool] = True
    notes_slots: ClassVar[bool] = True

    def protect_slot(self, slot: int) -> int:
        """Read the tables that hold sptes of the slot."""
        return walk_tables(self.tables, self.protecting(slot), 1 << slot)

    def index_bytes(self) -> dict[str, int]:
        """The bytes of the rmap, and in the header of each table a bit for each slot, in whole words."""
        words = -(-len(self.slots) // 64)
        return {**super().index_bytes(), "slot bitmaps": 8 * words * int(self.tables.n_active[0])}


class HybridIndex(ShadowWalkIndex):
    """x86 of 2011: the rmap of the dirty gfns if there are fewer of them than of shadow pages, else the shadow pages."""

    name: ClassVar[str] = "hybrid"

    def harvest(self, slot: int, dirty: Bits) -> int:
        """Protect ``slot`` by the shorter walk: of the heads of its dirty gfns, set in ``dirty``, or of its shadow pages."""
        if int(np.count_nonzero(dirty)) < int(self.tables.n_active[0]):
            return self.protect_masked(self.slots[slot].first, dirty)
        return self.protect_slot(slot)


class TableScanIndex(BaseIndex):
    """No index: every call reads all tables that hold sptes of its slots."""

    name: ClassVar[str] = "table-scan"
    harvests_slots: ClassVar[bool] = True
    notes_slots: ClassVar[bool] = True
    traits = Traits(links="nothing")

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Map ``sptes`` to ``gfns`` with ``flags`` and link nothing; ``walk`` counts the lines."""
        map_in_tables(self.tables, sptes, gfns, flags, walk.work)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Zap the sptes, of which nothing is linked."""
        drop_in_tables(self.tables, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Read the tables that hold sptes of the slots of the gfns."""
        bits = sum(1 << slot for slot in self.slots_of(walk.first, walk.end))
        return walk_tables(self.tables, walk, bits)
