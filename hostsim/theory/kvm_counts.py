"""Counts under KVM in closed form: page tables of a region, exits because a log is full, faults that neighbours spare.

Page tables are radix tables of 512 entries, each a 4 KiB page, from the leaf to the root: Linux
arch/x86/kvm/mmu/mmu_internal.h::SPTE_INDEX; arch/x86/include/asm/kvm_host.h::KVM_HPAGE_GFN_SHIFT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

INDEX_BITS = 9
"""Of a gfn, for each level: 512 entries of 8 bytes a table."""
LEVELS = 4


def table_of(gfns: ArrayLike, level: int) -> NDArray[np.int64]:
    """int64: number of the table that holds the entries of ``gfns`` (int64, any shape) at ``level``, 1 being the leaves."""
    return np.asarray(gfns, np.int64) >> (INDEX_BITS * level)


def tables_by_level(gfns: ArrayLike, levels: int = LEVELS) -> Iterator[int]:
    """Tables that map just ``gfns`` by 4 KiB leaves, level by level from the leaves: each table counted once."""
    for level in range(1, levels + 1):
        yield len(np.unique(table_of(gfns, level)))


def table_count(first_gfn: int, n_pages: int, levels: int = LEVELS) -> int:
    """Tables that map pages [first_gfn, first_gfn + n_pages) by 4 KiB leaves, the root included; only the root if none.

    Aligned, with four levels: ceil(P/512) + ceil(P/512^2) + ceil(P/512^3) + 1.
    """
    assert first_gfn >= 0, "a gfn is not negative"
    assert first_gfn + n_pages <= 1 << (levels * INDEX_BITS), "more than the root can map"
    last = first_gfn + n_pages - 1
    return 1 + sum((last >> shift) - (first_gfn >> shift) + 1 for shift in _shifts(levels) if n_pages)


def _shifts(levels: int) -> range:
    """Bits of a gfn below the table's number, for each level under the root."""
    return range(INDEX_BITS, INDEX_BITS * levels, INDEX_BITS)


# Model limit: engines map page by page; present neighbours that a fault of the shadow MMU maps too are in a formula only.
PREFETCHED = 8
"""PTE_PREFETCH_NUM: a fault of the shadow MMU maps up to this many present neighbours (arch/x86/kvm/mmu/mmu.c)."""


def full_buffer_exits(pages: int, entries: int) -> int:
    """Exits of one vCPU that logs ``pages`` in a buffer of ``entries``: floor(pages / entries).

    An upper bound for a PML buffer, which every other exit drains, too. Exact without other exits, and for a dirty ring
    without reaps in between.
    """
    return pages // entries


def hidden_faults(pages: int, prefetched: int = 1) -> int:
    """Faults until a contiguous, aligned region is mapped by touches in order: ceil(pages / prefetched)."""
    return -(-pages // prefetched)


def faults_of_touches(gfns: Iterable[int], prefetched: int = PREFETCHED) -> int:
    """Faults of single touches, one after the other; each maps the aligned group of ``prefetched`` pages around it."""
    mapped: set[int] = set()
    faults = 0
    for gfn in gfns:
        if gfn not in mapped:
            faults += 1
            first = gfn - gfn % prefetched
            mapped.update(range(first, first + prefetched))
    return faults
