"""Doubly linked chains of nodes, each pointing to an spte: per-slot lists, chains of writable sptes, a hash by gfn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LINK_BYTES = 16
"""struct hlist_node: next and pprev."""
BACK_BYTES = 8
"""From the node to its spte."""
HEAD_BYTES = 8
"""struct hlist_head."""
FREE, N_NODES = range(2)
"""Of Chains.state: first free node, nodes in use."""


class Chains(NamedTuple):
    """Arrays, changed in place.

    head: int32[chains], n + 1 or 0. next: int32[nodes], n + 1 or 0, the next free one if free; prev: int32[nodes], n + 1,
    or -(chain + 1) of the first. spte: int32[nodes]. node_of: int32[sptes], n + 1 or 0. state: int64[2].
    bits: 0: the chain of a node is that of its slot; else chains are 2^bits buckets by gfn. first: int64[slots + 1], first
    gfn of each slot.
    """

    head: NDArray[np.int32]
    next: NDArray[np.int32]
    prev: NDArray[np.int32]
    spte: NDArray[np.int32]
    node_of: NDArray[np.int32]
    state: NDArray[np.int64]
    bits: int
    first: NDArray[np.int64]


def make_chains(first: NDArray[np.int64], n_sptes: int, bits: int = 0) -> Chains:
    """Nothing linked. Nodes are handed out in the order of their addresses until some come back."""
    n_chains = 1 << bits if bits else len(first) - 1
    behind = np.arange(2, n_sptes + 2, dtype=np.int32)
    behind[-1] = 0
    prev, spte, node_of = (np.zeros(n_sptes, np.int32) for _ in range(3))
    return Chains(np.zeros(n_chains, np.int32), behind, prev, spte, node_of, np.array([1, 0], np.int64), bits, first)
