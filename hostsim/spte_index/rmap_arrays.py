"""Reverse map of x86: a head a gfn and level, inlined spte or chain of descriptors.

Linux arch/x86/kvm/mmu/mmu.c::gfn_to_rmap, ::pte_list_add; struct kvm_rmap_head, struct pte_list_desc.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.tables import LEVELS

HEAD_BYTES = 8
RECYCLE_THRESHOLD = 1000
"""RMAP_RECYCLE_THRESHOLD: more sptes of one gfn are zapped."""
FREE, N_DESCS, WALKED, EXT, AT_HEAD, MAPPED = range(6)
"""Of Rmap.state: first free descriptor, descriptors in use, descriptors visited by additions, sptes that one holds, whether
a new one is pushed in front, sptes of each level.
"""


@dataclass(frozen=True)
class DescKind:
    """``ext``: sptes a descriptor holds; n_bytes: its size; at_head: full ones are tails, so that adding is O(1)."""

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


class Rmap(NamedTuple):
    """Arrays, changed in place.

    head: int32[heads], level 0 first: 0 empty, s + 1 the only spte, -(d + 1) descriptor d. offset: int64[LEVELS + 1], where
    the heads of a level begin. sptes: int32[descriptors, ext]; filled: int32, how many of them are set; tail: int32, sptes
    in the descriptors behind; more: int32, the descriptor behind or -1, the next free one if free. state: int64[8].
    """

    head: NDArray[np.int32]
    offset: NDArray[np.int64]
    sptes: NDArray[np.int32]
    filled: NDArray[np.int32]
    tail: NDArray[np.int32]
    more: NDArray[np.int32]
    state: NDArray[np.int64]


def heads_of(n_pages: int) -> NDArray[np.int64]:
    """int64[LEVELS]: heads of each level for ``n_pages``, one a 4 KiB, 2 MiB and 1 GiB page begun."""
    return np.array([-(-n_pages // (1 << 9 * level)) for level in range(LEVELS)])


def make_rmap(n_pages: int, kind: DescKind, n_descs: int = 64) -> Rmap:
    """Nothing mapped; room for ``n_descs`` descriptors at first."""
    offset = np.concatenate([[0], np.cumsum(heads_of(n_pages))])
    state = np.array([-1, 0, 0, kind.ext, kind.at_head, 0, 0, 0], np.int64)
    none = np.zeros(0, np.int32)
    empty = Rmap(np.zeros(offset[-1], np.int32), offset, np.zeros((0, kind.ext), np.int32), none, none, none, state)
    return grown(empty, n_descs)


def grown(rmap: Rmap, more_descs: int) -> Rmap:
    """The same with room for ``more_descs`` more descriptors: arrays are copied, ``state`` is kept."""
    old, new = len(rmap.more), len(rmap.more) + more_descs
    sptes, filled, tail, more = (np.zeros((new, *a.shape[1:]), np.int32) for a in rmap[2:6])
    for fresh, stale in zip((sptes, filled, tail, more), rmap[2:6], strict=True):
        fresh[:old] = stale
    more[old:] = np.arange(old + 1, new + 1)
    more[-1] = rmap.state[FREE]
    rmap.state[FREE] = old
    return Rmap(rmap.head, rmap.offset, sptes, filled, tail, more, rmap.state)
