"""What an access needs, and what handling it sets: the part of a fault that is about one page.

Linux arch/x86/kvm/mmu/mmu.c::fast_page_fault, ::direct_page_fault, ::kvm_tdp_mmu_map; spte.c::make_spte.
"""

from __future__ import annotations

from hostsim.jit import jit
from hostsim.mmu.spte import DIRTY, PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes

NOTHING, MAP, TRACK, WP, SPLIT, SPURIOUS, PML_FULL = range(7)
N_KINDS = 7


@jit
def flags_of(sptes: Sptes, page: int) -> int:
    """Flags of the spte that maps ``page``."""
    region = page // REGION_PAGES
    return int(sptes.large[region]) if sptes.level[region] == 1 else int(sptes.spte[page])


@jit
def needed(sptes: Sptes, page: int, is_write: bool) -> int:
    """Kind of exit that an access needs now, NOTHING if none."""
    flags = flags_of(sptes, page)
    if flags & PRESENT == 0:
        return MAP
    if flags & TRACKED != 0:
        return TRACK
    if is_write and flags & WRITABLE == 0:
        return SPLIT if sptes.level[page // REGION_PAGES] == 1 else WP
    return NOTHING


@jit
def _region_empty(sptes: Sptes, region: int) -> bool:
    if sptes.level[region] == 1:
        return False
    for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
        if sptes.spte[page] != 0:
            return False
    return True


@jit
def map_page(sptes: Sptes, page: int, is_write: bool, logged: bool, huge: bool) -> None:
    """Map ``page`` writable; with huge host pages and no log the whole region, if nothing in it is mapped.

    A page mapped writable in a logged slot is dirty, read or write (make_spte -> mark_page_dirty_in_slot).
    """
    region = page // REGION_PAGES
    flags = PRESENT | WRITABLE | (DIRTY if is_write or logged else 0)
    if huge and not logged and _region_empty(sptes, region):
        sptes.level[region] = 1
        sptes.large[region] = flags
        return
    sptes.spte[page] = flags
    if logged:
        sptes.dirty[page] = 1


@jit
def split_on_fault(sptes: Sptes, region: int) -> None:
    """Zap the large spte: its 512 pages are unmapped."""
    sptes.level[region] = 0
    sptes.large[region] = 0
    for page in range(region * REGION_PAGES, (region + 1) * REGION_PAGES):
        sptes.spte[page] = 0


@jit
def handle(sptes: Sptes, kind: int, page: int, is_write: bool, logged: bool, huge: bool) -> None:
    """Set what a fault of ``kind`` sets."""
    region = page // REGION_PAGES
    if kind == SPLIT and logged:
        split_on_fault(sptes, region)
    if kind == MAP or (kind == SPLIT and logged):
        map_page(sptes, page, is_write, logged, huge)
    elif kind == SPLIT:
        sptes.large[region] |= WRITABLE | DIRTY
    elif kind == TRACK:
        _restore(sptes, page, is_write, logged)
    elif kind == WP:
        _make_writable(sptes, page, logged)


@jit
def _make_writable(sptes: Sptes, page: int, logged: bool) -> None:
    sptes.spte[page] |= WRITABLE | DIRTY
    if logged:
        sptes.dirty[page] = 1


@jit
def _restore(sptes: Sptes, page: int, is_write: bool, logged: bool) -> None:
    """Access tracking ends; W comes back only with a write, and on a large spte not while the slot is logged."""
    region = page // REGION_PAGES
    if sptes.level[region] == 1:
        sptes.large[region] &= ~TRACKED & 0xFF
        if is_write and not logged:
            sptes.large[region] |= WRITABLE | DIRTY
        return
    sptes.spte[page] &= ~TRACKED & 0xFF
    if is_write:
        _make_writable(sptes, page, logged)


@jit
def log_by_hardware(sptes: Sptes, page: int) -> bool:
    """PML: a first write to a clean, writable page sets its D bit and logs it; True if it did."""
    region = page // REGION_PAGES
    if sptes.level[region] == 1:
        if sptes.large[region] & DIRTY != 0:
            return False
        sptes.large[region] |= DIRTY
    else:
        if sptes.spte[page] & DIRTY != 0:
            return False
        sptes.spte[page] |= DIRTY
    sptes.dirty[page] = 1
    return True
