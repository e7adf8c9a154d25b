"""Chains of nodes that point to sptes: the structure under slot lists, writable chains and the gfn hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit
from hostsim.spte_index.protocol import BaseIndex, Gfns, Slot, SpteNumbers
from hostsim.spte_index.spte import WRITABLE
from hostsim.spte_index.tables import SpteTables
from hostsim.spte_index.walk import PROTECT, ZAP, Walk, act, bucket, look, look_gfn, meets, set_spte
from hostsim.spte_index.work import ALLOCATIONS, FREES, HEADS, LINE_BYTES, NODES, VISITED

Ints = NDArray[np.int64]
LINK_BYTES = 16
"""struct hlist_node: next and pprev."""
BACK_BYTES = 8
"""From the node to its spte."""
NODE_BYTES = LINK_BYTES + BACK_BYTES
HEAD_BYTES = 8
"""struct hlist_head."""

# The arrays.

FREE, N_NODES = range(2)
"""Of Chains.state: first free node, nodes in use."""


class Chains(NamedTuple):
    """Heads and nodes, changed in place. A link to node n is n + 1, and 0 is none.

    head: int32[chains], the first node.
    next: int32[nodes], the node behind; of a free node, the next free one.
    prev: int32[nodes], the node before; of a first node, -(chain + 1).
    spte: int32[nodes], the spte.
    node_of: int32[sptes], the node of an spte.
    state: int64[2], counts as named above.
    bits: 0: a node is on the chain of its slot; else chains are 2^bits buckets by gfn.
    first: int64[slots + 1], first gfn of each slot.
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
    """Empty chains. Nodes are handed out in the order of their addresses until freed ones are taken again.

    first: int64[slots + 1], first gfn of each slot.
    n_sptes: sptes, and as many nodes.
    bits: as in Chains.
    """
    n_chains = 1 << bits if bits else len(first) - 1
    behind = np.arange(2, n_sptes + 2, dtype=np.int32)
    behind[-1] = 0
    prev, spte, node_of = (np.zeros(n_sptes, np.int32) for _ in range(3))
    return Chains(np.zeros(n_chains, np.int32), behind, prev, spte, node_of, np.array([1, 0], np.int64), bits, first)


# The loops.


