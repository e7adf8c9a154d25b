"""The x86 rmap, and the designs that keep it for notifiers and walk the shadow pages for the dirty log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index import rmap_loops as kernels
from hostsim.spte_index.base import BaseIndex, put_off
from hostsim.spte_index.protocol import Bits, Slot, SpteNumbers
from hostsim.spte_index.rmap_arrays import (
    DESC_KINDS,
    HEAD_BYTES,
    N_DESCS,
    RECYCLE_THRESHOLD,
    DescKind,
    grown,
    heads_of,
    make_rmap,
)
from hostsim.spte_index.table_walk import drop_in_tables, map_in_tables, walk_tables
from hostsim.spte_index.tables import SpteTables
from hostsim.spte_index.traits import Traits
from hostsim.spte_index.walk import PROTECT, ZAP, Walk
from hostsim.spte_index.work import ZAPPED


class RmapIndex(BaseIndex):
    """x86: a head a gfn. fast_zap: zap-all only makes roots obsolete, the rest is background (kvm_mmu_zap_all_fast)."""

    name: ClassVar[str] = "rmap"

    def __init__(
        self, tables: SpteTables, slots: Sequence[Slot], kind: DescKind = DESC_KINDS["14"],
        recycle: int = RECYCLE_THRESHOLD, *, fast_zap: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(tables, slots, Traits(zaps_all_on_delete=True, recycle=recycle))
        self.kind, self.fast_zap = kind, fast_zap
        self.rmap = make_rmap(self.n_pages, self.kind)

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """On the head of each gfn."""
        room = len(self.rmap.more) - int(self.rmap.state[N_DESCS])
        if room < len(sptes):  # each may need one
            self.rmap = grown(self.rmap, max(len(sptes), len(self.rmap.more)))
        kernels.map_all(self.tables, self.rmap, sptes, gfns, flags, self.traits.recycle, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Off the heads: each is searched."""
        kernels.drop_all(self.tables, self.rmap, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Heads in order, and what hangs on them."""
        return kernels.walk_rmap(self.tables, self.rmap, walk)

    def apply_each(self, walk: Walk, firsts: SpteNumbers, ends: SpteNumbers, rows: NDArray[np.int64]) -> None:
        """Heads of each call."""
        kernels.walk_rmap_calls(self.tables, self.rmap, walk, firsts, ends, self.locks(walk.action), rows)

    def zap_all(self) -> int:
        """All sptes go, in the background with ``fast_zap``."""
        walk = self.begin(ZAP, 0, self.n_pages)
        if not self.fast_zap:
            return self.apply(walk)
        zapped = self.apply(put_off(self, walk))
        self.work[ZAPPED] = self.background[ZAPPED]
        return zapped

    def lengths(self) -> NDArray[np.int64]:
        """int64[pages]: 4 KiB sptes of each gfn."""
        counts = np.zeros(self.n_pages, np.int64)
        kernels.lengths(self.rmap, counts)
        return counts

    def index_bytes(self) -> dict[str, int]:
        """Heads of three levels whether mapped or not, and descriptors."""
        heads = sum(int(heads_of(slot.n_pages).sum()) for i, slot in enumerate(self.slots) if i not in self.gone)
        return {"heads": heads * HEAD_BYTES, "descriptors": int(self.rmap.state[N_DESCS]) * self.kind.n_bytes}


class ShadowWalkIndex(RmapIndex):
    """x86 of 2008-2011: rmap for notifiers; write protection walks all active shadow pages that hold some of the slot.

    # Model limit: 2.6.35 took W from every spte of such a table; here sptes of another slot in the same table keep it.
    """

    name: ClassVar[str] = "shadow-walk"
    notes_slots: ClassVar[bool] = True

    def protect_slot(self, slot: int) -> int:
        """Walk the tables."""
        walk = self.begin(PROTECT, self.slots[slot].first, self.slots[slot].end)
        return walk_tables(self.tables, walk, 1 << slot)

    def harvest(self, slot: int, dirty: Bits) -> int:
        """If anything is dirty the whole slot is protected, however little it is."""
        return self.protect_slot(slot) if dirty.any() else 0

    def index_bytes(self) -> dict[str, int]:
        """As the rmap, and a bit a slot in each table's header, in whole words."""
        words = -(-len(self.slots) // 64)
        return {**super().index_bytes(), "slot bitmaps": 8 * words * int(self.tables.n_active[0])}


class HybridIndex(ShadowWalkIndex):
    """x86 of 2011: the rmap of the dirty gfns if they are fewer than the shadow pages, else the walk (95d4c16ce78c)."""

    name: ClassVar[str] = "hybrid"

    def harvest(self, slot: int, dirty: Bits) -> int:
        """Whichever is expected to be shorter."""
        if int(np.count_nonzero(dirty)) < int(self.tables.n_active[0]):
            return self.protect_masked(self.slots[slot].first, dirty)
        return self.protect_slot(slot)


class TableScanIndex(BaseIndex):
    """No index: whatever is asked for, all tables are read."""

    name: ClassVar[str] = "table-scan"
    notes_slots: ClassVar[bool] = True

    def __init__(self, tables: SpteTables, slots: Sequence[Slot]) -> None:
        super().__init__(tables, slots, Traits())

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """Nothing to link."""
        map_in_tables(self.tables, sptes, gfns, flags, walk.work)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Nothing to unlink."""
        drop_in_tables(self.tables, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """All tables that hold some of the slots."""
        bits = sum(1 << slot for slot in self.slots_of(walk.first, walk.end))
        return walk_tables(self.tables, walk, bits)

    def harvest(self, slot: int, dirty: Bits) -> int:
        """One walk of the slot."""
        return self.protect_slot(slot) if dirty.any() else 0
