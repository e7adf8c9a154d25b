"""Book3S HV: the word of a gfn leads to a ring of its hptes; R and C are read where the hardware has set them.

Linux arch/powerpc/kvm/book3s_64_mmu_hv.c::kvm_unmap_rmapp, ::kvm_age_rmapp, ::kvm_test_clear_dirty; struct revmap_entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.spte_index.protocol import BaseIndex, Bits, Gfns, Slot, SpteNumbers, Traits
from hostsim.spte_index.spte import DIRTY
from hostsim.spte_index.tables import ACCESSED, HPTE_GROUP, SpteTables
from hostsim.spte_index.walk import CLEAR_YOUNG, ZAP, Walk, act, call_of, end_call, hpte_line, look, look_spte, set_spte
from hostsim.spte_index.work import ATOMICS, CHANGED, HEADS, NODES, VISITED

Ints = NDArray[np.int64]
WORD_BYTES = 8
REVMAP_BYTES = 16
"""struct revmap_entry: guest_rpte 8, forw and back 4 each; one for each entry of the hash table, used or not."""

# The arrays.


class HvRings(NamedTuple):
    """Words and rings, changed in place.

    ring: int32[pages], s + 1 of one spte s of the gfn, or 0.
    saved: uint8[pages], ACCESSED and DIRTY of sptes that have been zapped.
    forw, back: int32[sptes], the neighbours of an spte in its ring.
    """

    ring: NDArray[np.int32]
    saved: NDArray[np.uint8]
    forw: NDArray[np.int32]
    back: NDArray[np.int32]


def make_hv_rings(n_pages: int, n_sptes: int) -> HvRings:
    """Words of ``n_pages`` with no ring."""
    pages, sptes = np.zeros(n_pages, np.int32), np.zeros(n_sptes, np.int32)
    return HvRings(pages, np.zeros(n_pages, np.uint8), sptes, sptes.copy())


# The loops.


@inlined
def look_revmap(tables: SpteTables, spte: int, work: Ints) -> None:
    """Count in ``work`` the cache line of the revmap entry of ``spte``.

    An entry has 16 B, as an hpte has, and the entries lie beside the hash table in its order: so the line number is that of
    the spte in ``tables``.
    """
    look(work, NODES, hpte_line(tables, spte))


@inlined
def look_word(gfn: int, work: Ints) -> None:
    """Count in ``work`` the cache line of the word of ``gfn``: eight words of 8 B a line."""
    look(work, HEADS, gfn >> 3)
    work[VISITED] += 1


@jit
def map_to_rings(tables: SpteTables, rings: HvRings, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> None:
    """Map ``sptes``, all absent, to ``gfns`` with ``flags``, each in the ring of its gfn (kvmppc_add_revmap_chain).

    ``tables``, ``rings`` and ``walk`` change in place.
    """
    for i in range(len(sptes)):
        spte, gfn = int(sptes[i]), int(gfns[i])
        set_spte(tables, spte, gfn, flags, walk.work)
        look_word(gfn, walk.work)
        walk.work[ATOMICS] += 2  # the lock bits of the hpte and of the word
        look_revmap(tables, spte, walk.work)
        one = int(rings.ring[gfn]) - 1
        if one < 0:
            rings.forw[spte] = rings.back[spte] = spte
            rings.ring[gfn] = spte + 1
        else:
            last = int(rings.back[one])
            look_revmap(tables, one, walk.work)
            look_revmap(tables, last, walk.work)
            rings.forw[spte], rings.back[spte] = one, last
            rings.forw[last] = rings.back[one] = spte


@part
def leave_ring(tables: SpteTables, rings: HvRings, spte: int, work: Ints) -> None:
    """Take ``spte`` off its ring; its R and C go into the word, so that no access is forgotten (remove_revmap_chain).

    ``rings`` and ``work`` change in place; ``tables`` is read.
    """
    gfn, behind, before = int(tables.gfn[spte]), int(rings.forw[spte]), int(rings.back[spte])
    rings.saved[gfn] |= tables.flags[spte] & (ACCESSED | DIRTY)
    if behind == spte:
        rings.ring[gfn] = 0
        return
    look_revmap(tables, behind, work)
    look_revmap(tables, before, work)
    rings.forw[before], rings.back[behind] = behind, before
    rings.ring[gfn] = behind + 1


@jit
def drop_off_rings(tables: SpteTables, rings: HvRings, sptes: Ints, walk: Walk) -> None:
    """Remove each of ``sptes`` for the guest (H_REMOVE); ``tables``, ``rings`` and ``walk`` change in place."""
    for i in range(len(sptes)):
        spte = int(sptes[i])
        look_word(int(tables.gfn[spte]), walk.work)
        look_revmap(tables, spte, walk.work)
        walk.work[ATOMICS] += 2  # the lock bits of the hpte and of the word
        leave_ring(tables, rings, spte, walk.work)
        act(tables, walk, spte)


@jit
def walk_rings(tables: SpteTables, rings: HvRings, walk: Walk) -> int:
    """Do the action of ``walk`` to every spte of the gfns of the call; ``tables`` and ``rings`` change in place.

    Returns the number of sptes changed, plus the number of words that were young by themselves (see ``age_word``).
    """
    changed = 0
    for gfn in range(walk.first, walk.end):
        if len(walk.mask) == 0 or walk.mask[gfn - walk.first] != 0:
            look_word(gfn, walk.work)
            walk.work[ATOMICS] += 1  # the word is locked by an atomic operation and released by a store
            changed += walk_ring(tables, rings, gfn, walk)
    return changed


@jit
def walk_rings_calls(
    tables: SpteTables, rings: HvRings, walk: Walk, firsts: Ints, ends: Ints, n_locks: int, rows: NDArray[np.int64]
) -> None:
    """Make one call for each range of gfns [firsts[i], ends[i]) of ``walk``, in turn.

    n_locks: lock round trips of a call.
    rows: int64[calls, N_WORK], filled in place with the counts of each call.
    """
    for i in range(len(firsts)):
        call = call_of(tables, walk, int(firsts[i]), int(ends[i]), n_locks, rows[i])
        walk_rings(tables, rings, call)
        end_call(call, rows[i])


@inlined
def walk_ring(tables: SpteTables, rings: HvRings, gfn: int, walk: Walk) -> int:
    """Do the action of ``walk`` to every spte in the ring of ``gfn``; ``tables`` and ``rings`` change in place.

    Returns the number of sptes changed, and 1 more if the word was young by itself.
    """
    changed = age_word(rings, gfn, walk)
    start = int(rings.ring[gfn]) - 1
    spte = start
    while spte >= 0:
        look_revmap(tables, spte, walk.work)
        behind = int(rings.forw[spte])
        if walk.action == ZAP:
            leave_ring(tables, rings, spte, walk.work)
        changed += act(tables, walk, spte)
        is_last = rings.ring[gfn] == 0 if walk.action == ZAP else behind == start
        spte = -1 if is_last else behind
    return changed


@inlined
def age_word(rings: HvRings, gfn: int, walk: Walk) -> int:
    """Age the word of ``gfn``, if ``walk`` ages: returns 1 if ``rings.saved`` has the R of a zapped spte, else 0.

    CLEAR_YOUNG clears that R in ``rings``; ``walk.young`` is set to 1 for the gfn. Both in place.
    """
    if walk.action < CLEAR_YOUNG or walk.action > CLEAR_YOUNG + 1 or rings.saved[gfn] & ACCESSED == 0:
        return 0
    walk.young[gfn - walk.first] = 1
    if walk.action == CLEAR_YOUNG:
        rings.saved[gfn] &= ~ACCESSED & 0xFF
    walk.work[CHANGED] += 1
    return 1


@jit
def read_dirty(tables: SpteTables, rings: HvRings, dirty: NDArray[np.uint8], walk: Walk) -> int:
    """Test and clear C of every gfn of ``walk`` for GET_DIRTY_LOG; returns the number of dirty gfns.

    dirty: uint8[end - first], set to 1 in place where C was on.
    ``tables``: C of the hptes, cleared in place; ``rings``: C kept in the words, cleared in place.
    """
    found = 0
    for gfn in range(walk.first, walk.end):
        look_word(gfn, walk.work)
        walk.work[ATOMICS] += 1
        was = rings.saved[gfn] & DIRTY
        rings.saved[gfn] &= ~DIRTY & 0xFF
        start = int(rings.ring[gfn]) - 1
        spte = start
        while spte >= 0:
            look_revmap(tables, spte, walk.work)
            look_spte(tables, spte, walk.work)
            walk.work[VISITED] += 1
            if tables.flags[spte] & DIRTY != 0:
                was = DIRTY
                tables.flags[spte] &= ~DIRTY & 0xFF
                walk.work[ATOMICS] += 1  # the lock bit of the hpte, taken only if the hpte changes
                walk.work[CHANGED] += 1
            spte = int(rings.forw[spte])
            if spte == start:
                spte = -1
        if was != 0:
            dirty[gfn - walk.first] = 1
            found += 1
    return found


# The design.


class Book3sHvIndex(BaseIndex):
    """A word for each gfn, with R and C of zapped hptes in it, and a ring through the hptes of the gfn."""

    name: ClassVar[str] = "book3s-hv"
    link_bytes: ClassVar[int] = 13
    traits = Traits(keeps_bits=True, logs_by_hardware=True, hashed=True, links="word")

    def __init__(self, tables: SpteTables, slots: Sequence[Slot]) -> None:
        super().__init__(tables, slots)
        self.rings = make_hv_rings(self.n_pages, len(tables.flags))

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Put each of ``sptes`` into the ring of its gfn; see BaseIndex.place for ``gfns``, ``flags`` and ``walk``."""
        map_to_rings(self.tables, self.rings, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Take the sptes off their rings; R and C stay in the words."""
        drop_off_rings(self.tables, self.rings, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Walk the words of the gfns in order."""
        return walk_rings(self.tables, self.rings, walk)

    def apply_each(self, walk: Walk, firsts: Gfns, ends: Gfns, rows: NDArray[np.int64]) -> None:
        """Walk the words of each call; see BaseIndex.apply_each for ``walk``, ``firsts``, ``ends`` and ``rows``."""
        walk_rings_calls(self.tables, self.rings, walk, firsts, ends, self.locks(walk.action), rows)

    def locks(self, action: int) -> int:  # noqa: ARG002
        """None: each word has a lock bit, counted as an atomic operation."""
        return 0

    def harvest(self, slot: int, dirty: Bits) -> int:
        """Read and clear C of every gfn of ``slot``; returns the number of dirty gfns, set to 1 in ``dirty`` in place."""
        return read_dirty(self.tables, self.rings, dirty, self.protecting(slot))

    def start_log(self, slot: int) -> int:
        """Read and forget C of pages that were written before."""
        return self.harvest(slot, np.zeros(self.slots[slot].n_pages, np.uint8))

    def index_bytes(self) -> dict[str, int]:
        """Words of the slots, and entries beside those of the hash table, used or not."""
        entries = HPTE_GROUP << self.tables.group_bits
        return {"words": self.kept_pages() * WORD_BYTES, "revmap": entries * REVMAP_BYTES}
