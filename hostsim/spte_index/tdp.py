"""The TDP MMU: the page table is the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index import tdp_tree_loops as kernels
from hostsim.spte_index.base import BaseIndex, put_off
from hostsim.spte_index.protocol import Slot, SpteNumbers
from hostsim.spte_index.tables import HEADER_BYTES, TABLE_BYTES, SpteTables
from hostsim.spte_index.tdp_tree_arrays import N_UPPER, make_tdp_tree
from hostsim.spte_index.traits import Traits
from hostsim.spte_index.walk import ZAP, Walk
from hostsim.spte_index.work import ZAPPED


class TdpIndex(BaseIndex):
    """A tree over direct tables: one spte a gfn. fast_zap: as of RmapIndex."""

    name: ClassVar[str] = "tdp"

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], *, fast_zap: bool = False) -> None:
        super().__init__(tables, slots, Traits(zaps_all_on_delete=True, one_spte=True))
        self.tree, self.fast_zap = make_tdp_tree(self.n_pages), fast_zap

    def place(self, sptes: SpteNumbers, gfns: NDArray[np.int64], flags: int, walk: Walk) -> None:
        """Into the leaf tables, which the tree leads to."""
        kernels.map_tree(self.tables, self.tree, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Found from the root."""
        kernels.drop_leaves(self.tables, self.tree, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """From the root down, leaf tables in order."""
        return kernels.walk_tree(self.tables, self.tree, walk)

    def apply_each(self, walk: Walk, firsts: SpteNumbers, ends: SpteNumbers, rows: NDArray[np.int64]) -> None:
        """From the root for each call."""
        kernels.walk_tree_calls(self.tables, self.tree, walk, firsts, ends, self.locks(walk.action), rows)

    def zap_all(self) -> int:
        """All sptes go, in the background with ``fast_zap``."""
        walk = self.begin(ZAP, 0, self.n_pages)
        if not self.fast_zap:
            return self.apply(walk)
        zapped = self.apply(put_off(self, walk))
        self.work[ZAPPED] = self.background[ZAPPED]
        return zapped

    def index_bytes(self) -> dict[str, int]:
        """Upper levels; a table of large sptes is one of them and counted with the tables."""
        n_big = int(np.count_nonzero(self.tree.big))
        return {"upper levels": (int(self.tree.state[N_UPPER]) - n_big) * (TABLE_BYTES + HEADER_BYTES)}
