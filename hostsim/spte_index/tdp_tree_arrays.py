"""The tree of the TDP MMU: upper levels of a direct page table; its leaf tables are those of SpteTables.

Linux arch/x86/kvm/mmu/tdp_iter.c, tdp_mmu.c.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.tables import ENTRIES

TREE_LEVELS = 4
"""Levels of a tree, leaf tables included."""
N_UPPER = 0
"""Of TdpTree.state: tables of upper levels in use."""


class TdpTree(NamedTuple):
    """Arrays, changed in place. Table 0 is the root, of level 3.

    child: int32[uppers, 512]: upper table u + 1, or below level 1 leaf table t + 1, 0 if none. big: int32[uppers]: table
    t + 1 of SpteTables whose entries are large sptes in this table's place, 0 if none. state: int64[1].
    """

    child: NDArray[np.int32]
    big: NDArray[np.int32]
    state: NDArray[np.int64]


def make_tdp_tree(n_pages: int) -> TdpTree:
    """A root, and room for the upper levels of ``n_pages``."""
    n_upper = 1 + sum(-(-n_pages // ENTRIES**level) for level in (2, 3))
    return TdpTree(np.zeros((n_upper, ENTRIES), np.int32), np.zeros(n_upper, np.int32), np.ones(1, np.int64))
