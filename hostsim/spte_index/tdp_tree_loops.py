"""The TDP tree: walks from the root, leaf table by leaf table, each of them in order.

Linux arch/x86/kvm/mmu/tdp_iter.c::tdp_iter_next, tdp_mmu.c::tdp_mmu_zap_leafs, ::wrprot_gfn_range, ::clear_dirty_pt_masked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.spte_index.tables import ENTRIES, SpteTables
from hostsim.spte_index.tdp_tree_arrays import N_UPPER, TREE_LEVELS, TdpTree
from hostsim.spte_index.walk import TABLE_LINES, Walk, act, call_of, end_call, look, set_spte
from hostsim.spte_index.work import ALLOCATIONS, PAGES, SPTES, VISITED

Ints = NDArray[np.int64]


@part
def _look_entry(upper: int, entry: int, work: Ints) -> None:
    look(work, PAGES, upper * TABLE_LINES + (entry >> 3))
    work[VISITED] += 1


@jit
def _entry(gfn: int, level: int) -> int:
    return (gfn >> (9 * level)) & (ENTRIES - 1)


@part
def _upper_of(tree: TdpTree, gfn: int, level: int, work: Ints, make: bool) -> int:
    """The table of ``level`` above ``gfn``, made if it is missing and ``make``; -1 if there is none."""
    upper = 0
    for above in range(TREE_LEVELS - 1, level, -1):
        entry = _entry(gfn, above)
        _look_entry(upper, entry, work)
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
def _hang_in(tables: SpteTables, tree: TdpTree, spte: int, gfn: int, work: Ints) -> None:
    """See to it that the tree leads to the table of ``spte``."""
    table = spte >> 9
    level = int(tables.level[table])
    if level > 0:
        tree.big[_upper_of(tree, gfn, level, work, True)] = table + 1
        return
    upper = _upper_of(tree, gfn, 1, work, True)
    entry = _entry(gfn, 1)
    _look_entry(upper, entry, work)
    tree.child[upper, entry] = table + 1


@jit
def map_tree(tables: SpteTables, tree: TdpTree, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> None:
    """Map ``sptes``, each at the place of its gfn in its table."""
    for i in range(len(sptes)):
        spte, gfn = int(sptes[i]), int(gfns[i])
        _hang_in(tables, tree, spte, gfn, walk.work)
        set_spte(tables, spte, gfn, flags, walk.work)


@jit
def walk_tree(tables: SpteTables, tree: TdpTree, walk: Walk) -> int:
    """Act on every leaf that maps a gfn of the call; returns how many were changed."""
    changed, root = 0, 0
    span = 1 << (9 * (TREE_LEVELS - 1))
    for top in range(walk.first // span, (walk.end - 1) // span + 1):
        _look_entry(root, top, walk.work)
        upper = int(tree.child[root, top]) - 1
        if upper >= 0:
            changed += _walk_upper(tables, tree, upper, top * span, walk)
    return changed


@jit
def walk_tree_calls(
    tables: SpteTables, tree: TdpTree, walk: Walk, firsts: Ints, ends: Ints, n_locks: int, rows: NDArray[np.int64]
) -> None:
    """A call each for gfns [firsts[i], ends[i]) of ``walk``, in turn. rows: int64[calls, N_WORK], their counts, in place."""
    for i in range(len(firsts)):
        call = call_of(walk, int(firsts[i]), int(ends[i]), n_locks, rows[i])
        walk_tree(tables, tree, call)
        end_call(call, rows[i])


@part
def _walk_upper(tables: SpteTables, tree: TdpTree, upper: int, low: int, walk: Walk) -> int:
    """Table ``upper`` of level 2, first gfn ``low``: its large leaves, and the tables of level 1 below it."""
    changed = 0
    span = ENTRIES * ENTRIES
    first, last = max(walk.first, low), min(walk.end, low + span * ENTRIES) - 1
    for entry in range((first - low) // span, (last - low) // span + 1):
        at = low + entry * span
        if _skips(walk, at, at + span):
            continue
        _look_entry(upper, entry, walk.work)
        changed += _act_big(tables, tree, upper, entry, walk)
        below = int(tree.child[upper, entry]) - 1
        if below >= 0:
            changed += _walk_leaves(tables, tree, below, at, walk)
    return changed


@part
def _walk_leaves(tables: SpteTables, tree: TdpTree, upper: int, low: int, walk: Walk) -> int:
    """Table ``upper`` of level 1: its large leaves, and its leaf tables."""
    changed = 0
    first, last = max(walk.first, low), min(walk.end, low + ENTRIES * ENTRIES) - 1
    for entry in range((first - low) >> 9, ((last - low) >> 9) + 1):
        at = low + (entry << 9)
        if _skips(walk, at, at + ENTRIES):
            continue
        _look_entry(upper, entry, walk.work)
        changed += _act_big(tables, tree, upper, entry, walk)
        table = int(tree.child[upper, entry]) - 1
        if table >= 0:
            changed += _walk_table(tables, table, at, walk)
    return changed


@part
def _skips(walk: Walk, low: int, high: int) -> bool:
    """Whether the mask of the call names no gfn of [low, high)."""
    if len(walk.mask) == 0:
        return False
    for gfn in range(max(low, walk.first), min(high, walk.end)):
        if walk.mask[gfn - walk.first] != 0:
            return False
    return True


@part
def _act_big(tables: SpteTables, tree: TdpTree, upper: int, entry: int, walk: Walk) -> int:
    table = int(tree.big[upper]) - 1
    if table < 0 or tables.flags[table * ENTRIES + entry] == 0:
        return 0
    return act(tables, walk, table * ENTRIES + entry)


@part
def _walk_table(tables: SpteTables, table: int, low: int, walk: Walk) -> int:
    """Leaf table of gfns from ``low``: entries of the call in order, absent ones looked at, too."""
    changed = 0
    for gfn in range(max(walk.first, low), min(walk.end, low + ENTRIES)):
        if len(walk.mask) > 0 and walk.mask[gfn - walk.first] == 0:
            continue
        spte = table * ENTRIES + gfn - low
        if tables.flags[spte] != 0:
            changed += act(tables, walk, spte)
        else:
            look(walk.work, SPTES, table * TABLE_LINES + ((gfn - low) >> 3))
            walk.work[VISITED] += 1
    return changed


@jit
def drop_leaves(tables: SpteTables, tree: TdpTree, sptes: Ints, walk: Walk) -> None:
    """Zap each of ``sptes``, found from the root."""
    for i in range(len(sptes)):
        spte = int(sptes[i])
        _upper_of(tree, int(tables.gfn[spte]), max(1, int(tables.level[spte >> 9])), walk.work, False)
        act(tables, walk, spte)
