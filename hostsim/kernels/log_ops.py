"""Whole-slot work on sptes: what enabling, reading, clearing and disabling the dirty log does to them.

Linux arch/x86/kvm/mmu/mmu.c::kvm_mmu_slot_apply_flags and what it calls. Each returns how much there was to do; host code
turns that into time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.jit import jit
from hostsim.kernels.faults import split_on_fault
from hostsim.mmu.spte import DIRTY, PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes

Bytes = NDArray[np.uint8]


@jit
def protect_large(sptes: Sptes, first_region: int, end_region: int) -> int:
    """Remove W from large sptes of regions [first_region, end_region); returns how many had it."""
    changed = 0
    for region in range(first_region, end_region):
        if sptes.level[region] == 1 and sptes.large[region] & WRITABLE != 0:
            sptes.large[region] &= ~WRITABLE & 0xFF
            changed += 1
    return changed


@jit
def protect_small(sptes: Sptes, first: int, end: int, flag: int) -> int:
    """Remove ``flag`` (WRITABLE, or DIRTY where PML logs) from 4 KiB sptes of [first, end); returns how many had it."""
    changed = 0
    for page in range(first, end):
        if sptes.spte[page] & flag != 0:
            sptes.spte[page] &= ~flag & 0xFF
            changed += 1
    return changed


@jit
def split_large(sptes: Sptes, first_region: int, end_region: int) -> int:
    """Eager split: 512 sptes with the flags of the large one they replace; returns how many regions were split."""
    split = 0
    for region in range(first_region, end_region):
        if sptes.level[region] == 1:
            flags = sptes.large[region]
            split_on_fault(sptes, region)
            for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
                sptes.spte[page] = flags
            split += 1
    return split


@jit
def keep_first_of(sptes: Sptes, group: int) -> None:
    """Of every ``group`` regions that one larger spte maps, only the first stays mapped (hostsim/host/kvm/dirty_log.py)."""
    for region in range(len(sptes.level)):
        if region % group != 0 and sptes.level[region] == 1:
            split_on_fault(sptes, region)


@jit
def clear_masked(sptes: Sptes, mask: Bytes, first: int, end: int, flag: int) -> int:
    """CLEAR_DIRTY_LOG for pages of [first, end) in ``mask``: log bit and ``flag`` cleared; returns how many bits.

    mask: uint8[n_pages], what GET returned. Only bits that are set in the log are cleared (virt/kvm/kvm_main.c).
    """
    cleared = 0
    for page in range(first, end):
        if mask[page] == 1 and sptes.dirty[page] == 1:
            sptes.dirty[page] = 0
            sptes.spte[page] &= ~flag & 0xFF
            cleared += 1
    return cleared


@jit
def recover_large(sptes: Sptes, first_region: int, end_region: int, zap: bool) -> int:
    """Logging stops: regions of 4 KiB sptes become large ones, or are zapped to be mapped large later; returns how many.

    Regions of which nothing is mapped are left alone.
    """
    recovered = 0
    for region in range(first_region, end_region):
        mapped = False
        for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
            mapped = mapped or sptes.spte[page] != 0
        if sptes.level[region] == 0 and mapped:
            split_on_fault(sptes, region)
            recovered += 1
            if not zap:
                sptes.level[region], sptes.large[region] = 1, PRESENT | WRITABLE | DIRTY
    return recovered


@jit
def make_old(sptes: Sptes, first: int, end: int) -> int:
    """Age 4 KiB sptes without an A bit: R, W and X go, the next access is an exit; returns how many were young."""
    young = 0
    for page in range(first, end):
        if sptes.spte[page] & PRESENT != 0 and sptes.spte[page] & TRACKED == 0:
            sptes.spte[page] = (sptes.spte[page] | TRACKED) & ~WRITABLE & 0xFF
            young += 1
    return young


@jit
def clean_among(bitmap: Bytes, first: int, end: int, step: int) -> int:
    """How many of pages first, first + step, .. below end are not in ``bitmap``."""
    clean = 0
    for page in range(first, end, step):
        clean += 1 - bitmap[page]
    return clean


@jit
def all_writable_or_small(sptes: Sptes, first: int, end: int) -> bool:
    """Whether a read of any page of [first, end) needs nothing, and no write has to split a large spte."""
    for page in range(first, end):
        region = page // REGION_PAGES
        flags = sptes.large[region] if sptes.level[region] == 1 else sptes.spte[page]
        if flags & PRESENT == 0 or flags & TRACKED != 0 or (sptes.level[region] == 1 and flags & WRITABLE == 0):
            return False
    return True
