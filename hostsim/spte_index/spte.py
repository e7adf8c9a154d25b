"""Sptes of one VM: the accesses that the hardware makes without an exit, and the dirty log of their slot.

Flags, kernel spelling: arch/x86/kvm/mmu/spte.h (PT_WRITABLE_MASK, shadow_dirty_mask, is_access_track_spte).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PRESENT, WRITABLE, TRACKED, DIRTY = 1, 2, 4, 8
BLANK, IN_LOG = 16, 32
OLD = 64
STALE = 128
"""BLANK, IN_LOG: of the page, kept in the place of the 4 KiB spte, also under a large spte: the content is zero; the page
is in the dirty log, or in a dirty ring. OLD: of the mapping: the A bit is clear. STALE, with OLD: no TLB has been flushed
since, so an access that finds the translation in the TLB leaves the A bit clear.
"""
AGED = OLD | STALE
KEPT = BLANK | IN_LOG
REGION_PAGES = 512
"""4 KiB pages under one 2 MiB spte."""


class Sptes(NamedTuple):
    """Sptes of one slot, changed in place. All flags of a 4 KiB page are one byte, so that an exit misses one cache line.

    spte: uint8[n_pages], flags of 4 KiB sptes, with BLANK and IN_LOG of their pages.
    level: uint8[n_regions], 1: a 2 MiB spte maps the region; 2: a 1 GiB spte maps the block of 512 regions around it.
    large: uint8[n_regions], flags of the large spte; all regions of a block hold equal flags.
    """

    spte: NDArray[np.uint8]
    level: NDArray[np.uint8]
    large: NDArray[np.uint8]


def make_sptes(n_pages: int) -> Sptes:
    """Sptes of ``n_pages``, rounded up to whole regions, with nothing mapped and nothing dirty."""
    n_regions = -(-n_pages // REGION_PAGES)
    sizes = (n_regions * REGION_PAGES, n_regions, n_regions)
    return Sptes(*(np.zeros(size, np.uint8) for size in sizes))
