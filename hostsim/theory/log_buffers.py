"""Exits because a log is full, and faults that neighbours spare: counts in closed form."""

from __future__ import annotations

from collections.abc import Iterable

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
