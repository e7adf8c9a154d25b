"""A hash of sptes by gfn, with a bounded array of heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from hostsim.compiled.jit import inlined, jit
from hostsim.spte_index.chains import (
    ChainedIndex,
    Chains,
    look_node,
    unlink,
    walk_all_chains,
)
from hostsim.spte_index.protocol import Slot
from hostsim.spte_index.tables import LEVELS, SpteTables
from hostsim.spte_index.walk import ZAP, Walk, act, bucket, look, look_gfn, masks_any
from hostsim.spte_index.work import HEADS, VISITED

# The loops.


@jit
def walk_buckets(tables: SpteTables, chains: Chains, walk: Walk) -> int:
    """Walk the bucket of every gfn and level of ``walk``, or all buckets if ``chains`` has fewer buckets than that.

    Returns the number of sptes changed; ``tables`` and ``chains`` change in place.
    """
    if walk.end - walk.first > len(chains.head):
        return walk_all_chains(tables, chains, walk, False, False)
    changed = 0
    for level in range(LEVELS):
        shift = 9 * level
        for number in range(walk.first >> shift, ((walk.end - 1) >> shift) + 1):
            gfn = number << shift
            if len(walk.mask) == 0 or masks_any(walk, gfn, gfn + (1 << shift)):
                changed += walk_gfn(tables, chains, gfn, level, walk)
    return changed


@inlined
def walk_gfn(tables: SpteTables, chains: Chains, gfn: int, level: int, walk: Walk) -> int:
    """Do the action of ``walk`` to the sptes of ``level`` whose first gfn is ``gfn``; returns the number of sptes changed.

    Sptes of other gfns in the bucket are compared and passed by. ``tables`` and ``chains`` change in place.
    """
    chain = bucket(gfn + level, chains.bits)
    look(walk.work, HEADS, chain >> 3)
    changed, node = 0, int(chains.head[chain]) - 1
    while node >= 0:
        look_node(node, walk.work)
        walk.work[VISITED] += 1
        behind, spte = int(chains.next[node]) - 1, int(chains.spte[node])
        if look_gfn(tables, spte, walk.work) == gfn and tables.level[spte >> 9] == level:
            changed += act(tables, walk, spte)
            if walk.action == ZAP:
                unlink(chains, spte, walk.work)
        node = behind
    return changed


# The design.


class GfnHashIndex(ChainedIndex):
    """A node for each spte, in one of 2^bits buckets by gfn."""

    name: ClassVar[str] = "gfn-hash"

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], bits: int = 12) -> None:
        super().__init__(tables, slots, bits)

    def apply(self, walk: Walk) -> int:
        """Walk the buckets of the gfns, or all buckets if there are fewer of them than gfns."""
        named = int(np.count_nonzero(walk.mask)) if len(walk.mask) else walk.end - walk.first
        if named > len(self.chains.head):
            return walk_all_chains(self.tables, self.chains, walk, False, False)
        return walk_buckets(self.tables, self.chains, walk)

    def zap_all(self) -> int:
        """Walk all buckets."""
        return walk_all_chains(self.tables, self.chains, self.begin(ZAP, 0, self.n_pages), True, False)
