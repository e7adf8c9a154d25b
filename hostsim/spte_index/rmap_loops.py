"""The reverse map: additions, removals, and walks over the heads of a range of gfns.

Linux arch/x86/kvm/mmu/mmu.c::pte_list_add, ::pte_list_remove, ::walk_slot_rmaps, ::kvm_mmu_write_protect_pt_masked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.spte_index.rmap_arrays import AT_HEAD, EXT, FREE, MAPPED, N_DESCS, WALKED, Rmap
from hostsim.spte_index.tables import LEVELS, SpteTables
from hostsim.spte_index.walk import ZAP, Walk, act, call_of, end_call, set_spte
from hostsim.spte_index.walk import look as look_at
from hostsim.spte_index.work import ALLOCATIONS, FREES, HEADS, NODES, VISITED

Ints = NDArray[np.int64]


@inlined
def head_of(rmap: Rmap, gfn: int, level: int) -> int:
    """Number of the head of ``gfn`` at ``level``."""
    return int(rmap.offset[level]) + (gfn >> (9 * level))


@inlined
def look_head(rmap: Rmap, number: int, work: Ints) -> int:
    """Value of a head; counts its line."""
    look_at(work, HEADS, number >> 3)
    work[VISITED] += 1
    return int(rmap.head[number])


@part
def look_desc(rmap: Rmap, desc: int, work: Ints) -> None:
    """Count the lines of a descriptor: one of 32 B is half a line, one of 128 B two, the second if it holds over six."""
    work[VISITED] += 1
    if rmap.state[EXT] <= 3:
        look_at(work, NODES, desc >> 1)
        return
    look_at(work, NODES, desc * 2)
    if rmap.filled[desc] > 6:
        look_at(work, NODES, desc * 2 + 1)


@part
def _take_desc(rmap: Rmap, work: Ints) -> int:
    desc = int(rmap.state[FREE])
    rmap.state[FREE] = rmap.more[desc]
    rmap.state[N_DESCS] += 1
    rmap.filled[desc], rmap.tail[desc], rmap.more[desc] = 0, 0, -1
    work[ALLOCATIONS] += 1
    return desc


@part
def _free_desc(rmap: Rmap, desc: int, work: Ints) -> None:
    rmap.more[desc] = rmap.state[FREE]
    rmap.state[FREE] = desc
    rmap.state[N_DESCS] -= 1
    work[FREES] += 1


@part
def _append(rmap: Rmap, desc: int, spte: int) -> None:
    rmap.sptes[desc, rmap.filled[desc]] = spte
    rmap.filled[desc] += 1


@inlined
def add(rmap: Rmap, number: int, spte: int, work: Ints) -> int:
    """Add ``spte`` to a head; returns how many it has then. Room for one more descriptor must be there."""
    value = look_head(rmap, number, work)
    if value == 0:
        rmap.head[number] = spte + 1
        return 1
    if value > 0:
        desc = _take_desc(rmap, work)
        _append(rmap, desc, value - 1)
        _append(rmap, desc, spte)
        rmap.head[number] = -(desc + 1)
        look_desc(rmap, desc, work)
        rmap.state[WALKED] += 1
        return 2
    if rmap.state[AT_HEAD] != 0:
        return _add_in_front(rmap, number, spte, work)
    return _add_behind(rmap, -value - 1, spte, work)


@part
def _add_in_front(rmap: Rmap, number: int, spte: int, work: Ints) -> int:
    """All but the first descriptor are full: a new one goes in front of it."""
    desc = -int(rmap.head[number]) - 1
    look_desc(rmap, desc, work)
    rmap.state[WALKED] += 1
    if rmap.filled[desc] == rmap.state[EXT]:
        front = _take_desc(rmap, work)
        rmap.more[front] = desc
        rmap.tail[front] = rmap.tail[desc] + rmap.filled[desc]
        rmap.head[number] = -(front + 1)
        desc = front
        look_desc(rmap, desc, work)
    _append(rmap, desc, spte)
    return int(rmap.tail[desc] + rmap.filled[desc])


@part
def _add_behind(rmap: Rmap, desc: int, spte: int, work: Ints) -> int:
    """The first descriptor with room takes it; none: a new one behind the last."""
    total = 0
    look_desc(rmap, desc, work)
    rmap.state[WALKED] += 1
    while rmap.filled[desc] == rmap.state[EXT] and rmap.more[desc] >= 0:
        total += int(rmap.filled[desc])
        desc = int(rmap.more[desc])
        look_desc(rmap, desc, work)
        rmap.state[WALKED] += 1
    if rmap.filled[desc] == rmap.state[EXT]:
        total += int(rmap.filled[desc])
        behind = _take_desc(rmap, work)
        rmap.more[desc] = behind
        desc = behind
        look_desc(rmap, desc, work)
        rmap.state[WALKED] += 1
    _append(rmap, desc, spte)
    total += int(rmap.filled[desc])
    while rmap.more[desc] >= 0:  # holes that removals left: the total needs the rest
        desc = int(rmap.more[desc])
        total += int(rmap.filled[desc])
    return total


@jit
def remove(rmap: Rmap, number: int, spte: int, work: Ints) -> None:
    """Take ``spte`` off a head: searched descriptor by descriptor."""
    value = look_head(rmap, number, work)
    if value > 0:
        rmap.head[number] = 0
        return
    before, desc = -1, -value - 1
    place = _find(rmap, desc, spte, work)
    while place < 0:
        before, desc = desc, int(rmap.more[desc])
        place = _find(rmap, desc, spte, work)
    if rmap.state[AT_HEAD] != 0:  # the hole is filled from the first descriptor, the others stay full
        before, source = -1, -value - 1
    else:
        source = desc
    rmap.filled[source] -= 1
    rmap.sptes[desc, place] = rmap.sptes[source, rmap.filled[source]]
    if rmap.filled[source] == 0:
        _unlink_desc(rmap, number, before, source, work)


@part
def _find(rmap: Rmap, desc: int, spte: int, work: Ints) -> int:
    look_desc(rmap, desc, work)
    for i in range(rmap.filled[desc]):
        if rmap.sptes[desc, i] == spte:
            return i
    return -1


@part
def _unlink_desc(rmap: Rmap, number: int, before: int, desc: int, work: Ints) -> None:
    behind = int(rmap.more[desc])
    if before >= 0:
        rmap.more[before] = behind
    else:
        rmap.head[number] = 0 if behind < 0 else -(behind + 1)
    _free_desc(rmap, desc, work)


@inlined
def walk_head(tables: SpteTables, rmap: Rmap, number: int, walk: Walk) -> int:
    """Act on every spte of a head; returns how many were changed."""
    value = look_head(rmap, number, walk.work)
    if value == 0:
        return 0
    changed = 0
    if value > 0:
        changed = act(tables, walk, value - 1)
    else:
        desc = -value - 1
        while desc >= 0:
            look_desc(rmap, desc, walk.work)
            for i in range(rmap.filled[desc]):
                changed += act(tables, walk, int(rmap.sptes[desc, i]))
            behind = int(rmap.more[desc])
            if walk.action == ZAP:
                _free_desc(rmap, desc, walk.work)
            desc = behind
    if walk.action == ZAP:
        rmap.head[number] = 0
        level = 0 if number < rmap.offset[1] else 1 if number < rmap.offset[2] else 2
        rmap.state[MAPPED + level] -= changed
    return changed


@jit
def walk_rmap(tables: SpteTables, rmap: Rmap, walk: Walk) -> int:
    """Act on every spte that maps a gfn of the call, level by level; returns how many were changed."""
    changed, is_masked = 0, len(walk.mask) > 0
    for level in range(LEVELS):
        if is_masked and level > 0 and rmap.state[MAPPED + level] == 0:
            continue  # CLEAR looks at 4 KiB heads; large sptes of a logged slot have no W, but for a caller that kept it
        for number in range(head_of(rmap, walk.first, level), head_of(rmap, walk.end - 1, level) + 1):
            if not is_masked or _is_masked(rmap, walk, number, level):
                changed += walk_head(tables, rmap, number, walk)
    return changed


@jit
def walk_rmap_calls(
    tables: SpteTables, rmap: Rmap, walk: Walk, firsts: Ints, ends: Ints, n_locks: int, rows: NDArray[np.int64]
) -> None:
    """A call each for gfns [firsts[i], ends[i]) of ``walk``, in turn. rows: int64[calls, N_WORK], their counts, in place."""
    for i in range(len(firsts)):
        call = call_of(walk, int(firsts[i]), int(ends[i]), n_locks, rows[i])
        walk_rmap(tables, rmap, call)
        end_call(call, rows[i])


@inlined
def _is_masked(rmap: Rmap, walk: Walk, number: int, level: int) -> bool:
    """Whether the mask names a gfn of this head."""
    low = (number - int(rmap.offset[level])) << (9 * level)
    for gfn in range(max(low, walk.first), min(low + (1 << (9 * level)), walk.end)):
        if walk.mask[gfn - walk.first] != 0:
            return True
    return False


@jit
def map_all(
    tables: SpteTables, rmap: Rmap, sptes: Ints, gfns: Ints, flags: int, recycle: int, walk: Walk
) -> None:
    """Map ``sptes``; a gfn that has more than ``recycle`` (0: no limit) then loses them all (__rmap_add)."""
    for i in range(len(sptes)):
        spte, gfn = int(sptes[i]), int(gfns[i])
        set_spte(tables, spte, gfn, flags, walk.work)
        level = int(tables.level[spte >> 9])
        number = head_of(rmap, gfn, level)
        rmap.state[MAPPED + level] += 1
        if add(rmap, number, spte, walk.work) > recycle > 0:
            walk_head(tables, rmap, number, walk)


@jit
def drop_all(tables: SpteTables, rmap: Rmap, sptes: Ints, walk: Walk) -> None:
    """Unmap each of ``sptes``."""
    for i in range(len(sptes)):
        spte = int(sptes[i])
        level = int(tables.level[spte >> 9])
        remove(rmap, head_of(rmap, int(tables.gfn[spte]), level), spte, walk.work)
        rmap.state[MAPPED + level] -= 1
        act(tables, walk, spte)


@jit
def lengths(rmap: Rmap, counts: Ints) -> None:
    """Sptes of each gfn at level 0: int64[pages], in place."""
    for number in range(len(counts)):
        value = int(rmap.head[number])
        if value > 0:
            counts[number] = 1
        desc = -value - 1
        while desc >= 0:
            counts[number] += rmap.filled[desc]
            desc = int(rmap.more[desc])
