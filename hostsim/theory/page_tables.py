"""Number of page tables that map a region: radix tables of 512 entries, each a 4 KiB page, from the leaf to the root.

Linux arch/x86/kvm/mmu/mmu_internal.h::SPTE_INDEX; arch/x86/include/asm/kvm_host.h::KVM_HPAGE_GFN_SHIFT.
"""

from __future__ import annotations

from collections.abc import Iterator

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
