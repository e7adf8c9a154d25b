"""The x86 reverse map: a head for each gfn and level, with one spte inlined in it or a chain of descriptors behind it.

Linux arch/x86/kvm/mmu/mmu.c::gfn_to_rmap, ::pte_list_add, ::pte_list_remove, ::walk_slot_rmaps,
::kvm_mmu_write_protect_pt_masked; struct kvm_rmap_head, struct pte_list_desc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.spte_index.protocol import BaseIndex, Gfns, Slot, SpteNumbers, Traits
from hostsim.spte_index.tables import LEVELS, SpteTables
from hostsim.spte_index.walk import ZAP, Walk, act, call_of, end_call, look, masks_any, set_spte
from hostsim.spte_index.work import AHEAD, ALLOCATIONS, CHAINED, COVER, DEPENDENT, FOUND, FREES, HEADS, NODES, VISITED

Ints = NDArray[np.int64]
HEAD_BYTES = 8
DESC_LINES = 3
"""Line numbers from one descriptor of two lines to the next: the third is a gap."""
RECYCLE_THRESHOLD = 1000
"""RMAP_RECYCLE_THRESHOLD: a gfn with more sptes than this loses them all."""


@dataclass(frozen=True)
class DescKind:
    """A layout of struct pte_list_desc.

    ext: sptes that a descriptor holds (PTE_LIST_EXT).
    n_bytes: size of a descriptor.
    at_head: a new descriptor goes in front of the full ones, so that adding an spte is O(1).
    """

    ext: int
    n_bytes: int
    at_head: bool


DESC_KINDS = {
    "3": DescKind(3, 32, at_head=False),
    "15": DescKind(15, 128, at_head=False),
    "14-behind": DescKind(14, 128, at_head=False),
    "14": DescKind(14, 128, at_head=True),
}
"""By PTE_LIST_EXT: until 5.13; 5.14; with a counter, until 6.3; since 6.4."""

# The arrays.

FREE, N_DESCS, WALKED, EXT, AT_HEAD, MAPPED = range(6)
"""Of Rmap.state: first free descriptor; descriptors in use; descriptors visited by additions; sptes that a descriptor holds;
whether a new descriptor goes in front; from MAPPED on, sptes of each level.
"""


class Rmap(NamedTuple):
    """Heads and descriptors, changed in place.

    head: int32[heads], those of level 0 first: 0 empty, s + 1 the only spte s, -(d + 1) the first descriptor d.
    offset: int64[LEVELS + 1], first head of each level.
    sptes: int32[descriptors, ext], spte numbers.
    filled: int32[descriptors], how many entries of a row of ``sptes`` are set.
    tail: int32[descriptors], sptes in all descriptors behind this one.
    more: int32[descriptors], the descriptor behind or -1; of a free descriptor, the next free one.
    state: int64[8], counts and options as named above.
    """

    head: NDArray[np.int32]
    offset: NDArray[np.int64]
    sptes: NDArray[np.int32]
    filled: NDArray[np.int32]
    tail: NDArray[np.int32]
    more: NDArray[np.int32]
    state: NDArray[np.int64]


def heads_of(n_pages: int) -> NDArray[np.int64]:
    """int64[LEVELS]: heads of each level for ``n_pages``, one for each 4 KiB, 2 MiB and 1 GiB page begun."""
    return np.array([-(-n_pages // (1 << 9 * level)) for level in range(LEVELS)])


def make_rmap(n_pages: int, kind: DescKind, n_descs: int = 64) -> Rmap:
    """An rmap of ``n_pages`` with nothing mapped, and room for ``n_descs`` descriptors."""
    offset = np.concatenate([[0], np.cumsum(heads_of(n_pages))])
    state = np.array([-1, 0, 0, kind.ext, kind.at_head, 0, 0, 0], np.int64)
    none = np.zeros(0, np.int32)
    empty = Rmap(np.zeros(offset[-1], np.int32), offset, np.zeros((0, kind.ext), np.int32), none, none, none, state)
    return grown(empty, n_descs)


def grown(rmap: Rmap, more_descs: int) -> Rmap:
    """``rmap`` with room for ``more_descs`` more descriptors: descriptors are copied, head and state are shared."""
    old, new = len(rmap.more), len(rmap.more) + more_descs
    sptes, filled, tail, more = (np.zeros((new, *a.shape[1:]), np.int32) for a in rmap[2:6])
    for fresh, stale in zip((sptes, filled, tail, more), rmap[2:6], strict=True):
        fresh[:old] = stale
    more[old:] = np.arange(old + 1, new + 1)
    more[-1] = rmap.state[FREE]
    rmap.state[FREE] = old
    return Rmap(rmap.head, rmap.offset, sptes, filled, tail, more, rmap.state)


# The loops.


@inlined
def head_of(rmap: Rmap, gfn: int, level: int) -> int:
    """Number of the head of ``gfn`` at ``level``."""
    return int(rmap.offset[level]) + (gfn >> (9 * level))


@inlined
def look_head(rmap: Rmap, number: int, work: Ints) -> int:
    """Count in ``work`` the cache line of head ``number``; returns the value of the head, as in ``Rmap.head``.

    ``rmap``: read only.
    """
    look(work, HEADS, number >> 3)
    work[VISITED] += 1
    return int(rmap.head[number])


@part
def look_desc(rmap: Rmap, desc: int, work: Ints) -> None:
    """Count in ``work`` the cache lines of descriptor ``desc`` of ``rmap``: 32 B are half a line, 128 B are two lines.

    Descriptors of 128 B are no neighbours: SLUB hands the objects of a slab out in a random order
    (CONFIG_SLAB_FREELIST_RANDOM, since 4.7).
    """
    work[VISITED] += 1
    if rmap.state[EXT] <= 3:
        look(work, NODES, desc >> 1)
        return
    look(work, NODES, desc * DESC_LINES)
    if rmap.filled[desc] > 6:  # more, the counter and 6 sptes fill the first line of a descriptor of 14
        look(work, NODES, desc * DESC_LINES + 1)


@part
def look_desc_of_walk(rmap: Rmap, desc: int, looked_at: int, work: Ints) -> None:
    """Count in ``work`` the lines of ``desc``, and how early the processor knows its address.

    looked_at: sptes of the descriptor before, which holds the address; -1: the head does, or that descriptor is freed.
    """
    was = work[DEPENDENT + NODES]
    look_desc(rmap, desc, work)
    misses = work[DEPENDENT + NODES] - was
    if looked_at < 0:
        work[AHEAD] += misses
    else:
        work[CHAINED] += misses
        work[COVER] += misses * looked_at


@part
def take_desc(rmap: Rmap, work: Ints) -> int:
    """Take a free descriptor of ``rmap`` into use; returns its number. ``rmap`` and ``work`` change in place.

    A free descriptor must exist, since a compiled loop cannot make the arrays larger: ``RmapIndex.place`` makes room before.
    """
    desc = int(rmap.state[FREE])
    rmap.state[FREE] = rmap.more[desc]
    rmap.state[N_DESCS] += 1
    rmap.filled[desc], rmap.tail[desc], rmap.more[desc] = 0, 0, -1
    work[ALLOCATIONS] += 1
    return desc


@part
def free_desc(rmap: Rmap, desc: int, work: Ints) -> None:
    """Put descriptor ``desc`` in front of the free descriptors; ``rmap`` and ``work`` change in place."""
    rmap.more[desc] = rmap.state[FREE]
    rmap.state[FREE] = desc
    rmap.state[N_DESCS] -= 1
    work[FREES] += 1


@part
def append_to_desc(rmap: Rmap, desc: int, spte: int) -> None:
    """Put ``spte`` into descriptor ``desc``, which has room; ``rmap`` changes in place."""
    rmap.sptes[desc, rmap.filled[desc]] = spte
    rmap.filled[desc] += 1


@inlined
def add_to_head(rmap: Rmap, number: int, spte: int, work: Ints) -> int:
    """Add ``spte`` to head ``number`` (pte_list_add); returns the number of sptes that the head then has.

    ``rmap`` and ``work`` change in place; the descriptors visited are counted in ``rmap.state[WALKED]``, too.
    """
    value = look_head(rmap, number, work)
    if value == 0:
        rmap.head[number] = spte + 1
        return 1
    if value > 0:  # the inlined spte moves into a descriptor
        desc = take_desc(rmap, work)
        append_to_desc(rmap, desc, value - 1)
        append_to_desc(rmap, desc, spte)
        rmap.head[number] = -(desc + 1)
        look_desc(rmap, desc, work)
        rmap.state[WALKED] += 1
        return 2
    if rmap.state[AT_HEAD] != 0:
        return add_in_front(rmap, number, spte, work)
    return add_behind(rmap, -value - 1, spte, work)


@part
def add_in_front(rmap: Rmap, number: int, spte: int, work: Ints) -> int:
    """Add ``spte`` to head ``number`` as kernels since 6.4 do; returns the number of sptes of the head.

    All descriptors but the first are full. The first descriptor takes the spte; if it is full, a new descriptor goes in
    front of it. ``rmap`` and ``work`` change in place.
    """
    desc = -int(rmap.head[number]) - 1
    look_desc(rmap, desc, work)
    rmap.state[WALKED] += 1
    if rmap.filled[desc] == rmap.state[EXT]:
        front = take_desc(rmap, work)
        rmap.more[front] = desc
        rmap.tail[front] = rmap.tail[desc] + rmap.filled[desc]
        rmap.head[number] = -(front + 1)
        desc = front
        look_desc(rmap, desc, work)
    append_to_desc(rmap, desc, spte)
    return int(rmap.tail[desc] + rmap.filled[desc])


@part
def add_behind(rmap: Rmap, desc: int, spte: int, work: Ints) -> int:
    """Add ``spte`` to the chain that begins at ``desc`` as kernels until 6.3 do; returns the number of sptes of the chain.

    The first descriptor with room takes the spte; if all are full, a new descriptor goes behind the last one. ``rmap`` and
    ``work`` change in place.
    """
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
        behind = take_desc(rmap, work)
        rmap.more[desc] = behind
        desc = behind
        look_desc(rmap, desc, work)
        rmap.state[WALKED] += 1
    append_to_desc(rmap, desc, spte)
    total += int(rmap.filled[desc])
    while rmap.more[desc] >= 0:  # removals leave holes, so the sptes behind the hole are counted one by one
        desc = int(rmap.more[desc])
        total += int(rmap.filled[desc])
    return total


@jit
def take_off_head(rmap: Rmap, number: int, spte: int, work: Ints) -> None:
    """Take ``spte`` off head ``number`` (pte_list_remove): the descriptors are searched one after the other.

    ``rmap`` and ``work`` change in place. The spte must be on the head.
    """
    value = look_head(rmap, number, work)
    if value > 0:
        rmap.head[number] = 0
        return
    before, desc = -1, -value - 1
    place = find_in_desc(rmap, desc, spte, work)
    while place < 0:
        before, desc = desc, int(rmap.more[desc])
        place = find_in_desc(rmap, desc, spte, work)
    if rmap.state[AT_HEAD] != 0:  # the hole is filled from the first descriptor, so that the others stay full
        before, source = -1, -value - 1
    else:
        source = desc
    rmap.filled[source] -= 1
    rmap.sptes[desc, place] = rmap.sptes[source, rmap.filled[source]]
    if rmap.filled[source] == 0:
        unlink_desc(rmap, number, before, source, work)


@part
def find_in_desc(rmap: Rmap, desc: int, spte: int, work: Ints) -> int:
    """Place of ``spte`` in descriptor ``desc`` of ``rmap``, -1 if another descriptor has it; ``work`` counts the lines."""
    look_desc(rmap, desc, work)
    for i in range(rmap.filled[desc]):
        if rmap.sptes[desc, i] == spte:
            return i
    return -1


@part
def unlink_desc(rmap: Rmap, number: int, before: int, desc: int, work: Ints) -> None:
    """Free the empty descriptor ``desc`` of head ``number``; ``rmap`` and ``work`` change in place.

    before: the descriptor in front of ``desc``; -1: the head itself.
    """
    behind = int(rmap.more[desc])
    if before >= 0:
        rmap.more[before] = behind
    else:
        rmap.head[number] = 0 if behind < 0 else -(behind + 1)
    free_desc(rmap, desc, work)


@inlined
def walk_head(tables: SpteTables, rmap: Rmap, number: int, walk: Walk) -> int:
    """Do the action of ``walk`` to every spte of head ``number``; returns the number of sptes changed.

    ``tables`` changes in place; if the action is ZAP, ``rmap`` too: the head is empty and its descriptors are free.
    """
    value = look_head(rmap, number, walk.work)
    if value == 0:
        return 0
    walk.work[FOUND] += 1
    changed = 0
    if value > 0:
        changed = act(tables, walk, value - 1)
    else:
        desc, looked_at = -value - 1, -1
        while desc >= 0:
            look_desc_of_walk(rmap, desc, looked_at, walk.work)
            held = int(rmap.filled[desc])
            for i in range(held):
                changed += act(tables, walk, int(rmap.sptes[desc, i]))
            behind = int(rmap.more[desc])  # read before free_desc, which links the descriptor to the free ones
            looked_at = held
            if walk.action == ZAP:
                free_desc(rmap, desc, walk.work)
                looked_at = -1  # freeing takes longer than the load of the next one, whose address is known by then
            desc = behind
    if walk.action == ZAP:
        rmap.head[number] = 0
        level = 0 if number < rmap.offset[1] else 1 if number < rmap.offset[2] else 2
        rmap.state[MAPPED + level] -= changed
    return changed


@jit
def walk_rmap(tables: SpteTables, rmap: Rmap, walk: Walk) -> int:
    """Do the action of ``walk`` to every spte that maps a gfn of the call; returns the number of sptes changed.

    ``tables`` and, if the action is ZAP, ``rmap`` change in place.
    """
    changed, is_masked = 0, len(walk.mask) > 0
    for level in range(LEVELS):
        if is_masked and level > 0 and rmap.state[MAPPED + level] == 0:
            continue  # CLEAR looks at 4 KiB heads; large sptes of a logged slot have no W, but for a caller that kept it
        for number in range(head_of(rmap, walk.first, level), head_of(rmap, walk.end - 1, level) + 1):
            low = (number - int(rmap.offset[level])) << (9 * level)
            if not is_masked or masks_any(walk, low, low + (1 << (9 * level))):
                changed += walk_head(tables, rmap, number, walk)
    return changed


@jit
def walk_rmap_calls(
    tables: SpteTables, rmap: Rmap, walk: Walk, firsts: Ints, ends: Ints, n_locks: int, rows: NDArray[np.int64]
) -> None:
    """Make one call for each range of gfns [firsts[i], ends[i]) of ``walk``, in turn.

    n_locks: lock round trips of a call.
    rows: int64[calls, N_WORK], filled in place with the counts of each call.
    """
    for i in range(len(firsts)):
        call = call_of(tables, walk, int(firsts[i]), int(ends[i]), n_locks, rows[i])
        walk_rmap(tables, rmap, call)
        end_call(call, rows[i])


@jit
def map_to_heads(
    tables: SpteTables, rmap: Rmap, sptes: Ints, gfns: Ints, flags: int, recycle: int, walk: Walk
) -> None:
    """Map ``sptes``, all absent, to ``gfns`` with ``flags``, each on the head of its gfn (__rmap_add).

    ``tables``, ``rmap`` and ``walk`` change in place; ``rmap`` must have a free descriptor for each of ``sptes``.
    recycle: a gfn that then has more sptes loses them all; 0: no limit.
    """
    for i in range(len(sptes)):
        spte, gfn = int(sptes[i]), int(gfns[i])
        set_spte(tables, spte, gfn, flags, walk.work)
        level = int(tables.level[spte >> 9])
        number = head_of(rmap, gfn, level)
        rmap.state[MAPPED + level] += 1
        if add_to_head(rmap, number, spte, walk.work) > recycle > 0:
            walk_head(tables, rmap, number, walk)


@jit
def drop_off_heads(tables: SpteTables, rmap: Rmap, sptes: Ints, walk: Walk) -> None:
    """Take each of ``sptes`` off its head and zap it; ``tables``, ``rmap`` and ``walk`` change in place."""
    for i in range(len(sptes)):
        spte = int(sptes[i])
        level = int(tables.level[spte >> 9])
        take_off_head(rmap, head_of(rmap, int(tables.gfn[spte]), level), spte, walk.work)
        rmap.state[MAPPED + level] -= 1
        act(tables, walk, spte)


@jit
def count_by_head(rmap: Rmap, counts: Ints) -> None:
    """Count the 4 KiB sptes of each gfn. counts: int64[pages], zeros, filled in place."""
    for number in range(len(counts)):
        value = int(rmap.head[number])
        if value > 0:
            counts[number] = 1
        desc = -value - 1
        while desc >= 0:
            counts[number] += rmap.filled[desc]
            desc = int(rmap.more[desc])


# The design.


class RmapIndex(BaseIndex):
    """The rmap of x86.

    kind: layout of the descriptors.
    recycle: as in Traits.
    fast_zap: zapping all sptes is put off until the lock is dropped (kvm_mmu_zap_all_fast).
    """

    name: ClassVar[str] = "rmap"
    link_bytes: ClassVar[int] = 4
    traits = Traits(zaps_all_on_delete=True, recycle=RECYCLE_THRESHOLD)

    def __init__(
        self, tables: SpteTables, slots: Sequence[Slot], kind: DescKind = DESC_KINDS["14"],
        recycle: int = RECYCLE_THRESHOLD, *, fast_zap: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(tables, slots)
        self.traits = self.traits.but(recycle=recycle)
        self.kind, self.fast_zap = kind, fast_zap
        self.rmap = make_rmap(self.n_pages, self.kind)

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Add each of ``sptes`` to the head of its gfn; see BaseIndex.place for ``gfns``, ``flags`` and ``walk``."""
        room = len(self.rmap.more) - int(self.rmap.state[N_DESCS])
        if room < len(sptes):  # each spte may need a descriptor, and a compiled loop cannot make room
            self.rmap = grown(self.rmap, max(len(sptes), len(self.rmap.more)))
        map_to_heads(self.tables, self.rmap, sptes, gfns, flags, self.traits.recycle, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Search the head of each of ``sptes`` and take the spte off; ``walk`` counts the lines."""
        drop_off_heads(self.tables, self.rmap, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Walk the heads of the gfns in order."""
        return walk_rmap(self.tables, self.rmap, walk)

    def apply_each(self, walk: Walk, firsts: Gfns, ends: Gfns, rows: NDArray[np.int64]) -> None:
        """Walk the heads of each call; see BaseIndex.apply_each for ``walk``, ``firsts``, ``ends`` and ``rows``."""
        walk_rmap_calls(self.tables, self.rmap, walk, firsts, ends, self.locks(walk.action), rows)

    def lengths(self) -> NDArray[np.int64]:
        """int64[pages]: 4 KiB sptes of each gfn."""
        counts = np.zeros(self.n_pages, np.int64)
        count_by_head(self.rmap, counts)
        return counts

    def index_bytes(self) -> dict[str, int]:
        """Heads of three levels, of mapped gfns or not, and descriptors in use."""
        heads = sum(int(heads_of(slot.n_pages).sum()) for i, slot in enumerate(self.slots) if i not in self.gone)
        return {"heads": heads * HEAD_BYTES, "descriptors": int(self.rmap.state[N_DESCS]) * self.kind.n_bytes}
