"""Translations in the TLBs of vCPUs: A bits that were cleared without a flush, and accesses that set none meanwhile.

The processor sets an A bit on a page walk, so only at a TLB miss. hostsim.kvm.miss_chances has how often that is.
Intel SDM vol. 3, 4.10.2.3 and 30.3.3.2; Linux virt/kvm/kvm_main.c::kvm_flush_remote_tlbs, ::kvm_mmu_notifier_clear_young.
"""

from __future__ import annotations

from math import exp

from hostsim.compiled.jit import inlined, jit, late, part
from hostsim.guest.paced import page_share
from hostsim.guest.touch import (
    CLOCK_COUNT,
    DATA_OFFSET,
    FIRST_GFN,
    HOT_PAGES,
    KIND,
    N_PAGES,
    PACED,
    RATE_DEN,
    RATE_NUM,
    SWEEP,
    TRACE,
    WEIGHTED,
)
from hostsim.kvm.loops.armed import IF_MISSED, count_range, span_end, span_first, super_at, weight_of
from hostsim.kvm.loops.host import interrupt
from hostsim.kvm.loops.layout import REGION_BITS, STALE_ROW, SUPER_BITS, UNIT, Kvm
from hostsim.kvm.loops.streams import rearm
from hostsim.kvm.loops.visits import visit_of
from hostsim.spte_index.spte import OLD, PRESENT, REGION_PAGES, STALE


@inlined
def mark_stale(k: Kvm, first: int, end: int) -> None:
    """Regions of pages [first, end) may have STALE sptes."""
    for region in range(first >> REGION_BITS, (end + REGION_PAGES - 1) >> REGION_BITS):
        upper = super_at(k, region * REGION_PAGES)
        # The upper count is one of regions: a region that is marked already adds nothing.
        k.counts[STALE_ROW, upper] += 1 - k.counts[STALE_ROW, region]
        k.counts[STALE_ROW, region] = 1


@jit
def flush_translations(k: Kvm, now_ns: int) -> int:
    """kvm_flush_remote_tlbs of ``k`` at ``now_ns``: an IPI to the vCPUs in guest mode, a request that the others find.

    No spte is STALE afterwards. Returns the number of vCPUs that were in guest mode.
    """
    running = interrupt(k, now_ns)
    lowest, highest, n_regions = len(k.sptes.spte), -1, len(k.sptes.level)
    for upper in range(n_regions, k.counts.shape[1]):
        if k.counts[STALE_ROW, upper] == 0:  # 512 regions at a look: most flushes find few pages that were aged
            continue
        k.counts[STALE_ROW, upper] = 0
        begin = (upper - n_regions) << (SUPER_BITS - REGION_BITS)
        for region in range(begin, min(n_regions, begin + (1 << (SUPER_BITS - REGION_BITS)))):
            if k.counts[STALE_ROW, region] == 1:
                _flush_region(k, region, now_ns)
                lowest, highest = min(lowest, region * REGION_PAGES), max(highest, (region + 1) * REGION_PAGES)
    if highest >= 0:
        rearm(k, lowest, highest, now_ns)
    return int(running)


@late
def _flush_region(k: Kvm, region: int, now_ns: int) -> None:
    first, end = region * REGION_PAGES, (region + 1) * REGION_PAGES
    count_range(k, first, end, -1)
    k.counts[STALE_ROW, region] = 0
    if k.sptes.level[region] != 0 and k.sptes.large[region] & STALE != 0:
        k.sptes.large[region] &= ~STALE & 0xFF
        _end_exposure(k, len(k.sptes.spte) + region, now_ns)
    for page in range(first, end):
        if k.sptes.spte[page] & STALE != 0:
            k.sptes.spte[page] &= ~STALE & 0xFF
            _end_exposure(k, page, now_ns)
    count_range(k, first, end, 1)


@inlined
def _end_exposure(k: Kvm, at: int, now_ns: int) -> None:
    """Accesses were unseen until now: from now on the negative of how long is kept in place of since when."""
    k.tape[k.state.cleared_at + at] -= now_ns


@inlined
def _exposed_ns(k: Kvm, at: int, flags: int, now_ns: int) -> int:
    """How long accesses to a page that is old could pass unseen, since it was last asked about."""
    since_ns = k.tape[k.state.cleared_at + at]
    if flags & STALE != 0:
        return int(now_ns - since_ns)
    return int(max(0, -since_ns))