@inlined
def look_node(node: int, work: Ints) -> None:
    """Count the line in which a node begins."""
    look(work, NODES, node * NODE_BYTES // LINE_BYTES)


@inlined
def chain_of(chains: Chains, gfn: int, level: int) -> int:
    """The chain of an spte that maps ``gfn`` first, at ``level``."""
    if chains.bits > 0:
        return bucket(gfn + level, chains.bits)  # gfns of large sptes end in zeros, so levels do not collide
    slot = 0
    while gfn >= chains.first[slot + 1]:
        slot += 1
    return slot


@inlined
def link(tables: SpteTables, chains: Chains, spte: int, work: Ints) -> None:
    """Put a node for ``spte`` in front of its chain, unless ``spte`` has a node; ``chains`` and ``work`` change in place.

    ``tables``: the gfn and the level of the spte, which choose the chain.
    """
    if chains.node_of[spte] != 0:
        return
    chain = chain_of(chains, int(tables.gfn[spte]), int(tables.level[spte >> 9]))
    node = int(chains.state[FREE]) - 1
    chains.state[FREE] = chains.next[node]
    chains.state[N_NODES] += 1
    work[ALLOCATIONS] += 1
    work[VISITED] += 1
    look(work, HEADS, chain >> 3)
    look_node(node, work)
    front = int(chains.head[chain])
    if front > 0:
        look_node(front - 1, work)
        chains.prev[front - 1] = node + 1
    chains.next[node], chains.prev[node], chains.spte[node] = front, -(chain + 1), spte
    chains.head[chain] = chains.node_of[spte] = node + 1


@inlined
def unlink(chains: Chains, spte: int, work: Ints) -> None:
    """Take the node of ``spte``, if it has one, off its chain and free it; ``chains`` and ``work`` change in place."""
    node = int(chains.node_of[spte]) - 1
    if node < 0:
        return
    behind, before = int(chains.next[node]), int(chains.prev[node])
    look_node(node, work)
    work[VISITED] += 1
    if before > 0:
        look_node(before - 1, work)
        chains.next[before - 1] = behind
    else:
        look(work, HEADS, (-before - 1) >> 3)
        chains.head[-before - 1] = behind
    if behind > 0:
        look_node(behind - 1, work)
        chains.prev[behind - 1] = before
    chains.node_of[spte] = 0
    chains.next[node] = chains.state[FREE]
    chains.state[FREE] = node + 1
    chains.state[N_NODES] -= 1
    work[FREES] += 1


@jit
def walk_chain(tables: SpteTables, chains: Chains, chain: int, walk: Walk, whole: bool, let_go: bool) -> int:
    """Do the action of ``walk`` to the sptes of ``chain``; returns the number of sptes changed.

    ``tables`` changes in place, and ``chains`` too: the node of a zapped spte is freed.
    whole: act on all sptes of the chain, without a look at their gfns; else on those that map a gfn of the call.
    let_go: the node of an spte that loses W is freed, too.
    """
    look(walk.work, HEADS, chain >> 3)
    changed, node = 0, int(chains.head[chain]) - 1
    while node >= 0:
        look_node(node, walk.work)
        walk.work[VISITED] += 1
        behind, spte = int(chains.next[node]) - 1, int(chains.spte[node])
        if whole or is_meant(tables, walk, spte):
            changed += act(tables, walk, spte)
            if walk.action == ZAP or (let_go and walk.action == PROTECT):
                unlink(chains, spte, walk.work)
                if behind >= 0:  # unlink looked at both neighbours; the walk goes on from the one behind
                    look_node(behind, walk.work)
        node = behind
    return changed


@inlined
def is_meant(tables: SpteTables, walk: Walk, spte: int) -> bool:
    """Whether ``spte`` maps a gfn of ``walk``; finding its gfn in the header of its table in ``tables`` is counted."""
    look_gfn(tables, spte, walk.work)
    return meets(tables, walk, spte)


@jit
def walk_all_chains(tables: SpteTables, chains: Chains, walk: Walk, whole: bool, let_go: bool) -> int:
    """``walk_chain`` of every chain of ``chains``: ``tables``, ``walk``, ``whole`` and ``let_go`` as there."""
    changed = 0
    for chain in range(len(chains.head)):
        changed += walk_chain(tables, chains, chain, walk, whole, let_go)
    return changed


@jit
def map_linked(tables: SpteTables, chains: Chains, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> None:
    """Map ``sptes``, all absent, to ``gfns`` with ``flags``, each with a node; ``tables`` and ``chains`` change in place."""
    for i in range(len(sptes)):
        set_spte(tables, int(sptes[i]), int(gfns[i]), flags, walk.work)
        link(tables, chains, int(sptes[i]), walk.work)


@jit
def drop_linked(tables: SpteTables, chains: Chains, sptes: Ints, walk: Walk) -> None:
    """Zap each of ``sptes`` and free its node; ``tables``, ``chains`` and ``walk`` change in place."""
    for spte in sptes:
        unlink(chains, int(spte), walk.work)
        act(tables, walk, int(spte))


@jit
def link_all(tables: SpteTables, chains: Chains, sptes: Ints, writable_only: bool, work: Ints) -> None:
    """Give each of ``sptes`` a node; ``chains`` and ``work`` change in place, ``tables`` is read.

    writable_only: an spte without W gets no node.
    """
    for spte in sptes:
        if not writable_only or tables.flags[spte] & WRITABLE != 0:
            link(tables, chains, int(spte), work)


@jit
def unlink_all(chains: Chains, sptes: NDArray[np.int32], work: Ints) -> None:
    """Free the nodes of those of ``sptes`` that have one; ``chains`` and ``work`` change in place."""
    for spte in sptes:
        unlink(chains, int(spte), work)


@jit
def free_chain(chains: Chains, chain: int, work: Ints) -> None:
    """Free all nodes of ``chain``; ``chains`` and ``work`` change in place."""
    look(work, HEADS, chain >> 3)
    while chains.head[chain] > 0:
        unlink(chains, int(chains.spte[chains.head[chain] - 1]), work)


@jit
def count_by_chain(chains: Chains, counts: Ints) -> None:
    """Count the nodes of each chain. counts: int64[chains], zeros, filled in place."""
    for chain in range(len(counts)):
        node = int(chains.head[chain])
        while node > 0:
            counts[chain] += 1
            node = int(chains.next[node - 1])


# Steps that all designs of chains share.


class ChainedIndex(BaseIndex):
    """An index of chained nodes.

    bits: 2^bits buckets by gfn; 0: a chain for each slot.
    """

    link_bytes: ClassVar[int] = 16

    def __init__(self, tables: SpteTables, slots: Sequence[Slot], bits: int = 0) -> None:
        super().__init__(tables, slots)
        self.chains = make_chains(self.first, len(tables.flags), bits)

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Put a node for each of ``sptes`` on the chain of its slot or bucket; arguments as in BaseIndex."""
        map_linked(self.tables, self.chains, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Take the nodes of ``sptes`` off their chains; links go both ways, so ``walk`` searches nothing."""
        drop_linked(self.tables, self.chains, sptes, walk)

    def index_bytes(self) -> dict[str, int]:
        """Heads, and of each node in use its links and its way back to the spte."""
        nodes = int(self.chains.state[N_NODES])
        heads = len(self.chains.head) * HEAD_BYTES
        return {"heads": heads, "links": nodes * LINK_BYTES, "back references": nodes * BACK_BYTES}

    def walk_slots(self, walk: Walk, *, whole: bool = False, let_go: bool = False) -> int:
        """Walk the chains of the slots that hold the gfns of ``walk``; ``whole`` and ``let_go`` as in ``walk_chain``."""
        return sum(
            walk_chain(self.tables, self.chains, slot, walk, whole, let_go)
            for slot in self.slots_of(walk.first, walk.end)
        )
