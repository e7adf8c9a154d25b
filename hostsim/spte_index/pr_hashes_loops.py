"""Book3S PR: five lists a vCPU, none by gfn; what the host asks for is found by looking at every hpte.

Linux arch/powerpc/kvm/book3s_mmu_hpte.c::kvmppc_mmu_hpte_cache_map, ::kvmppc_mmu_pte_flush, ::kvmppc_mmu_pte_pflush.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.spte_index.pr_hashes_arrays import (
    BITS,
    EA,
    EA_LONG,
    LINK_BYTES,
    REST_BYTES,
    SEGMENT_BITS,
    VPTE,
    VPTE_LONG,
    PrHashes,
)
from hostsim.spte_index.tables import SpteTables
from hostsim.spte_index.walk import Walk, act, bucket, look, meets, set_spte, va_of
from hostsim.spte_index.work import ALLOCATIONS, FREES, HEADS, LINE_BYTES, NODES, VISITED

Ints = NDArray[np.int64]


@inlined
def _vpage(tables: SpteTables, spte: int) -> int:
    """Virtual page: (vsid, page in its segment); an address space has a vsid for each of its segments."""
    va, space = va_of(tables, spte), int(tables.space[spte >> 9])
    vsid = (space << 20) | (va >> SEGMENT_BITS)
    return (vsid << SEGMENT_BITS) | (va & ((1 << SEGMENT_BITS) - 1))


@inlined
def key_of(tables: SpteTables, spte: int, which: int) -> int:
    """What list ``which`` hashes of an hpte."""
    if which == EA:
        return va_of(tables, spte)
    if which == EA_LONG:
        return va_of(tables, spte) & 0xFFFF
    vpage = _vpage(tables, spte)
    if which == VPTE:
        return vpage & 0xFFFFFFFFF
    if which == VPTE_LONG:
        return (vpage & 0xFFFFFF000) >> 12
    return (vpage & 0xFFFFFFFF0) >> 4


@inlined
def _head(hashes: PrHashes, which: int, key: int) -> int:
    return int(hashes.offset[which]) + bucket(key, BITS[which])


@inlined
def _look_hpte(hashes: PrHashes, node: int, part: int, work: Ints) -> None:
    """Count a line of an hpte: 0 its links, 1 and 2 the rest; they lie one behind the other."""
    n_bytes = LINK_BYTES * len(hashes.offset) + REST_BYTES
    look(work, NODES, (node * n_bytes + part * LINE_BYTES) // LINE_BYTES)


@inlined
def _look_head(hashes: PrHashes, vcpu: int, number: int, work: Ints) -> None:
    look(work, HEADS, (vcpu * hashes.head.shape[1] + number) >> 3)


@inlined
def _link(tables: SpteTables, hashes: PrHashes, vcpu: int, spte: int, work: Ints) -> None:
    hashes.used[vcpu] += 1
    cap = len(hashes.spte) // len(hashes.used)
    node = int(hashes.free[(vcpu + 1) * cap - hashes.used[vcpu]])
    work[ALLOCATIONS] += 1
    for number in range(3):
        _look_hpte(hashes, node, number, work)
    for which in range(len(hashes.offset)):
        number = _head(hashes, which, key_of(tables, spte, which))
        _look_head(hashes, vcpu, number, work)
        front = int(hashes.head[vcpu, number])
        if front > 0:
            _look_hpte(hashes, front - 1, 0, work)
            hashes.prev[which, front - 1] = node + 1
        hashes.next[which, node], hashes.prev[which, node] = front, -(number + 1)
        hashes.head[vcpu, number] = node + 1
    hashes.spte[node], hashes.node_of[spte] = spte + 1, node + 1


@inlined
def _unlink(hashes: PrHashes, spte: int, work: Ints) -> None:
    """Off all lists: invalidate_pte."""
    node = int(hashes.node_of[spte]) - 1
    cap = len(hashes.spte) // len(hashes.used)
    vcpu = node // cap
    for which in range(len(hashes.offset)):
        behind, before = int(hashes.next[which, node]), int(hashes.prev[which, node])
        if before > 0:
            _look_hpte(hashes, before - 1, 0, work)
            hashes.next[which, before - 1] = behind
        else:
            _look_head(hashes, vcpu, -before - 1, work)
            hashes.head[vcpu, -before - 1] = behind
        if behind > 0:
            _look_hpte(hashes, behind - 1, 0, work)
            hashes.prev[which, behind - 1] = before
    hashes.spte[node] = hashes.node_of[spte] = 0
    hashes.free[(vcpu + 1) * cap - hashes.used[vcpu]] = node
    hashes.used[vcpu] -= 1
    work[FREES] += 1


@jit
def map_hptes(tables: SpteTables, hashes: PrHashes, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> int:
    """Map ``sptes``, each on all lists of its vCPU; a vCPU that is full drops all it has first. Returns how often."""
    flushed = 0
    cap = len(hashes.spte) // len(hashes.used)
    for i in range(len(sptes)):
        spte = int(sptes[i])
        vcpu = int(tables.vcpu[spte >> 9])
        if hashes.used[vcpu] == cap:
            flush_vcpu(tables, hashes, vcpu, walk)
            flushed += 1
        set_spte(tables, spte, int(gfns[i]), flags, walk.work)
        _link(tables, hashes, vcpu, spte, walk.work)
    return flushed


@jit
def drop_hptes(tables: SpteTables, hashes: PrHashes, sptes: Ints, walk: Walk) -> None:
    """The guest invalidates each of ``sptes`` by its effective address (tlbie): found in the EA list."""
    for i in range(len(sptes)):
        _flush_ea(tables, hashes, int(sptes[i]), walk)


@part
def _flush_ea(tables: SpteTables, hashes: PrHashes, spte: int, walk: Walk) -> None:
    vcpu, wanted = int(tables.vcpu[spte >> 9]), hashes.node_of[spte]
    number = _head(hashes, EA, key_of(tables, spte, EA))
    _look_head(hashes, vcpu, number, walk.work)
    node = int(hashes.head[vcpu, number])
    while node != wanted:
        _look_hpte(hashes, node - 1, 0, walk.work)
        walk.work[VISITED] += 1
        node = int(hashes.next[EA, node - 1])
    _look_hpte(hashes, node - 1, 0, walk.work)
    act(tables, walk, spte)
    _unlink(hashes, spte, walk.work)


@jit
def flush_list(tables: SpteTables, hashes: PrHashes, vcpu: int, which: int, key: int, walk: Walk) -> int:
    """Invalidate the hptes of ``vcpu`` whose key in list ``which`` is ``key``: one bucket is walked. Returns how many."""
    number = _head(hashes, which, key)
    _look_head(hashes, vcpu, number, walk.work)
    changed, node = 0, int(hashes.head[vcpu, number])
    while node > 0:
        _look_hpte(hashes, node - 1, 0, walk.work)
        walk.work[VISITED] += 1
        behind, spte = int(hashes.next[which, node - 1]), int(hashes.spte[node - 1]) - 1
        if key_of(tables, spte, which) == key:
            changed += act(tables, walk, spte)
            _unlink(hashes, spte, walk.work)
        node = behind
    return changed


@jit
def flush_vcpu(tables: SpteTables, hashes: PrHashes, vcpu: int, walk: Walk) -> int:
    """Invalidate all hptes of a vCPU, bucket by bucket of the long virtual pages: kvmppc_mmu_pte_flush_all."""
    changed, low = 0, int(hashes.offset[VPTE_LONG])
    for number in range(low, low + (1 << BITS[VPTE_LONG])):
        _look_head(hashes, vcpu, number, walk.work)
        while hashes.head[vcpu, number] > 0:
            node = int(hashes.head[vcpu, number]) - 1
            _look_hpte(hashes, node, 0, walk.work)
            walk.work[VISITED] += 1
            spte = int(hashes.spte[node]) - 1
            changed += act(tables, walk, spte)
            _unlink(hashes, spte, walk.work)
    return changed


@jit
def flush_gfns(tables: SpteTables, hashes: PrHashes, walk: Walk) -> int:
    """Invalidate what maps a gfn of the call: on every vCPU each hpte is compared. Returns how many went."""
    changed, low = 0, int(hashes.offset[VPTE_LONG])
    for vcpu in range(len(hashes.used)):
        for number in range(low, low + (1 << BITS[VPTE_LONG])):
            _look_head(hashes, vcpu, number, walk.work)
            changed += _flush_bucket(tables, hashes, vcpu, number, walk)
    return changed


@part
def _flush_bucket(tables: SpteTables, hashes: PrHashes, vcpu: int, number: int, walk: Walk) -> int:
    changed, node = 0, int(hashes.head[vcpu, number])
    while node > 0:
        _look_hpte(hashes, node - 1, 0, walk.work)
        walk.work[VISITED] += 1
        behind, spte = int(hashes.next[VPTE_LONG, node - 1]), int(hashes.spte[node - 1]) - 1
        _look_hpte(hashes, node - 1, 2, walk.work)
        if meets(tables, walk, spte):
            changed += act(tables, walk, spte)
            _unlink(hashes, spte, walk.work)
        node = behind
    return changed
