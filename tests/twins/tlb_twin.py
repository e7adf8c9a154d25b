"""Accesses one by one through a real LRU TLB: pages that scans of A bits find, plain and slow, with no model of lives."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Watched:
    """A Poisson guest that is scanned.

    shares: float64[n_pages], of the accesses; per_scan: mean accesses between scans, of each vCPU; entries: of its TLB;
    span: pages of a translation; flush: each scan flushes; scans: how many are counted, after warm_up others.
    """

    shares: NDArray[np.float64]
    per_scan: float
    entries: int
    n_vcpus: int = 1
    span: int = 1
    flush: bool = False
    scans: int = 40
    warm_up: int = 5


@dataclass(frozen=True)
class Seen:
    """float64[scans], by scan: translations found young; those that were accessed and are not."""

    young: NDArray[np.float64]
    false_old: NDArray[np.float64]


def scan_twin(case: Watched, seed: int) -> Seen:
    """Each miss walks the page table, which sets the A bit; a hit does not."""
    rng = np.random.Generator(np.random.PCG64(seed))
    n_pages, translations = len(case.shares), -(-len(case.shares) // case.span)
    tlbs: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(case.n_vcpus)]
    young, false_old = [], []
    for scan in range(case.warm_up + case.scans):
        n = int(rng.poisson(case.per_scan * case.n_vcpus))
        used = (rng.choice(n_pages, n, p=case.shares) // case.span).tolist()
        a_bit, accessed = np.zeros(translations, np.bool_), np.zeros(translations, np.bool_)
        accessed[used] = True
        for vcpu, page in zip(rng.integers(case.n_vcpus, size=n).tolist(), used, strict=True):
            tlb = tlbs[vcpu]
            if page in tlb:
                tlb.move_to_end(page)
                continue
            a_bit[page], tlb[page] = True, None
            if len(tlb) > case.entries:
                tlb.popitem(last=False)
        if case.flush:
            for tlb in tlbs:
                tlb.clear()
        if scan >= case.warm_up:
            young.append(a_bit.sum())
            false_old.append((accessed & ~a_bit).sum())
    return Seen(np.array(young, np.float64), np.array(false_old, np.float64))
