"""What every walk does: look at a cache line, look at an spte and act on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, inlined_and_called, jit
from hostsim.spte_index.spte import DIRTY, WRITABLE
from hostsim.spte_index.tables import ACCESSED, SpteTables
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
"""What is done to an spte that was found."""
GOLDEN = 0x61C88647
"""include/linux/hash.h, GOLDEN_RATIO_32."""
TABLE_LINES = 65
"""Lines from one table to the next: 64, and a gap, since no prefetcher goes beyond a 4 KiB page."""
HEADER_LINES = 3
"""Lines from one header of a table to the next."""


class Walk(NamedTuple):
    """One call. action; gfns [first, end) it is about; mask: uint8[end - first], which of them, or empty: all. young:
    uint8[end - first], set in place; zapped: int32[sptes], filled in place; work: int64[N_WORK], counts, in place.
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
    """Count ``line`` of ``part``: nothing if it was the last one, streamed if it is beside that, else dependent."""
    away = line - work[LAST_LINE + part]
    if away == 0:
        return
    work[LAST_LINE + part] = line
    if abs(away) == 1:
        work[STREAMED + part] += 1
    else:
        work[DEPENDENT + part] += 1


@jit
def bucket(key: int, bits: int) -> int:
    """Bucket of ``key`` among 2^bits: include/linux/hash.h::hash_32 of its halves folded together."""
    folded = (key ^ (key >> 32)) & 0xFFFFFFFF
    return (((folded * GOLDEN) & 0xFFFFFFFF) >> (32 - bits)) if bits > 0 else 0


@inlined
def call_of(walk: Walk, first: int, end: int, n_locks: int, row: NDArray[np.int64]) -> Walk:
    """The part of ``walk`` that is a call for gfns [first, end): an operation, its lock round trips, no cache line known.

    row: int64[N_WORK], the counts before it with their signs turned, in place; ``end_call`` adds those after.
    """
    work = walk.work
    for i in range(len(work)):
        row[i] = -work[i]
    for part in range(N_PARTS):
        work[LAST_LINE + part] = FAR
    work[ZAPPED] = 0
    work[OPERATIONS] += 1
    work[LOCKS] += n_locks
    young = walk.young[first - walk.first : end - walk.first]
    return Walk(walk.action, first, end, walk.mask, young, walk.zapped, work)


@inlined
def end_call(walk: Walk, row: NDArray[np.int64]) -> None:
    """What the call added is in ``row``."""
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
def spte_line(tables: SpteTables, spte: int) -> int:
    """Cache line in which an spte lies."""
    if tables.group_bits == 0:
        return (spte >> 9) * TABLE_LINES + ((spte & 511) >> 3)
    group = bucket(va_of(tables, spte) ^ (int(tables.space[spte >> 9]) << 16), tables.group_bits)
    return group * 2 + ((spte & 7) >> 2)


@inlined
def look_gfn(tables: SpteTables, spte: int, work: NDArray[np.int64]) -> int:
    """First gfn of an spte, found through its table's header: kvm_mmu_page_get_gfn."""
    look(work, PAGES, (spte >> 9) * HEADER_LINES)
    return int(tables.gfn[spte])


@inlined
def meets(tables: SpteTables, walk: Walk, spte: int) -> bool:
    """Whether an spte maps a gfn of the call."""
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
    """Look at an spte and do to it what the call is for; 1 if it was changed or, for ageing, young."""
    work = walk.work
    look(work, SPTES, spte_line(tables, spte))
    work[VISITED] += 1
    flags = int(tables.flags[spte])
    if walk.action == ZAP:
        tables.flags[spte] = 0
        tables.used[spte >> 9] -= 1
        walk.zapped[work[ZAPPED]] = spte
        work[ZAPPED] += 1
        work[ATOMICS] += 1
    elif walk.action == PROTECT:
        if flags & WRITABLE == 0:
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
    """The gfns of the call that an spte maps are young."""
    low = int(tables.gfn[spte])
    high = min(low + pages_of(tables, spte), walk.end)
    for gfn in range(max(low, walk.first), high):
        walk.young[gfn - walk.first] = 1


@inlined
def set_spte(tables: SpteTables, spte: int, gfn: int, flags: int, work: NDArray[np.int64]) -> None:
    """An absent spte maps ``gfn``."""
    look(work, SPTES, spte_line(tables, spte))
    tables.gfn[spte], tables.flags[spte] = gfn, flags
    tables.used[spte >> 9] += 1
    work[VISITED] += 1
    work[CHANGED] += 1


@jit
def note_slots(tables: SpteTables, sptes: NDArray[np.int64], first: NDArray[np.int64]) -> None:
    """Mark the tables of ``sptes`` as holding some of their slots: kvm_mmu_page.slot_bitmap. first: int64[slots + 1]."""
    for spte in sptes:
        slot = 0
        while tables.gfn[spte] >= first[slot + 1]:
            slot += 1
        tables.slots[spte >> 9] |= 1 << slot


@jit
def grant_writes(tables: SpteTables, sptes: NDArray[np.int64], work: NDArray[np.int64]) -> None:
    """W, D and A come on in each of ``sptes``."""
    for spte in sptes:
        look(work, SPTES, spte_line(tables, int(spte)))
        tables.flags[spte] |= WRITABLE | DIRTY | ACCESSED
        work[VISITED] += 1
        work[CHANGED] += 1
        work[ATOMICS] += 1
