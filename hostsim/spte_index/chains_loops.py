"""Chains of nodes: linking, unlinking, and walks over one chain, all of them, or the buckets of a range of gfns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit
from hostsim.spte_index.chains_arrays import BACK_BYTES, FREE, LINK_BYTES, N_NODES, Chains
from hostsim.spte_index.spte import WRITABLE
from hostsim.spte_index.tables import LEVELS, SpteTables
from hostsim.spte_index.walk import PROTECT, ZAP, Walk, act, bucket, look, look_gfn, meets, set_spte
from hostsim.spte_index.work import ALLOCATIONS, FREES, HEADS, LINE_BYTES, NODES, VISITED

Ints = NDArray[np.int64]
NODE_BYTES = LINK_BYTES + BACK_BYTES


@inlined
def look_node(node: int, work: Ints) -> None:
    """Count the line in which a node begins."""
    look(work, NODES, node * NODE_BYTES // LINE_BYTES)


@inlined
def chain_of(chains: Chains, gfn: int, level: int) -> int:
    """The chain on which an spte of ``gfn`` (its first) belongs."""
    if chains.bits > 0:
        return bucket(gfn + level, chains.bits)  # gfns of large sptes end in zeros: their levels do not collide
    slot = 0
    while gfn >= chains.first[slot + 1]:
        slot += 1
    return slot


@inlined
def link(tables: SpteTables, chains: Chains, spte: int, work: Ints) -> None:
    """A node for ``spte`` at the front of its chain; nothing if it has one."""
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
    """Free the node of ``spte``; nothing if it has none."""
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
    """Act on every spte of a chain, or unless ``whole`` on those that map a gfn of the call; returns how many were changed.

    A node goes with an spte that is zapped, and if ``let_go`` with one that loses W.
    """
    look(walk.work, HEADS, chain >> 3)
    changed, node = 0, int(chains.head[chain]) - 1
    while node >= 0:
        look_node(node, walk.work)
        walk.work[VISITED] += 1
        behind, spte = int(chains.next[node]) - 1, int(chains.spte[node])
        if whole or _is_meant(tables, walk, spte):
            changed += act(tables, walk, spte)
            if walk.action == ZAP or (let_go and walk.action == PROTECT):
                unlink(chains, spte, walk.work)
                if behind >= 0:  # the walk stands at the node it goes on with
                    look_node(behind, walk.work)
        node = behind
    return changed


@inlined
def _is_meant(tables: SpteTables, walk: Walk, spte: int) -> bool:
    look_gfn(tables, spte, walk.work)
    return meets(tables, walk, spte)


@jit
def walk_all_chains(tables: SpteTables, chains: Chains, walk: Walk, whole: bool, let_go: bool) -> int:
    """``walk_chain`` of every chain."""
    changed = 0
    for chain in range(len(chains.head)):
        changed += walk_chain(tables, chains, chain, walk, whole, let_go)
    return changed


@jit
def walk_buckets(tables: SpteTables, chains: Chains, walk: Walk) -> int:
    """A hash by gfn: the bucket of every gfn of the call and level, or all buckets if those are fewer."""
    if walk.end - walk.first > len(chains.head):
        return walk_all_chains(tables, chains, walk, False, False)
    changed = 0
    for level in range(LEVELS):
        shift = 9 * level
        for number in range(walk.first >> shift, ((walk.end - 1) >> shift) + 1):
            gfn = number << shift
            if len(walk.mask) == 0 or _names(walk, gfn, gfn + (1 << shift)):
                changed += _walk_gfn(tables, chains, gfn, level, walk)
    return changed


@inlined
def _names(walk: Walk, low: int, high: int) -> bool:
    for gfn in range(max(low, walk.first), min(high, walk.end)):
        if walk.mask[gfn - walk.first] != 0:
            return True
    return False


@inlined
def _walk_gfn(tables: SpteTables, chains: Chains, gfn: int, level: int, walk: Walk) -> int:
    """Act on the sptes of one level whose first gfn is ``gfn``."""
    chain = bucket(gfn + level, chains.bits)
    look(walk.work, HEADS, chain >> 3)
    changed, node = 0, int(chains.head[chain]) - 1
    while node >= 0:
        look_node(node, walk.work)
        walk.work[VISITED] += 1
        behind, spte = int(chains.next[node]) - 1, int(chains.spte[node])
        if look_gfn(tables, spte, walk.work) == gfn and tables.level[spte >> 9] == level:
            changed += act(tables, walk, spte)
            if walk.action == ZAP:
                unlink(chains, spte, walk.work)
        node = behind
    return changed


@jit
def map_linked(tables: SpteTables, chains: Chains, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> None:
    """Map ``sptes``, each with a node."""
    for i in range(len(sptes)):
        set_spte(tables, int(sptes[i]), int(gfns[i]), flags, walk.work)
        link(tables, chains, int(sptes[i]), walk.work)


@jit
def drop_linked(tables: SpteTables, chains: Chains, sptes: Ints, walk: Walk) -> None:
    """Unmap each of ``sptes`` with its node."""
    for spte in sptes:
        unlink(chains, int(spte), walk.work)
        act(tables, walk, int(spte))


@jit
def link_all(tables: SpteTables, chains: Chains, sptes: Ints, writable_only: bool, work: Ints) -> None:
    """A node for each of ``sptes``, or for those that are writable."""
    for spte in sptes:
        if not writable_only or tables.flags[spte] & WRITABLE != 0:
            link(tables, chains, int(spte), work)


@jit
def unlink_all(chains: Chains, sptes: NDArray[np.int32], work: Ints) -> None:
    """No nodes for ``sptes``."""
    for spte in sptes:
        unlink(chains, int(spte), work)


@jit
def free_chain(chains: Chains, chain: int, work: Ints) -> None:
    """Free all nodes of a chain."""
    look(work, HEADS, chain >> 3)
    while chains.head[chain] > 0:
        unlink(chains, int(chains.spte[chains.head[chain] - 1]), work)


@jit
def lengths(chains: Chains, counts: Ints) -> None:
    """Nodes of each chain: int64[chains], in place."""
    for chain in range(len(counts)):
        node = int(chains.head[chain])
        while node > 0:
            counts[chain] += 1
            node = int(chains.next[node - 1])
