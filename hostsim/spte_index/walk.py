"""The steps of every walk: count a cache line, look at an spte, and act on it.

The compiled loops of this room share the parameters below and name them alike. Arrays in records are changed in place.

tables: SpteTables, the sptes and their page tables.
walk: Walk, the call: its action, its gfns, its counts.
work: int64[N_WORK], the counts of the call where a loop needs nothing else of ``walk``; changed in place.
spte, sptes: number of an spte; int64[n], numbers of sptes, read only.
gfn, gfns: guest frame number; int64[n], ``gfns[i]`` is the first gfn that ``sptes[i]`` maps, read only.
flags: PRESENT, WRITABLE, DIRTY and ACCESSED as bits, for all of ``sptes``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, inlined_and_called, jit
from hostsim.spte_index.spte import DIRTY, WRITABLE
from hostsim.spte_index.tables import ACCESSED, LINE_BITS, STREAMS, SpteTables
from hostsim.spte_index.work import (
    ATOMICS,
    CHANGED,
    DEPENDENT,
    FAR,
    LAST_LINE,
    LOCKS,
    N_PARTS,
    OPERATIONS,
    PAGES,
    SPTES,
    STREAMED,
    VISITED,
    ZAPPED,
)

ZAP, CLEAR_YOUNG, TEST_YOUNG, PROTECT = range(4)
"""The action of a call: each spte that the walk finds is zapped, aged, tested or loses W."""
GOLDEN = 0x61C88647
"""include/linux/hash.h, GOLDEN_RATIO_32."""
HEADER_LINES = 3
"""Lines from the header of one table to that of the next."""


class Walk(NamedTuple):
    """One call of an index.

    action: one of ZAP to PROTECT.
    first, end: the call is for gfns [first, end).
    mask: uint8[end - first], 1 for the gfns that are meant; empty: all are.
    young: uint8[end - first], set to 1 for young gfns, in place.
    zapped: int32[sptes], filled in place, work[ZAPPED] of them.
    work: int64[N_WORK], counts, changed in place.
    """

    action: int
    first: int
    end: int
    mask: NDArray[np.uint8]
    young: NDArray[np.uint8]
    zapped: NDArray[np.int32]
    work: NDArray[np.int64]


@inlined_and_called
def look(work: NDArray[np.int64], part: int, line: int) -> None:
    """Count ``line`` of structure ``part``, unless it is the last one: streamed if it is beside that, else dependent."""
    away = line - work[LAST_LINE + part]
    if away == 0:  # the line is still in the first-level cache
        return
    work[LAST_LINE + part] = line
    if abs(away) == 1:  # the prefetcher has asked for it, in either direction
        work[STREAMED + part] += 1
    else:
        work[DEPENDENT + part] += 1


@inlined_and_called
def look_in_table(tables: SpteTables, table: int, line: int, work: NDArray[np.int64]) -> None:
    """Count ``line``, 0 to 63, of ``table``, unless it is the last one that the walk looked at there.

    The sptes of a page that is mapped in several address spaces lie in several tables, and a walk in the order of gfns reads
    these tables side by side: a line for eight gfns of each. ``tables`` and ``work`` change in place.
    """
    was, now = int(tables.looked[table]), int(tables.clock[0])
    is_near = now - (was >> LINE_BITS) < STREAMS
    away = line - (was & ((1 << LINE_BITS) - 1))
    if is_near and away == 0:
        return
    tables.clock[0] = now + 1
    tables.looked[table] = (now + 1) << LINE_BITS | line
    if is_near and abs(away) == 1:
        work[STREAMED + SPTES] += 1
    else:
        work[DEPENDENT + SPTES] += 1


@jit
def bucket(key: int, bits: int) -> int:
    """Bucket of ``key`` among 2^bits: include/linux/hash.h::hash_32 of the two halves of ``key`` folded together."""
    folded = (key ^ (key >> 32)) & 0xFFFFFFFF
    return (((folded * GOLDEN) & 0xFFFFFFFF) >> (32 - bits)) if bits > 0 else 0


@inlined
def call_of(tables: SpteTables, walk: Walk, first: int, end: int, n_locks: int, row: NDArray[np.int64]) -> Walk:
    """Begin a call for gfns [first, end) of ``walk``: count an operation and its lock round trips, forget the last lines.

    tables: the time of their lines changes in place.
    row: int64[N_WORK], set in place to the counts so far with their signs turned; ``end_call`` adds the counts after it.
    """
    work = walk.work
    for i in range(len(work)):
        row[i] = -work[i]
    for part in range(N_PARTS):
        work[LAST_LINE + part] = FAR
    tables.clock[0] += STREAMS
    work[ZAPPED] = 0
    work[OPERATIONS] += 1
    work[LOCKS] += n_locks
    young = walk.young[first - walk.first : end - walk.first]
    return Walk(walk.action, first, end, walk.mask, young, walk.zapped, work)


@inlined
def end_call(walk: Walk, row: NDArray[np.int64]) -> None:
    """Leave in ``row`` the counts that the call has added. row: int64[N_WORK], in place."""
    for i in range(len(walk.work)):
        row[i] += walk.work[i]


@inlined
def va_of(tables: SpteTables, spte: int) -> int:
    """Guest-virtual page number of an spte."""
    table = spte >> 9
    return int(tables.va[table]) + ((spte & 511) << (9 * int(tables.level[table])))


@inlined
def pages_of(tables: SpteTables, spte: int) -> int:
    """4 KiB pages that an spte maps."""
    return 1 << (9 * int(tables.level[spte >> 9]))


@inlined
def hpte_line(tables: SpteTables, spte: int) -> int:
    """Cache line of an spte that lies in a hash table, by the hash of its virtual page."""
    group = bucket(va_of(tables, spte) ^ (int(tables.space[spte >> 9]) << 16), tables.group_bits)
    return group * 2 + ((spte & 7) >> 2)


@inlined
def look_spte(tables: SpteTables, spte: int, work: NDArray[np.int64]) -> None:
    """Count in ``work`` the cache line of ``spte``; ``tables`` changes in place."""
    if tables.group_bits == 0:
        look_in_table(tables, spte >> 9, (spte & 511) >> 3, work)
    else:
        look(work, SPTES, hpte_line(tables, spte))


@inlined
def look_gfn(tables: SpteTables, spte: int, work: NDArray[np.int64]) -> int:
    """First gfn of ``spte``; counts in ``work`` the header of its table, where KVM finds the gfn (kvm_mmu_page_get_gfn).

    ``tables``: read only.
    """
    look(work, PAGES, (spte >> 9) * HEADER_LINES)
    return int(tables.gfn[spte])


@inlined
def meets(tables: SpteTables, walk: Walk, spte: int) -> bool:
    """Whether ``spte`` of ``tables`` maps a gfn of [walk.first, walk.end) that ``walk.mask`` does not exclude."""
    low = max(int(tables.gfn[spte]), walk.first)
    high = min(int(tables.gfn[spte]) + pages_of(tables, spte), walk.end)
    return low < high if len(walk.mask) == 0 else masks_any(walk, low, high)


@inlined
def masks_any(walk: Walk, low: int, high: int) -> bool:
    """Whether the mask of the call names a gfn of [low, high)."""
    for gfn in range(max(low, walk.first), min(high, walk.end)):
        if walk.mask[gfn - walk.first] != 0:
            return True
    return False


@inlined
def act(tables: SpteTables, walk: Walk, spte: int) -> int:
    """Look at ``spte`` and do the action of ``walk``; returns 1 if the spte was changed or, for ageing, young, else 0.

    ``tables``, ``walk.zapped``, ``walk.young`` and ``walk.work`` change in place.
    """
    work = walk.work
    look_spte(tables, spte, work)
    work[VISITED] += 1
    flags = int(tables.flags[spte])
    if walk.action == ZAP:
        tables.flags[spte] = 0
        tables.used[spte >> 9] -= 1
        walk.zapped[work[ZAPPED]] = spte
        work[ZAPPED] += 1
        work[ATOMICS] += 1
    elif walk.action == PROTECT:
        if flags & WRITABLE == 0:  # no atomic operation for an spte that has no W (spte_write_protect)
            return 0
        tables.flags[spte] = flags & ~WRITABLE
        work[ATOMICS] += 1
    else:
        if flags & ACCESSED == 0:
            return 0
        if walk.action == CLEAR_YOUNG:
            tables.flags[spte] = flags & ~ACCESSED
            work[ATOMICS] += 1
        mark_young(tables, walk, spte)
    work[CHANGED] += 1
    return 1


@inlined
def mark_young(tables: SpteTables, walk: Walk, spte: int) -> None:
    """Set ``walk.young`` to 1, in place, for the gfns of the call that ``spte`` of ``tables`` maps."""
    low = int(tables.gfn[spte])
    high = min(low + pages_of(tables, spte), walk.end)
    for gfn in range(max(low, walk.first), high):
        walk.young[gfn - walk.first] = 1


@inlined
def set_spte(tables: SpteTables, spte: int, gfn: int, flags: int, work: NDArray[np.int64]) -> None:
    """Make an absent ``spte`` map ``gfn`` with ``flags``; ``tables`` and ``work`` change in place."""
    look_spte(tables, spte, work)
    tables.gfn[spte], tables.flags[spte] = gfn, flags
    tables.used[spte >> 9] += 1
    work[VISITED] += 1
    work[CHANGED] += 1


@jit
def note_slots(tables: SpteTables, sptes: NDArray[np.int64], first: NDArray[np.int64]) -> None:
    """Note in the table of each of ``sptes`` that it holds an spte of that slot (kvm_mmu_page.slot_bitmap).

    first: int64[slots + 1], first gfn of each slot.
    """
    for spte in sptes:
        slot = 0
        while tables.gfn[spte] >= first[slot + 1]:
            slot += 1
        tables.slots[spte >> 9] |= 1 << slot


@jit
def grant_writes(tables: SpteTables, sptes: NDArray[np.int64], work: NDArray[np.int64]) -> None:
    """Set W, D and A in each of ``sptes``, as a write-protection fault does; ``tables`` and ``work`` change in place."""
    for spte in sptes:
        look_spte(tables, int(spte), work)
        tables.flags[spte] |= WRITABLE | DIRTY | ACCESSED
        work[VISITED] += 1
        work[CHANGED] += 1
        work[ATOMICS] += 1
