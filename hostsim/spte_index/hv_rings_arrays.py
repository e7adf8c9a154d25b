"""Book3S HV: a word a gfn, and a ring through the sptes of the gfn in an array parallel to the hash table.

Linux arch/powerpc/kvm/book3s_64_mmu_hv.c::kvm_age_rmapp, ::kvm_unmap_rmapp; struct revmap_entry.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD_BYTES = 8
REVMAP_BYTES = 16
"""struct revmap_entry: guest_rpte 8, forw and back 4 each; one an entry of the hash table, used or not."""


class HvRings(NamedTuple):
    """Arrays, changed in place. ring: int32[pages], s + 1 of one spte of the gfn or 0; saved: uint8[pages], ACCESSED and
    DIRTY of sptes that have gone; forw, back: int32[sptes], the neighbours in the ring.
    """

    ring: NDArray[np.int32]
    saved: NDArray[np.uint8]
    forw: NDArray[np.int32]
    back: NDArray[np.int32]


def make_hv_rings(n_pages: int, n_sptes: int) -> HvRings:
    """Nothing mapped."""
    pages, sptes = np.zeros(n_pages, np.int32), np.zeros(n_sptes, np.int32)
    return HvRings(pages, np.zeros(n_pages, np.uint8), sptes, sptes.copy())
