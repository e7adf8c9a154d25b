"""Ageing by mmu notifiers: which pages were accessed since they were last asked about.

Linux virt/kvm/kvm_main.c::kvm_mmu_notifier_clear_young, ::kvm_mmu_notifier_test_young; arch/x86/kvm/mmu/mmu.c::kvm_age_gfn;
spte.c::mark_spte_for_access_track; before that mmu.c::kvm_age_rmapp. Masks are uint8, one for each page asked about.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, inlined_and_called, jit, part
from hostsim.kvm.loops.armed import STOPPED, count_range, flags_of, span_end, span_first
from hostsim.kvm.loops.layout import CLEARS_A, REGION_BITS, ZAPS, Kvm, State
from hostsim.kvm.loops.streams import rearm
from hostsim.kvm.loops.tlb import mark_stale
from hostsim.spte_index.spte import KEPT, OLD, PRESENT, REGION_PAGES, STALE, TRACKED, WRITABLE

Bytes = NDArray[np.uint8]


@inlined_and_called
def is_young(flags: int) -> bool:
    """Whether an spte with ``flags`` was accessed since it was made old, or mapped."""
    return bool(flags & (PRESENT | STOPPED) == PRESENT)


@inlined
def _aged(state: State, flags: int, stale: int) -> int:
    """Flags of a young spte when it has been made old; stale: STALE, or 0."""
    if state.ageing == CLEARS_A:
        return flags | OLD | stale
    if state.ageing == ZAPS:
        return flags & KEPT
    # W goes: the fault that ends the tracking gives back R and X alone (spte.c::mark_spte_for_access_track,
    # ::restore_acc_track_spte).
    return (flags | TRACKED) & (~WRITABLE & 0xFF)


@inlined_and_called
def test_young(k: Kvm, first: int, end: int, young: Bytes) -> int:
    """``young`` says which of pages [first, end) are young; returns how many."""
    n, low, spte = 0, first, k.sptes.spte
    while low < end:
        region = low >> REGION_BITS
        high = min(end, (region + 1) * REGION_PAGES)
        if k.sptes.level[region] != 0:
            is_one = is_young(k.sptes.large[region])
            for page in range(low, high):
                young[page - first] = is_one
            n += is_one * (high - low)
        else:
            for page in range(low, high):
                is_one = is_young(spte[page])
                young[page - first] = is_one
                n += is_one
        low = high
    return n


@jit
def maps_any(k: Kvm, first: int, end: int) -> bool:
    """Whether any page of [first, end) is mapped."""
    for page in range(first, end):
        if flags_of(k.sptes, page) & PRESENT != 0:
            return True
    return False


@part
def _age_region(k: Kvm, region: int, low: int, high: int, stale: int, now_ns: int) -> None:
    """Young sptes of pages [low, high), which lie in one region or under one large spte, become old."""
    cleared, since_ns = k.state.cleared_at, now_ns if stale != 0 else 0
    if k.sptes.level[region] != 0:
        flags = _aged(k.state, k.sptes.large[region], stale)
        level = 0 if k.state.ageing == ZAPS else k.sptes.level[region]
        for other in range(low // REGION_PAGES, high // REGION_PAGES):
            k.sptes.large[other], k.sptes.level[other] = flags, level
            if cleared > 0:
                k.tape[cleared + len(k.sptes.spte) + other] = since_ns
        return
    for page in range(low, high):
        if is_young(k.sptes.spte[page]):
            k.sptes.spte[page] = _aged(k.state, k.sptes.spte[page], stale)
            if cleared > 0:
                k.tape[cleared + page] = since_ns
            if k.state.cap_sptes > 0 and k.state.ageing == ZAPS:
                k.state.mapped_sptes -= 1


@inlined
def _has_young(young: Bytes, low: int, high: int) -> bool:
    n = 0
    for i in range(low, high):
        n += int(young[i])
    return n > 0


@jit
def clear_young(k: Kvm, first: int, end: int, young: Bytes, now_ns: int, flushed: bool) -> int:
    """As ``test_young``, and young pages are old from ``now_ns`` on; a large spte is aged as a whole.

    flushed: no TLB has a translation of before; else, where TLBs are modelled, those A bits are STALE.
    """
    stale = STALE if k.state.cleared_at > 0 and k.state.ageing == CLEARS_A and not flushed else 0
    found = test_young(k, first, end, young)
    low, lowest, highest = first, first - first % REGION_PAGES, end + REGION_PAGES
    # A region at a time, counted out before it is changed and in after it: both counts have to see one state of its sptes.
    while low < end and found > 0:
        region = low >> REGION_BITS
        high = min(end, (region + 1) * REGION_PAGES)
        whole = k.sptes.level[region] != 0
        if (not whole or is_young(k.sptes.large[region])) and _has_young(young, low - first, high - first):
            start = span_first(k, region) * REGION_PAGES if whole else low
            stop = span_end(k, region) * REGION_PAGES if whole else high
            count_range(k, start, stop, -1)
            _age_region(k, region, start, stop, stale, now_ns)
            count_range(k, start, stop, 1)
            if stale != 0:
                mark_stale(k, start, stop)
            lowest, highest = min(lowest, start), max(highest, stop)
        low = high
    if found > 0:
        rearm(k, lowest, highest, now_ns)
    return found
