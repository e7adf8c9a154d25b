"""Hashes of Book3S PR: every hpte of a vCPU on four or five lists, none of them by gfn.

Linux arch/powerpc/kvm/book3s_mmu_hpte.c, arch/powerpc/include/asm/kvm_book3s.h::struct hpte_cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EA, EA_LONG, VPTE, VPTE_LONG, VPTE_64K = range(5)
"""By effective page; by 4096 of them; by virtual page; by 4096 of them; by 16 of them (64-bit hosts only, later)."""
BITS = (13, 12, 13, 5, 11)
CAP = 32768
"""HPTEG_CACHE_NUM: hptes of a vCPU."""
HEAD_BYTES, LINK_BYTES = 8, 16
REST_BYTES = 88
"""Of struct hpte_cache beside its links: rcu_head 16, host_vpn, pfn and slot 24, struct kvmppc_pte 40 (assumed), pagesize 8
with its padding.
"""
SEGMENT_BITS = 16
"""Pages of a 256 MiB segment: a virtual page is (vsid, page in segment)."""


class PrHashes(NamedTuple):
    """Arrays, changed in place. Nodes of vCPU v are [v x cap, (v + 1) x cap).

    head: int32[vCPUs, heads], n + 1 or 0, list after list; offset: int64[lists], where a list's heads begin. next, prev:
    int32[lists, nodes], as in Chains. spte: int32[nodes], s + 1 or 0 if free; node_of: int32[sptes], n + 1 or 0. free:
    int32[nodes], a stack a vCPU; used: int64[vCPUs].
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
    """Nothing mapped. n_lists: 5 on 64-bit hosts, 4 on 32-bit ones."""
    sizes = np.array([1 << bits for bits in BITS[:n_lists]])
    n_nodes = n_vcpus * cap
    free = np.concatenate([np.arange((v + 1) * cap - 1, v * cap - 1, -1) for v in range(n_vcpus)]).astype(np.int32)
    links, nodes = np.zeros((n_lists, n_nodes), np.int32), np.zeros(n_nodes, np.int32)
    return PrHashes(
        np.zeros((n_vcpus, int(sizes.sum())), np.int32), np.cumsum(sizes) - sizes, links, links.copy(),
        nodes, np.zeros(n_sptes, np.int32), free, np.zeros(n_vcpus, np.int64),
    )  # fmt: skip
