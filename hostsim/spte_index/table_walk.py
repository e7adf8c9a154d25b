"""Walks over the tables themselves: no index but the list of active shadow pages.

Linux 2.6.35 arch/x86/kvm/mmu.c::kvm_mmu_slot_remove_write_access; hybrid: commit 95d4c16ce78c.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit
from hostsim.spte_index.chains_arrays import Chains
from hostsim.spte_index.chains_loops import link
from hostsim.spte_index.tables import ENTRIES, SpteTables
from hostsim.spte_index.walk import HEADER_LINES, TABLE_LINES, Walk, act, look, meets, set_spte
from hostsim.spte_index.work import PAGES, SPTES, VISITED

Ints = NDArray[np.int64]


@jit
def walk_tables(tables: SpteTables, walk: Walk, slot_bits: int) -> int:
    """Act on every spte that maps a gfn of the call, in tables that hold some of ``slot_bits`` (-1: all tables).

    Each table's 64 lines are read whole. Returns how many sptes were changed.
    """
    changed = 0
    for i in range(tables.n_active[0]):
        table = int(tables.active[i])
        look(walk.work, PAGES, table * HEADER_LINES)
        walk.work[VISITED] += 1
        if tables.slots[table] & slot_bits != 0:
            changed += _walk_table(tables, table, walk)
    return changed


@inlined
def _walk_table(tables: SpteTables, table: int, walk: Walk) -> int:
    changed = 0
    for spte in range(table * ENTRIES, (table + 1) * ENTRIES):
        if spte & 7 == 0:
            look(walk.work, SPTES, table * TABLE_LINES + ((spte & 511) >> 3))
        walk.work[VISITED] += 1
        if tables.flags[spte] != 0 and meets(tables, walk, spte):
            walk.work[VISITED] -= 1  # act counts it
            changed += act(tables, walk, spte)
    return changed


@jit
def map_in_tables(tables: SpteTables, sptes: Ints, gfns: Ints, flags: int, work: Ints) -> None:
    """Map ``sptes``: there is nothing to link."""
    for i in range(len(sptes)):
        set_spte(tables, int(sptes[i]), int(gfns[i]), flags, work)


@jit
def drop_in_tables(tables: SpteTables, sptes: Ints, walk: Walk) -> None:
    """Unmap each of ``sptes``."""
    for spte in sptes:
        act(tables, walk, int(spte))


@jit
def link_slot(tables: SpteTables, chains: Chains, walk: Walk, slot_bits: int, writable_only: bool) -> int:
    """Build the chain of a slot whose log begins: W goes from its sptes, each gets a node unless only writable ones do.

    Returns how many sptes lost W.
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
                look(walk.work, SPTES, table * TABLE_LINES + ((spte & 511) >> 3))
            walk.work[VISITED] += 1
            if tables.flags[spte] != 0 and meets(tables, walk, spte):
                walk.work[VISITED] -= 1
                changed += act(tables, walk, spte)
                if not writable_only:
                    link(tables, chains, spte, walk.work)
    return changed
