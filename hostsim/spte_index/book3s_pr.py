"""Book3S PR: every hpte of a vCPU on four or five hash lists, none of them by gfn, so the host looks at every hpte.

Linux arch/powerpc/kvm/book3s_mmu_hpte.c::kvmppc_mmu_hpte_cache_map, ::kvmppc_mmu_pte_flush, ::kvmppc_mmu_pte_pflush;
arch/powerpc/include/asm/kvm_book3s.h::struct hpte_cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.spte_index.protocol import BaseIndex, Gfns, Slot, SpteNumbers, Traits
from hostsim.spte_index.tables import SpteTables
from hostsim.spte_index.walk import CLEAR_YOUNG, PROTECT, TEST_YOUNG, ZAP, Walk, act, bucket, look, meets, set_spte, va_of
from hostsim.spte_index.work import ALLOCATIONS, FREES, HEADS, LINE_BYTES, NODES, VISITED

Ints = NDArray[np.int64]
EA, EA_LONG, VPTE, VPTE_LONG, VPTE_64K = range(5)
"""The lists: by effective page; by 4096 of them; by virtual page; by 4096 of them; by 16 of them (64-bit hosts only)."""
BITS = (13, 12, 13, 5, 11)
"""Of each list: 2^bits heads."""
CAP = 32768
"""HPTEG_CACHE_NUM: hptes of a vCPU."""
HEAD_BYTES, LINK_BYTES = 8, 16
REST_BYTES = 88
"""Of struct hpte_cache beside its links: rcu_head 16, host_vpn, pfn and slot 24, struct kvmppc_pte 40 (assumed), pagesize 8
with its padding.
"""
SEGMENT_BITS = 16
"""Pages of a 256 MiB segment: a virtual page is (vsid, page in segment)."""
NODE_BYTES = 48
"""Of a node in this program: five lists (next, prev: int32), its spte and a place in the stack of free nodes (int32)."""

# The arrays.


class PrHashes(NamedTuple):
    """Heads and nodes of all vCPUs, changed in place. Nodes of vCPU v are [v x cap, (v + 1) x cap).

    head: int32[vCPUs, heads], n + 1 of the first node n or 0, list after list.
    offset: int64[lists], first head of each list.
    next, prev: int32[lists, nodes], as in Chains.
    spte: int32[nodes], s + 1, or 0 of a free node.
    node_of: int32[sptes], n + 1 or 0.
    free: int32[nodes], a stack of free nodes for each vCPU.
    used: int64[vCPUs], nodes in use.
    """

    head: NDArray[np.int32]
    offset: NDArray[np.int64]
    next: NDArray[np.int32]
    prev: NDArray[np.int32]
    spte: NDArray[np.int32]
    node_of: NDArray[np.int32]
    free: NDArray[np.int32]
    used: NDArray[np.int64]


def make_pr_hashes(n_vcpus: int, n_sptes: int, n_lists: int = 5, cap: int = CAP) -> PrHashes:
    """Empty hashes for ``n_vcpus`` vCPUs over ``n_sptes`` sptes.

    n_lists: hash lists of a vCPU: 5 on 64-bit hosts, 4 on 32-bit ones.
    cap: hptes of a vCPU (HPTEG_CACHE_NUM).
    """
    sizes = np.array([1 << bits for bits in BITS[:n_lists]])
    n_nodes = n_vcpus * cap
    free = np.concatenate([np.arange((v + 1) * cap - 1, v * cap - 1, -1) for v in range(n_vcpus)]).astype(np.int32)
    links, nodes = np.zeros((n_lists, n_nodes), np.int32), np.zeros(n_nodes, np.int32)
    return PrHashes(
        np.zeros((n_vcpus, int(sizes.sum())), np.int32), np.cumsum(sizes) - sizes, links, links.copy(),
        nodes, np.zeros(n_sptes, np.int32), free, np.zeros(n_vcpus, np.int64),
    )  # fmt: skip


# The loops.


@inlined
def vpage_of(tables: SpteTables, spte: int) -> int:
    """Virtual page (vsid, page in its segment) of an spte; an address space has a vsid for each of its segments."""
    va, space = va_of(tables, spte), int(tables.space[spte >> 9])
    vsid = (space << 20) | (va >> SEGMENT_BITS)
    return (vsid << SEGMENT_BITS) | (va & ((1 << SEGMENT_BITS) - 1))


@inlined
def key_of(tables: SpteTables, spte: int, which: int) -> int:
    """The key of an spte in list ``which``."""
    if which == EA:
        return va_of(tables, spte)
    if which == EA_LONG:
        return va_of(tables, spte) & 0xFFFF
    vpage = vpage_of(tables, spte)
    if which == VPTE:
        return vpage & 0xFFFFFFFFF
    if which == VPTE_LONG:
        return (vpage & 0xFFFFFF000) >> 12
    return (vpage & 0xFFFFFFFF0) >> 4


@inlined
def head_of_key(hashes: PrHashes, which: int, key: int) -> int:
    """Number of the head of ``key`` in list ``which``."""
    return int(hashes.offset[which]) + bucket(key, BITS[which])


@inlined
def look_hpte(hashes: PrHashes, node: int, part: int, work: Ints) -> None:
    """Count in ``work`` one cache line of the hpte ``node``; the hptes of ``hashes`` lie one behind the other.

    part: 0 is the line with the links of the hpte, 1 and 2 are the lines with the rest.
    """
    n_bytes = LINK_BYTES * len(hashes.offset) + REST_BYTES
    look(work, NODES, (node * n_bytes + part * LINE_BYTES) // LINE_BYTES)


@inlined
def look_list_head(hashes: PrHashes, vcpu: int, number: int, work: Ints) -> None:
    """Count in ``work`` the cache line of head ``number`` of ``vcpu``; each vCPU has heads of its own in ``hashes``."""
    look(work, HEADS, (vcpu * hashes.head.shape[1] + number) >> 3)


@inlined
def link_hpte(tables: SpteTables, hashes: PrHashes, vcpu: int, spte: int, work: Ints) -> None:
    """Take a free node of ``vcpu`` for ``spte`` and put it in front of one chain of each list.

    ``hashes`` and ``work`` change in place; ``tables`` has the keys. The vCPU must have a free node.
    """
    hashes.used[vcpu] += 1
    cap = len(hashes.spte) // len(hashes.used)
    node = int(hashes.free[(vcpu + 1) * cap - hashes.used[vcpu]])
    work[ALLOCATIONS] += 1
    for number in range(3):
        look_hpte(hashes, node, number, work)
    for which in range(len(hashes.offset)):
        number = head_of_key(hashes, which, key_of(tables, spte, which))
        look_list_head(hashes, vcpu, number, work)
        front = int(hashes.head[vcpu, number])
        if front > 0:
            look_hpte(hashes, front - 1, 0, work)
            hashes.prev[which, front - 1] = node + 1
        hashes.next[which, node], hashes.prev[which, node] = front, -(number + 1)
        hashes.head[vcpu, number] = node + 1
    hashes.spte[node], hashes.node_of[spte] = spte + 1, node + 1


@inlined
def unlink_hpte(hashes: PrHashes, spte: int, work: Ints) -> None:
    """Take the node of ``spte`` off all lists and free it (invalidate_pte); ``hashes`` and ``work`` change in place."""
    node = int(hashes.node_of[spte]) - 1
    cap = len(hashes.spte) // len(hashes.used)
    vcpu = node // cap
    for which in range(len(hashes.offset)):
        behind, before = int(hashes.next[which, node]), int(hashes.prev[which, node])
        if before > 0:
            look_hpte(hashes, before - 1, 0, work)
            hashes.next[which, before - 1] = behind
        else:
            look_list_head(hashes, vcpu, -before - 1, work)
            hashes.head[vcpu, -before - 1] = behind
        if behind > 0:
            look_hpte(hashes, behind - 1, 0, work)
            hashes.prev[which, behind - 1] = before
    hashes.spte[node] = hashes.node_of[spte] = 0
    hashes.free[(vcpu + 1) * cap - hashes.used[vcpu]] = node
    hashes.used[vcpu] -= 1
    work[FREES] += 1


@jit
def map_hptes(tables: SpteTables, hashes: PrHashes, sptes: Ints, gfns: Ints, flags: int, walk: Walk) -> int:
    """Map ``sptes``, all absent, to ``gfns`` with ``flags``, each on all lists of its vCPU.

    Returns how often a vCPU had reached its cap, so that all its hptes were dropped first. ``tables``, ``hashes`` and
    ``walk`` change in place.
    """
    flushed = 0
    cap = len(hashes.spte) // len(hashes.used)
    for i in range(len(sptes)):
        spte = int(sptes[i])
        vcpu = int(tables.vcpu[spte >> 9])
        if hashes.used[vcpu] == cap:
            flush_vcpu(tables, hashes, vcpu, walk)
            flushed += 1
        set_spte(tables, spte, int(gfns[i]), flags, walk.work)
        link_hpte(tables, hashes, vcpu, spte, walk.work)
    return flushed


@jit
def drop_hptes(tables: SpteTables, hashes: PrHashes, sptes: Ints, walk: Walk) -> None:
    """Invalidate each of ``sptes`` for a tlbie of the guest; ``tables``, ``hashes`` and ``walk`` change in place."""
    for i in range(len(sptes)):
        flush_ea(tables, hashes, int(sptes[i]), walk)


@part
def flush_ea(tables: SpteTables, hashes: PrHashes, spte: int, walk: Walk) -> None:
    """Invalidate ``spte``, found in the list of effective pages; ``tables``, ``hashes`` and ``walk`` change in place."""
    vcpu, wanted = int(tables.vcpu[spte >> 9]), hashes.node_of[spte]
    number = head_of_key(hashes, EA, key_of(tables, spte, EA))
    look_list_head(hashes, vcpu, number, walk.work)
    node = int(hashes.head[vcpu, number])
    while node != wanted:
        look_hpte(hashes, node - 1, 0, walk.work)
        walk.work[VISITED] += 1
        node = int(hashes.next[EA, node - 1])
    look_hpte(hashes, node - 1, 0, walk.work)
    act(tables, walk, spte)
    unlink_hpte(hashes, spte, walk.work)


@jit
def flush_vcpu(tables: SpteTables, hashes: PrHashes, vcpu: int, walk: Walk) -> int:
    """Invalidate all hptes of ``vcpu``, bucket by bucket of VPTE_LONG (kvmppc_mmu_pte_flush_all); returns their number.

    ``tables``, ``hashes`` and ``walk`` change in place.
    """
    changed, low = 0, int(hashes.offset[VPTE_LONG])
    for number in range(low, low + (1 << BITS[VPTE_LONG])):
        look_list_head(hashes, vcpu, number, walk.work)
        while hashes.head[vcpu, number] > 0:
            node = int(hashes.head[vcpu, number]) - 1
            look_hpte(hashes, node, 0, walk.work)
            walk.work[VISITED] += 1
            spte = int(hashes.spte[node]) - 1
            changed += act(tables, walk, spte)
            unlink_hpte(hashes, spte, walk.work)
    return changed


@jit
def flush_gfns(tables: SpteTables, hashes: PrHashes, walk: Walk) -> int:
    """Invalidate the hptes of the gfns of ``walk``; returns their number. ``tables`` and ``hashes`` change in place.

    No list is keyed by gfn, so each hpte of each vCPU is compared (kvmppc_mmu_pte_pflush).
    """
    changed, low = 0, int(hashes.offset[VPTE_LONG])
    for vcpu in range(len(hashes.used)):
        for number in range(low, low + (1 << BITS[VPTE_LONG])):
            look_list_head(hashes, vcpu, number, walk.work)
            changed += flush_bucket(tables, hashes, vcpu, number, walk)
    return changed


@part
def flush_bucket(tables: SpteTables, hashes: PrHashes, vcpu: int, number: int, walk: Walk) -> int:
    """Invalidate the hptes in bucket ``number`` of VPTE_LONG of ``vcpu`` that map a gfn of ``walk``; returns their number.

    ``tables`` and ``hashes`` change in place.
    """
    changed, node = 0, int(hashes.head[vcpu, number])
    while node > 0:
        look_hpte(hashes, node - 1, 0, walk.work)
        walk.work[VISITED] += 1
        behind, spte = int(hashes.next[VPTE_LONG, node - 1]), int(hashes.spte[node - 1]) - 1
        look_hpte(hashes, node - 1, 2, walk.work)  # pte.raddr lies in the third line
        if meets(tables, walk, spte):
            changed += act(tables, walk, spte)
            unlink_hpte(hashes, spte, walk.work)
        node = behind
    return changed


# The design.


class Book3sPrIndex(BaseIndex):
    """The hashes of each vCPU.

    n_lists: 5 on 64-bit hosts, 4 on 32-bit ones.
    cap: hptes of a vCPU.
    has_notifiers: False in 2010, when guest pages were pinned.
    flushes: how often a full vCPU dropped all its hptes.
    """

    name: ClassVar[str] = "book3s-pr"
    harvests_slots: ClassVar[bool] = True  # kvm_vm_ioctl_get_dirty_log_pr
    link_bytes: ClassVar[int] = 4
    traits = Traits(sees_young=False, protects_by_zapping=True, cap=CAP, has_notifiers=False, hashed=True)

    def __init__(
        self, tables: SpteTables, slots: Sequence[Slot], n_vcpus: int = 1, n_lists: int = 5, cap: int = CAP, *,
        has_notifiers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(tables, slots)
        self.traits = self.traits.but(cap=cap, has_notifiers=has_notifiers)
        self.hashes = make_pr_hashes(n_vcpus, len(tables.flags), n_lists, cap)
        self.flushes = 0

    def locks(self, action: int) -> int:
        """One round trip for each vCPU, whose lists have a lock of their own; ageing looks at no list and takes mmu_lock."""
        return 1 if action in {CLEAR_YOUNG, TEST_YOUNG} else len(self.hashes.used)

    def place(self, sptes: SpteNumbers, gfns: Gfns, flags: int, walk: Walk) -> None:
        """Put a node for each of ``sptes`` on every list; a vCPU at its cap drops all its hptes first.

        See BaseIndex.place for ``gfns``, ``flags`` and ``walk``.
        """
        self.flushes += map_hptes(self.tables, self.hashes, sptes, gfns, flags, walk)

    def remove(self, sptes: SpteNumbers, walk: Walk) -> None:
        """Find each of ``sptes`` by its effective address, as a tlbie of the guest does; ``walk`` counts the lines."""
        drop_hptes(self.tables, self.hashes, sptes, walk)

    def apply(self, walk: Walk) -> int:
        """Invalidate to unmap and to protect (kvmppc_mmu_pte_pflush); find nothing young (kvm_age_gfn_pr)."""
        if walk.action in {ZAP, PROTECT}:
            return flush_gfns(self.tables, self.hashes, walk._replace(action=ZAP))
        return 0

    def zap_all(self) -> int:
        """Invalidate all hptes of each vCPU."""
        walk = self.begin(ZAP, 0, self.n_pages)
        return sum(flush_vcpu(self.tables, self.hashes, v, walk) for v in range(len(self.hashes.used)))

    def index_bytes(self) -> dict[str, int]:
        """Heads of each vCPU; of each hpte its links, and the rest."""
        hptes = int(self.hashes.used.sum())
        links = hptes * LINK_BYTES * len(self.hashes.offset)
        return {"heads": self.hashes.head.size * HEAD_BYTES, "links": links, "hptes": hptes * REST_BYTES}

    @classmethod
    def array_bytes(cls, n_pages: int, n_vcpus: int) -> int:
        """Bytes for a node of each spte, one of each of ``n_pages``, and for the nodes of ``n_vcpus`` up to the cap."""
        return n_pages * cls.link_bytes + min(n_pages, n_vcpus * CAP) * NODE_BYTES