@jit
def judge_old(k: Kvm, first: int, end: int, now_ns: int) -> float:
    """Pages of [first, end) that are old although they were accessed since they were last cleared: how many are expected.

    From now on that is as of ``now_ns``. An spte is old or not as a whole, so an access to any page of a large one counts.
    0 where TLBs are not modelled.
    """
    expected, low = 0.0, first
    if k.state.cleared_at == 0:
        return expected
    while low < end:
        region = low >> REGION_BITS
        if k.sptes.level[region] != 0:
            begin, stop = span_first(k, region), span_end(k, region)
            high = min(end, stop * REGION_PAGES)
            expected += (high - low) * _judge_large(k, begin, stop, now_ns)
        else:
            high = min(end, (region + 1) * REGION_PAGES)
            expected += _judge_small(k, low, high, now_ns)
        low = high
    return expected


@part
def _judge_large(k: Kvm, begin: int, stop: int, now_ns: int) -> float:
    """Of the spte that maps regions [begin, stop)."""
    flags, at = k.sptes.large[begin], len(k.sptes.spte) + begin
    if flags & (PRESENT | OLD) != PRESENT | OLD:
        return 0.0
    exposed_ns = _exposed_ns(k, at, flags, now_ns)
    for region in range(stop - begin):
        k.tape[k.state.cleared_at + at + region] = now_ns if flags & STALE != 0 else 0
    if exposed_ns <= 0:
        return 0.0
    first, end = begin * REGION_PAGES, stop * REGION_PAGES
    return accessed_unseen(k, _classes(k, first, end), first, end, exposed_ns)


@part
def _judge_small(k: Kvm, low: int, high: int, now_ns: int) -> float:
    expected, classes = 0.0, _classes(k, low, high)
    for page in range(low, high):
        flags = k.sptes.spte[page]
        if flags & (PRESENT | OLD) == PRESENT | OLD:
            exposed_ns = _exposed_ns(k, page, flags, now_ns)
            k.tape[k.state.cleared_at + page] = now_ns if flags & STALE != 0 else 0
            if exposed_ns > 0 and classes[0] < classes[1]:
                expected += accessed_unseen(k, classes, page, page + 1, exposed_ns)
    return expected


@part
def _classes(k: Kvm, first: int, end: int) -> tuple[int, int]:
    """Classes from .. up to .. include all that touch any of gfns [first, end)."""
    lowest, highest = len(k.ints), 0
    for c in range(len(k.ints)):
        if k.ints[c, FIRST_GFN] < end and k.ints[c, FIRST_GFN] + k.ints[c, N_PAGES] > first:
            lowest, highest = min(lowest, c), c + 1
    return lowest, highest


@part
def accessed_unseen(k: Kvm, classes: tuple[int, int], first: int, end: int, exposed_ns: int) -> float:
    """Chance that gfns [first, end), of one spte, were accessed within ``exposed_ns``, if all accesses hit the TLB.

    classes: as of ``_classes``.

    Hits are independent of the misses that would have been seen, so that there were none says nothing about hits.
    """
    # Model limit: between two passes the guest is taken to run all the time, inside its active windows.
    hits, none = 0.0, 1.0
    for c in range(classes[0], classes[1]):
        row = k.ints[c]
        low, high = max(first, row[FIRST_GFN]), min(end, row[FIRST_GFN] + row[N_PAGES])
        if low >= high:
            continue
        if row[KIND] == SWEEP:
            if weight_of(k, c, low, IF_MISSED) == 0 and (high - low > 1 or visit_of(row, low - row[FIRST_GFN]) >= 0):
                none *= max(0.0, 1.0 - exposed_ns / k.rates[c].scale)
            continue
        for page in range(low, high):
            hits += _hits_per_ns(k, c, page)
    return 1.0 - none * exp(-hits * exposed_ns)


@inlined
def _hits_per_ns(k: Kvm, c: int, page: int) -> float:
    """Touches of ``page`` by class ``c`` a nanosecond, all its vCPUs together, that find it in the TLB."""
    row = k.ints[c]
    missed = weight_of(k, c, page, IF_MISSED)
    if row[KIND] == WEIGHTED:
        full = k.page_weights[row[DATA_OFFSET] + page - row[FIRST_GFN]]
        return float(row[CLOCK_COUNT] * ((full - missed) / k.rates[c].scale))
    share = row[CLOCK_COUNT] * (1.0 - missed / UNIT)
    if row[KIND] == PACED:
        hot, hot_share = row[HOT_PAGES], k.rates[c].mean_ns
        is_hot = page - row[FIRST_GFN] < hot
        of_writes = page_share(hot_share, hot) if is_hot else page_share(1.0 - hot_share, row[N_PAGES] - hot)
        return float(share * of_writes * row[RATE_NUM] / row[RATE_DEN])
    return float(share / (k.rates[c].scale if row[KIND] == TRACE else k.rates[c].mean_ns))
