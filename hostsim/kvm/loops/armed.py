"""Armed pages, on which an access would be seen; counted by region and by part of the guest's work.

A page is armed for reads if its mapping is missing, access-tracked or old; for writes also if W is off, if the D bit catches
writes and is clear, or if its content is still zero.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, late, part
from hostsim.costs.exits import MAP, NOTHING, SPLIT, TRACK, WP
from hostsim.guest.touch import CYCLE, DATA_OFFSET, FIRST_GFN, KIND, STRIDE_GCD, STRIDE_INVERSE, WEIGHTED
from hostsim.kvm.loops.layout import BY_VISIT, BY_WEIGHT, FILL, LOG, REGION_BITS, SUPER_BITS, UNIT, YOUNG, Kvm, State
from hostsim.kvm.loops.visits import set_visit, visit_of
from hostsim.spte_index.spte import BLANK, DIRTY, OLD, PRESENT, REGION_PAGES, STALE, TRACKED, WRITABLE, Sptes

STOPPED = TRACKED | OLD
"""Flags of an spte that lets no access pass unseen."""
FULL, IF_MISSED = 1, 2
LARGE, LOGGED = 1 << 8, 1 << 9
"""Of an index into Kvm.answers, beside the flags of an spte: it is a large one; the slot is logged."""
_NEED_BITS, _ARMED_AT, _ARMED_BITS = 4, 8, 2
"""Of a word of Kvm.answers: bits of a need, then bits of ``armed_as``, of reads before those of writes."""


@inlined
def super_at(k: Kvm, page: int) -> int:
    """Column of Kvm.counts for the 512 regions around ``page``."""
    return len(k.sptes.level) + (page >> SUPER_BITS)


@inlined
def hardware_logs(state: State) -> bool:
    """Whether D bits catch writes now."""
    return bool(state.is_logged * state.has_d_bits == 1)


@jit
def flags_of(sptes: Sptes, page: int) -> int:
    """Flags of the spte that maps ``page``."""
    region = page // REGION_PAGES
    return int(sptes.large[region]) if sptes.level[region] != 0 else int(sptes.spte[page])


@inlined
def span_first(k: Kvm, region: int) -> int:
    """First region of those that the large spte of ``region`` maps."""
    return region - region % k.state.block_regions if k.sptes.level[region] == 2 else region


@inlined
def span_end(k: Kvm, region: int) -> int:
    """First region behind them."""
    return span_first(k, region) + k.state.block_regions if k.sptes.level[region] == 2 else region + 1


def _need(flags: int, is_write: int, logs: bool) -> int:
    """``needed`` for an spte of ``flags``; logs: D bits catch writes now."""
    if flags & PRESENT == 0:
        return MAP
    if flags & TRACKED != 0:
        return TRACK
    passes = YOUNG if flags & OLD != 0 else NOTHING
    if is_write == 0:
        return passes
    if flags & WRITABLE == 0:
        return WP
    if flags & DIRTY == 0 and logs:
        return LOG
    return FILL if flags & BLANK != 0 else passes


def _arming(flags: int, is_write: int, logs: bool) -> int:
    """``armed_as`` for an spte of ``flags``; logs: D bits catch writes now."""
    wanted = PRESENT if is_write == 0 else PRESENT | WRITABLE | (DIRTY if logs else 0)
    blank = is_write == 1 and flags & BLANK != 0
    if flags & (wanted | STOPPED) == wanted and not blank:
        return 0
    return IF_MISSED if flags & (wanted | TRACKED | STALE) == wanted | STALE and not blank else FULL


def _packed(flags: int, logs: bool) -> int:
    """A word of Kvm.answers for an spte of ``flags``, LARGE among them if it is a large one."""
    packed = 0
    for is_write in range(2):
        need = _need(flags, is_write, logs)
        packed |= (SPLIT if need == WP and flags & LARGE else need) << (is_write * _NEED_BITS)
        packed |= _arming(flags, is_write, logs) << (_ARMED_AT + is_write * _ARMED_BITS)
    return packed


@cache
def make_answers(*, has_d_bits: bool) -> NDArray[np.uint16]:
    """Kvm.answers; has_d_bits: D bits catch writes while the slot is logged.

    An exit asks six times. Read from a table, an answer takes a third of the instructions and no branch; one word answers
    for reads and writes.
    """
    return np.array([_packed(flags, logs) for logs in (False, has_d_bits) for flags in range(LOGGED)], np.uint16)


@inlined
def answers_of(k: Kvm, page: int, flags: int) -> int:
    """The word of Kvm.answers about accesses to ``page``, if ``flags`` are those of its 4 KiB spte."""
    region, case = page >> REGION_BITS, flags
    if k.sptes.level[region] != 0:
        case = LARGE | int(k.sptes.large[region] | (flags & BLANK))
    return int(k.answers[k.state.is_logged * LOGGED | case])


@inlined
def needed(k: Kvm, page: int, is_write: int) -> int:
    """The need of an access to ``page``: MAP, TRACK, SPLIT or WP for a fault, or LOG, FILL, YOUNG, NOTHING for no fault.

    ``k`` is read only. LOG and FILL make the page young, too.
    is_write: the access writes.
    """
    return (answers_of(k, page, k.sptes.spte[page]) >> (is_write * _NEED_BITS)) & ((1 << _NEED_BITS) - 1)


@inlined
def wanted_flags(state: State, is_write: int) -> int:
    """Flags without which an spte stops an access: PRESENT; for is_write 1 also W, and D if ``state`` logs by D bits."""
    if is_write == 0:
        return PRESENT
    return PRESENT | WRITABLE | (DIRTY if hardware_logs(state) else 0)


@inlined
def is_armed(k: Kvm, page: int, is_write: int) -> bool:
    """Whether an access to ``page`` would be seen by the host: a write if ``is_write`` is 1, else a read."""
    return bool(armed_as(k, page, is_write) != 0)


@inlined
def armed_as(k: Kvm, page: int, is_write: int) -> int:
    """How ``page`` is armed for writes (is_write 1) or reads: 0: not armed; FULL; IF_MISSED: its spte is STALE.

    An access to a STALE spte is seen only if it misses the TLB. ``k`` is read only.
    """
    return armed_by(answers_of(k, page, k.sptes.spte[page]), is_write)


@inlined
def armed_by(answers: int, is_write: int) -> int:
    """``armed_as`` of the page that ``answers`` are about."""
    return (answers >> (_ARMED_AT + is_write * _ARMED_BITS)) & ((1 << _ARMED_BITS) - 1)


@inlined
def _count(sptes: Sptes, state: State, first: int, end: int, is_write: int) -> int:
    """Armed pages of [first, end), which lies within one region."""
    region, wanted, spte = first >> REGION_BITS, wanted_flags(state, is_write), sptes.spte
    blank = BLANK if is_write == 1 else 0
    n = 0
    if sptes.level[region] != 0:
        if sptes.large[region] & (wanted | STOPPED) != wanted:
            return end - first
        for page in range(first, end):
            n += spte[page] & blank != 0
        return n
    mask = wanted | STOPPED | blank
    for page in range(first, end):
        n += spte[page] & mask != wanted
    return n


@inlined
def weight_of(k: Kvm, c: int, page: int, seen: int) -> int:
    """Weight of gfn ``page`` in class ``c``: its rate in whole units of the class; seen: as it is armed."""
    row = k.ints[c]
    if seen == IF_MISSED:
        return int(k.tape[k.classes[c].miss_at + (page - row[FIRST_GFN]) * k.classes[c].miss_step])
    if row[KIND] != WEIGHTED:
        return UNIT
    return int(k.page_weights[k.ints[c, DATA_OFFSET] + page - k.ints[c, FIRST_GFN]])


@late
def _weigh(k: Kvm, p: int, first: int, end: int, sign: int) -> None:
    part, total = k.parts[p], 0
    for page in range(first, end):
        seen = armed_as(k, page, part.is_write)
        if seen > 0:
            total += weight_of(k, part.touch_class, page, seen)
    part.armed += sign * total
    k.tape[part.weights_at + (first >> REGION_BITS) - (part.first >> REGION_BITS)] += sign * total
    k.tape[part.supers_at + (first >> SUPER_BITS) - (part.first >> SUPER_BITS)] += sign * total


@inlined
def sweep_sees(k: Kvm, c: int, page: int, is_write: int) -> bool:
    """Whether a touch of ``page`` by class ``c`` is seen, a sweep or a trace: it misses the TLB always or never."""
    seen = armed_as(k, page, is_write)
    return bool(seen == FULL or (seen == IF_MISSED and weight_of(k, c, page, seen) > 0))


@late
def _mark_visits(k: Kvm, p: int, first: int, end: int) -> None:
    row = k.ints[k.parts[p].touch_class]
    visit, gcd = visit_of(row, first - row[FIRST_GFN]), row[STRIDE_GCD]
    page = first
    while visit < 0 and page < end:
        page += 1
        visit = visit_of(row, page - row[FIRST_GFN])
    # The pages of a sweep lie ``gcd`` apart. From one to the next the number of the visit grows by STRIDE_INVERSE, modulo
    # CYCLE: an addition, where ``visit_of`` takes four divisions.
    while page < end:
        if sweep_sees(k, k.parts[p].touch_class, page, k.parts[p].is_write):
            set_visit(k.tape, k.classes[k.parts[p].touch_class], visit)
        page += gcd
        visit += row[STRIDE_INVERSE]
        if visit >= row[CYCLE]:
            visit -= row[CYCLE]


@part
def _count_part(k: Kvm, p: int, first: int, end: int, counted: int, sign: int) -> None:
    """Armed pages of [first, end), ``counted`` of them if that is known (>= 0), come to part ``p`` or go from it."""
    part = k.parts[p]
    if part.kind == BY_WEIGHT:
        _weigh(k, p, first, end, sign)
    elif part.kind == BY_VISIT:
        if sign > 0:
            _mark_visits(k, p, first, end)
    else:
        part.armed += sign * (counted if counted >= 0 else _count(k.sptes, k.state, first, end, part.is_write))


@late
def count_range(k: Kvm, first: int, end: int, sign: int) -> None:
    """Count the armed pages of [first, end) in (sign 1) or out (-1): once before they are changed and once after."""
    low = first
    while low < end:
        region = low >> REGION_BITS
        high = min(end, (region + 1) * REGION_PAGES)
        is_known = sign < 0 and high - low == REGION_PAGES  # a whole region is counted out by the count that it has
        for is_write in range(2):
            counted = k.counts[is_write, region] if is_known else _count(k.sptes, k.state, low, high, is_write)
            k.counts[is_write, region] += sign * counted
            k.counts[is_write, super_at(k, low)] += sign * counted
            if counted == 0:
                continue
            for p in range(len(k.parts)):
                part = k.parts[p]
                if part.is_write == is_write and part.first < high and part.end > low:
                    inside = part.first <= low and part.end >= high
                    _count_part(k, p, max(low, part.first), min(high, part.end), counted if inside else -1, sign)
        low = high


@inlined
def disarm_page(k: Kvm, page: int, read: int, write: int) -> None:
    """Count ``page`` out: it is no longer armed as it was.

    read, write: how it was armed for reads, for writes, as ``armed_as`` has it; 0: it was not armed, or still is.
    The mark of a sweep's visit stays until the sweep reaches the page.
    """
    # Every exit comes here, so the parts are walked once for reads and writes together.
    region, upper = page >> REGION_BITS, super_at(k, page)
    if read > 0:
        k.counts[0, region] -= 1
        k.counts[0, upper] -= 1
    if write > 0:
        k.counts[1, region] -= 1
        k.counts[1, upper] -= 1
    for p in range(k.state.counted_parts):  # parts of sweeps, which come last, have marks and no counts
        part = k.parts[p]
        if page < part.first or page >= part.end:
            continue
        seen = write if part.is_write == 1 else read
        if seen > 0:
            if part.kind == BY_WEIGHT:
                weight = weight_of(k, part.touch_class, page, seen)
                part.armed -= weight
                k.tape[part.weights_at + region - (part.first >> REGION_BITS)] -= weight
                k.tape[part.supers_at + (page >> SUPER_BITS) - (part.first >> SUPER_BITS)] -= weight
            else:
                part.armed -= 1
