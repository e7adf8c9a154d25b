"""Sptes of one VM: what the hardware may do without leaving the guest, and the dirty log of their slot.

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
"""BLANK, IN_LOG: of the page, not of its mapping, and kept in the place of the 4 KiB spte whatever maps it: its content is
zero; it is in the dirty log, or in a dirty ring. OLD: of the mapping: its A bit is clear; STALE, with OLD: and no TLB has
been flushed since, so an access that finds the translation there leaves the bit clear.
"""
AGED = OLD | STALE
KEPT = BLANK | IN_LOG
REGION_PAGES = 512
"""4 KiB pages under one 2 MiB spte."""


class Sptes(NamedTuple):
    """Arrays of one slot, changed in place: one look at memory tells all of a 4 KiB page.

    spte: uint8[n_pages], flags of 4 KiB sptes, with BLANK and IN_LOG of their pages; level: uint8[n_regions], 1 where one
    large spte maps the region, 2 where one maps the whole block that it is in (1 GiB: 512 regions); its flags are large:
    uint8[n_regions], in a block all the same.
    """

    spte: NDArray[np.uint8]
    level: NDArray[np.uint8]
    large: NDArray[np.uint8]


def make_sptes(n_pages: int) -> Sptes:
    """Nothing mapped, nothing dirty. ``n_pages`` is rounded up to whole regions."""
    n_regions = -(-n_pages // REGION_PAGES)
    sizes = (n_regions * REGION_PAGES, n_regions, n_regions)
    return Sptes(*(np.zeros(size, np.uint8) for size in sizes))
