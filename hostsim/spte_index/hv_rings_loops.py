"""Book3S HV: the word of a gfn leads to a ring of its sptes; R and C are read where the hardware set them.

Linux arch/powerpc/kvm/book3s_64_mmu_hv.c::kvm_unmap_rmapp, ::kvm_age_rmapp, ::kvm_test_clear_dirty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.spte_index.hv_rings_arrays import HvRings
from hostsim.spte_index.spte import DIRTY
from hostsim.spte_index.tables import ACCESSED, SpteTables
from hostsim.spte_index.walk import CLEAR_YOUNG, ZAP, Walk, act, call_of, end_call, look, set_spte, spte_line
from hostsim.spte_index.work import ATOMICS, CHANGED, HEADS, NODES, SPTES, VISITED

Ints = NDArray[np.int64]


@inlined
def _look_revmap(tables: SpteTables, spte: int, work: Ints) -> None:
    """16 B an entry, as an hpte: 4 a line, at the same place of its array."""
    look(work, NODES, spte_line(tables, spte))


@inlined
def _look_word(gfn: int, work: Ints) -> None:
    """A word is locked by a bit of its own."""
    look(work, HEADS, gfn >> 3)
    work[VISITED] += 1


@jit
def map_ring(tables: SpteTables, rings: HvRings, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> None:
    """Map ``sptes``, each in the ring of its gfn (kvmppc_add_revmap_chain)."""
    for i in range(len(sptes)):
        spte, gfn = int(sptes[i]), int(gfns[i])
        set_spte(tables, spte, gfn, flags, walk.work)
        _look_word(gfn, walk.work)
        walk.work[ATOMICS] += 2
        _look_revmap(tables, spte, walk.work)
        one = int(rings.ring[gfn]) - 1
        if one < 0:
            rings.forw[spte] = rings.back[spte] = spte
            rings.ring[gfn] = spte + 1
        else:
            last = int(rings.back[one])
            _look_revmap(tables, one, walk.work)
            _look_revmap(tables, last, walk.work)
            rings.forw[spte], rings.back[spte] = one, last
            rings.forw[last] = rings.back[one] = spte


@part
def _leave_ring(tables: SpteTables, rings: HvRings, spte: int, work: Ints) -> None:
    """Off its ring; its R and C go into the word (remove_revmap_chain)."""
    gfn, behind, before = int(tables.gfn[spte]), int(rings.forw[spte]), int(rings.back[spte])
    rings.saved[gfn] |= tables.flags[spte] & (ACCESSED | DIRTY)
    if behind == spte:
        rings.ring[gfn] = 0
        return
    _look_revmap(tables, behind, work)
    _look_revmap(tables, before, work)
    rings.forw[before], rings.back[behind] = behind, before
    rings.ring[gfn] = behind + 1


@jit
def drop_ring(tables: SpteTables, rings: HvRings, sptes: Ints, walk: Walk) -> None:
    """The guest removes each of ``sptes`` (H_REMOVE)."""
    for i in range(len(sptes)):
        spte = int(sptes[i])
        _look_word(int(tables.gfn[spte]), walk.work)
        _look_revmap(tables, spte, walk.work)
        walk.work[ATOMICS] += 2
        _leave_ring(tables, rings, spte, walk.work)
        act(tables, walk, spte)


@jit
def walk_rings(tables: SpteTables, rings: HvRings, walk: Walk) -> int:
    """Act on every spte of the gfns of the call; returns how many were changed, or young in the word alone.

    The word is locked by one atomic operation and released by a store; an hpte that changes is locked, too.
    """
    changed = 0
    for gfn in range(walk.first, walk.end):
        if len(walk.mask) == 0 or walk.mask[gfn - walk.first] != 0:
            _look_word(gfn, walk.work)
            walk.work[ATOMICS] += 1
            changed += _walk_ring(tables, rings, gfn, walk)
    return changed


@jit
def walk_rings_calls(
    tables: SpteTables, rings: HvRings, walk: Walk, firsts: Ints, ends: Ints, n_locks: int, rows: NDArray[np.int64]
) -> None:
    """A call each for gfns [firsts[i], ends[i]) of ``walk``, in turn. rows: int64[calls, N_WORK], their counts, in place."""
    for i in range(len(firsts)):
        call = call_of(walk, int(firsts[i]), int(ends[i]), n_locks, rows[i])
        walk_rings(tables, rings, call)
        end_call(call, rows[i])


@inlined
def _walk_ring(tables: SpteTables, rings: HvRings, gfn: int, walk: Walk) -> int:
    changed = _word_young(rings, gfn, walk)
    start = int(rings.ring[gfn]) - 1
    spte = start
    while spte >= 0:
        _look_revmap(tables, spte, walk.work)
        behind = int(rings.forw[spte])
        if walk.action == ZAP:
            _leave_ring(tables, rings, spte, walk.work)
        changed += act(tables, walk, spte)
        is_last = rings.ring[gfn] == 0 if walk.action == ZAP else behind == start
        spte = -1 if is_last else behind
    return changed


@inlined
def _word_young(rings: HvRings, gfn: int, walk: Walk) -> int:
    """Ageing: whether the word says that an spte that has gone was accessed."""
    if walk.action < CLEAR_YOUNG or walk.action > CLEAR_YOUNG + 1 or rings.saved[gfn] & ACCESSED == 0:
        return 0
    walk.young[gfn - walk.first] = 1
    if walk.action == CLEAR_YOUNG:
        rings.saved[gfn] &= ~ACCESSED & 0xFF
    walk.work[CHANGED] += 1
    return 1


@jit
def read_dirty(tables: SpteTables, rings: HvRings, dirty: NDArray[np.uint8], walk: Walk) -> int:
    """GET_DIRTY_LOG: test and clear C of every gfn of the call; dirty: uint8[end - first], set where it was on, in place.

    Returns how many gfns were dirty.
    """
    found = 0
    for gfn in range(walk.first, walk.end):
        _look_word(gfn, walk.work)
        walk.work[ATOMICS] += 1
        was = rings.saved[gfn] & DIRTY
        rings.saved[gfn] &= ~DIRTY & 0xFF
        start = int(rings.ring[gfn]) - 1
        spte = start
        while spte >= 0:
            _look_revmap(tables, spte, walk.work)
            look(walk.work, SPTES, spte_line(tables, spte))
            walk.work[VISITED] += 1
            if tables.flags[spte] & DIRTY != 0:
                was = DIRTY
                tables.flags[spte] &= ~DIRTY & 0xFF
                walk.work[ATOMICS] += 1
                walk.work[CHANGED] += 1
            spte = int(rings.forw[spte])
            if spte == start:
                spte = -1
        if was != 0:
            dirty[gfn - walk.first] = 1
            found += 1
    return found
