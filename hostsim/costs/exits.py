"""Exits of a guest under KVM: kinds of faults, how they take mmu_lock, what they cost.

Linux arch/x86/kvm/mmu/mmu.c::fast_page_fault, ::direct_page_fault, ::kvm_tdp_mmu_map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NOTHING, MAP, TRACK, WP, SPLIT, SPURIOUS, PML_FULL = range(7)
N_KINDS = 7
NONE, SHARED, EXCLUSIVE = range(3)
"""How a fault takes mmu_lock."""


class ExitCosts(NamedTuple):
    """Nanoseconds. mode, hold_ns: int64[N_KINDS] by kind; queue_ns: int64[3, k], added to a hold in a mode with k others."""

    exit_ns: int
    entry_ns: int
    spurious_ns: int
    pml_ns: int
    pml_drain_ns: int
    mode: Ints
    hold_ns: Ints
    queue_ns: Ints
