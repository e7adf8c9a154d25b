"""The TDP MMU: the page table is the index; walks go down from the root and through leaf tables in order.

Linux arch/x86/kvm/mmu/tdp_iter.c::tdp_iter_next, tdp_mmu.c::tdp_mmu_zap_leafs, ::wrprot_gfn_range, ::clear_dirty_pt_masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.spte_index.protocol import BaseIndex, Gfns, Slot, SpteNumbers, Traits
from hostsim.spte_index.tables import ENTRIES, HEADER_BYTES, TABLE_BYTES, SpteTables
from hostsim.spte_index.walk import Walk, act, call_of, end_call, look, look_in_table, masks_any, set_spte
from hostsim.spte_index.work import ALLOCATIONS, PAGES, VISITED

Ints = NDArray[np.int64]
TREE_LEVELS = 4
"""Levels of a tree, leaf tables included."""
TABLE_LINES = 65
"""Lines from one upper table to the next: 64, and a gap, since no prefetcher crosses a 4 KiB page."""

# The arrays.

N_UPPER = 0
"""Of TdpTree.state: tables of upper levels in use."""


class TdpTree(NamedTuple):
    """Upper levels of the page table, changed in place; SpteTables hold the leaf tables. Table 0 is the root, of level 3.

    child: int32[uppers, 512], upper table u + 1, or in a table of level 1 leaf table t + 1; 0 if there is none.
    big: int32[uppers], table t + 1 of SpteTables whose entries are large sptes in the place of this table; 0 if none.
    state: int64[1], counts as named above.
    """

    child: NDArray[np.int32]
    big: NDArray[np.int32]
    state: NDArray[np.int64]


def make_tdp_tree(n_pages: int) -> TdpTree:
    """A root, and room for the upper levels of ``n_pages``."""
    n_upper = 1 + sum(-(-n_pages // ENTRIES**level) for level in (2, 3))
    return TdpTree(np.zeros((n_upper, ENTRIES), np.int32), np.zeros(n_upper, np.int32), np.ones(1, np.int64))


# The loops.


@part
def look_entry(upper: int, entry: int, work: Ints) -> None:
    """Count the line of an entry of an upper table."""
    look(work, PAGES, upper * TABLE_LINES + (entry >> 3))
    work[VISITED] += 1


@jit
def entry_of(gfn: int, level: int) -> int:
    """Entry for ``gfn`` in a table of ``level``."""
    return (gfn >> (9 * level)) & (ENTRIES - 1)


@part
def upper_of(tree: TdpTree, gfn: int, level: int, work: Ints, make: bool) -> int:
    """The upper table of ``level`` for ``gfn``, made if it is missing and ``make``; -1 if there is none."""
    upper = 0
    for above in range(TREE_LEVELS - 1, level, -1):
        entry = entry_of(gfn, above)
        look_entry(upper, entry, work)
        below = int(tree.child[upper, entry]) - 1
        if below < 0:
            if not make:
                return -1
            below = int(tree.state[N_UPPER])
            tree.state[N_UPPER] += 1
            tree.child[upper, entry] = below + 1
            work[ALLOCATIONS] += 1
        upper = below
    return upper


@part
def hang_in(tables: SpteTables, tree: TdpTree, spte: int, gfn: int, work: Ints) -> None:
    """Make ``tree`` lead to the table of ``spte``, which is to map ``gfn``; missing upper tables are made.

    ``tree`` and ``work`` change in place; ``tables`` has the level of the spte.
    """
    table = spte >> 9
    level = int(tables.level[table])
    if level > 0:
        tree.big[upper_of(tree, gfn, level, work, True)] = table + 1
        return
    upper = upper_of(tree, gfn, 1, work, True)
    entry = entry_of(gfn, 1)
    look_entry(upper, entry, work)
    tree.child[upper, entry] = table + 1


@jit
def map_in_tree(tables: SpteTables, tree: TdpTree, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> None:
    """Map ``sptes``, all absent, to ``gfns`` with ``flags``, each at the place of its gfn in its table.

    ``tables``, ``tree`` and ``walk`` change in place.
    """
    for i in range(len(sptes)):
        spte, gfn = int(sptes[i]), int(gfns[i])
        hang_in(tables, tree, spte, gfn, walk.work)
        set_spte(tables, spte, gfn, flags, walk.work)


@jit
def walk_tree(tables: SpteTables, tree: TdpTree, walk: Walk) -> int:
    """Do the action of ``walk`` to every leaf that maps a gfn of the call; returns the number of sptes changed.

    ``tables`` changes in place; ``tree`` is read: a zap leaves upper tables where they are.
    """
    changed, root = 0, 0
    span = 1 << (9 * (TREE_LEVELS - 1))
    for top in range(walk.first // span, (walk.end - 1) // span + 1):
        look_entry(root, top, walk.work)
        upper = int(tree.child[root, top]) - 1
        if upper >= 0:
            changed += walk_upper(tables, tree, upper, top * span, walk)
    return changed


@jit
def walk_tree_calls(
    tables: SpteTables, tree: TdpTree, walk: Walk, firsts: Ints, ends: Ints, n_locks: int, rows: NDArray[np.int64]
) -> None:
    """Make one call for each range of gfns [firsts[i], ends[i]) of ``walk``, in turn.

    n_locks: lock round trips of a call.
    rows: int64[calls, N_WORK], filled in place with the counts of each call.
    """
    for i in range(len(firsts)):
        call = call_of(tables, walk, int(firsts[i]), int(ends[i]), n_locks, rows[i])
        walk_tree(tables, tree, call)
        end_call(call, rows[i])


@part
def walk_upper(tables: SpteTables, tree: TdpTree, upper: int, low: int, walk: Walk) -> int:
    """Walk table ``upper`` of level 2, first gfn ``low``: its large leaves, and the tables of level 1 below it."""
    changed = 0
    span = ENTRIES * ENTRIES
    first, last = max(walk.first, low), min(walk.end, low + span * ENTRIES) - 1
    for entry in range((first - low) // span, (last - low) // span + 1):
        at = low + entry * span
        if skips(walk, at, at + span):
            continue
        look_entry(upper, entry, walk.work)
        changed += act_on_big(tables, tree, upper, entry, walk)
        below = int(tree.child[upper, entry]) - 1
        if below >= 0:
            changed += walk_leaves(tables, tree, below, at, walk)
    return changed


@part
def walk_leaves(tables: SpteTables, tree: TdpTree, upper: int, low: int, walk: Walk) -> int:
    """Walk table ``upper`` of level 1, first gfn ``low``: its large leaves, and its leaf tables."""
    changed = 0
    first, last = max(walk.first, low), min(walk.end, low + ENTRIES * ENTRIES) - 1
    for entry in range((first - low) >> 9, ((last - low) >> 9) + 1):
        at = low + (entry << 9)
        if skips(walk, at, at + ENTRIES):
            continue
        look_entry(upper, entry, walk.work)
        changed += act_on_big(tables, tree, upper, entry, walk)
        table = int(tree.child[upper, entry]) - 1
        if table >= 0:
            changed += walk_leaf_table(tables, table, at, walk)
    return changed


@part
def skips(walk: Walk, low: int, high: int) -> bool:
    """Whether the call has a mask that names no gfn of [low, high)."""
    return len(walk.mask) > 0 and not masks_any(walk, low, high)


@part
def act_on_big(tables: SpteTables, tree: TdpTree, upper: int, entry: int, walk: Walk) -> int:
    """Do the action of ``walk`` to the large leaf at ``entry`` of table ``upper`` of ``tree``; returns 1 for a change, or 0.

    ``tables`` changes in place; without a large leaf there the call changes nothing.
    """
    table = int(tree.big[upper]) - 1
    if table < 0 or tables.flags[table * ENTRIES + entry] == 0:
        return 0
    return act(tables, walk, table * ENTRIES + entry)


@part
def walk_leaf_table(tables: SpteTables, table: int, low: int, walk: Walk) -> int:
    """Walk a leaf table of gfns from ``low`` on: tdp_iter looks at absent entries of the call, too."""
    changed = 0
    for gfn in range(max(walk.first, low), min(walk.end, low + ENTRIES)):
        if len(walk.mask) > 0 and walk.mask[gfn - walk.first] == 0:
            continue
        spte = table * ENTRIES + gfn - low
        if tables.flags[spte] != 0:
            changed += act(tables, walk, spte)
        else:
            look_in_table(tables, table, (gfn - low) >> 3, walk.work)
            walk.work[VISITED] += 1
    return changed


@jit
def drop_leaves(tables: SpteTables, tree: TdpTree, sptes: Ints, walk: Walk) -> None:
    """Zap each of ``sptes``, found from the root of ``tree``; ``tables`` and ``walk`` change in place."""
    for i in range(len(sptes)):
        spte = int(sptes[i])
        upper_of(tree, int(tables.gfn[spte]), max(1, int(tables.level[spte >> 9])), walk.work, False)
        act(tables, walk, spte)


# The design.


class TdpIndex(BaseIndex):
    """A tree over direct tables, so a gfn has one spte.

    fast_zap: zapping all sptes is put off until the lock is dropped (kvm_tdp_mmu_invalidate_all_roots).
    """

    name: ClassVar[str] = "tdp"
    traits = Traits(zaps_all_on_delete=True, one_spte=True, links="nothing")

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], *, fast_zap: bool = False) -> None:
        super().__init__(tables, slots)
        self.tree, self.fast_zap = make_tdp_tree(self.n_pages), fast_zap

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Map ``sptes`` in leaf tables, to which the tree leads then; ``gfns``, ``flags``, ``walk`` as in BaseIndex."""
        map_in_tree(self.tables, self.tree, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Find each of ``sptes`` from the root; ``walk`` counts the upper tables on the way."""
        drop_leaves(self.tables, self.tree, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Walk from the root down, through leaf tables in order."""
        return walk_tree(self.tables, self.tree, walk)

    def apply_each(self, walk: Walk, firsts: Gfns, ends: Gfns, rows: NDArray[np.int64]) -> None:
        """Walk from the root for each call; see BaseIndex.apply_each for ``walk``, ``firsts``, ``ends`` and ``rows``."""
        walk_tree_calls(self.tables, self.tree, walk, firsts, ends, self.locks(walk.action), rows)

    def index_bytes(self) -> dict[str, int]:
        """Upper levels; a table of large sptes is one of them and counted with the tables."""
        n_big = int(np.count_nonzero(self.tree.big))
        return {"upper levels": (int(self.tree.state[N_UPPER]) - n_big) * (TABLE_BYTES + HEADER_BYTES)}
