"""Drawing one armed page of a part of the guest's work, uniformly or by weight."""

from __future__ import annotations

from hostsim.compiled.jit import inlined, late, part
from hostsim.core.rng import keyed_uniform, keyed_word
from hostsim.guest.touch import DATA_OFFSET, FIRST_GFN, KIND, WEIGHTED
from hostsim.kvm.loops.armed import FULL, STOPPED, armed_as, is_armed, super_at, wanted_flags, weight_of
from hostsim.kvm.loops.draws import TRIES, column, in_region, word_at
from hostsim.kvm.loops.layout import (
    BY_WEIGHT,
    PLACES,
    PROBES,
    REGION_BITS,
    SHARES,
    STALE_ROW,
    SUPER_BITS,
    TRIED,
    UNIT,
    Kvm,
    Part,
)
from hostsim.spte_index.spte import BLANK, REGION_PAGES

SPARSE = 32
"""With fewer than 1 page in SPARSE armed, places are not tried any more: counts lead to the page."""
SUPER_PAGES = 1 << SUPER_BITS


@inlined
def place(part: Part, word: int) -> int:
    """The page of ``part``, armed or not, on which ``word`` of a draw falls."""
    return int(part.first + ((word * (part.end - part.first)) >> 32))


@inlined
def within(page: int, number: int) -> int:
    """Page ``number`` of the region of ``page``."""
    return int(page - page % REGION_PAGES + number)


@inlined
def is_nearly_all(part: Part) -> bool:
    """Whether so many pages of ``part`` are armed that the first place of a draw mostly is."""
    n_pages = part.end - part.first
    return bool(part.armed >= n_pages - (n_pages >> 3))


@inlined
def pick(k: Kvm, p: int, s: int) -> int:
    """An armed gfn of part ``p``, of which there is one at least, by the draw under way of stream ``s``."""
    part, stream = k.parts[p], k.streams[s]
    # While many pages are armed, a drawn place is armed after a few tries, each of which reads a count or a byte. The walk
    # over the counts reads hundreds of them, but its length does not grow as armed pages become few.
    if part.kind != BY_WEIGHT and part.armed * SPARSE >= part.end - part.first:
        page = _take(k, part, column(s, stream.draws))
        if page < 0:
            page = _try(k, p, s)
        if page >= 0:
            return page
    elif _are_alike(k, p) and part.armed // UNIT * SPARSE >= part.end - part.first:
        page = _try_weights(k, p, s)
        if page >= 0:
            return page
    # The product of a number below 1 may round up to ``armed`` itself.
    share = keyed_uniform(int(stream.key0), int(stream.key1), int(stream.draws), TRIES)
    rest = min(int(share * part.armed), part.armed - 1)
    return _weigh_out(k, p, rest) if part.kind == BY_WEIGHT else _walk(k, p, rest)


@inlined
def _are_alike(k: Kvm, p: int) -> bool:
    """Whether pages of a part by weight have UNIT each when they are armed in full."""
    return bool(k.parts[p].kind == BY_WEIGHT and k.ints[k.parts[p].touch_class, KIND] != WEIGHTED)


@inlined
def _has_cut(k: Kvm, part: Part, at: int, tried: int) -> bool:
    """Whether one of the first ``tried`` places of a draw is in a region that reaches out of ``part``.

    The count of such a region says too much.
    at: the ``column`` of the draw.
    """
    first, end = -(-part.first // REGION_PAGES) * REGION_PAGES, part.end - part.end % REGION_PAGES
    for n in range(tried):
        page = place(part, word_at(k.words, at, PLACES + n))
        if page < first or page >= end:
            return True
    return False


@inlined
def taken_place(k: Kvm, part: Part, at: int, tried: int) -> int:
    """Of the first ``tried`` places of a draw, the first whose region is taken, by its share of armed pages; -1: none.

    at: the ``column`` of the draw.
    """
    # All places are looked at, without a branch: no processor foresees which of them is taken.
    found = -1
    for n in range(tried - 1, -1, -1):
        page = place(part, word_at(k.words, at, PLACES + n))
        is_taken = word_at(k.words, at, SHARES + n) < k.counts[part.is_write, page >> REGION_BITS]
        found = page if is_taken else found
    return int(found)


@inlined
def _take(k: Kvm, part: Part, at: int) -> int:
    """As ``_try``, with the words made ahead; -1 where these words decide for no page."""
    if is_nearly_all(part):
        # The hint has fetched the first place alone, and the others may be in no cache: a branch does not wait for them.
        page = taken_place(k, part, at, 1)
        if page >= 0 and not _has_cut(k, part, at, 1) and is_armed(k, page, part.is_write):
            return page
    if _has_cut(k, part, at, TRIED):
        return -1
    page = taken_place(k, part, at, TRIED)
    if page < 0 or k.sptes.level[page >> REGION_BITS] != 0:
        return -1
    return _first_armed(k, page, part.is_write, at)


@inlined
def _first_armed(k: Kvm, page: int, is_write: int, at: int) -> int:
    """The first of ``page``, whose region has 4 KiB sptes, and the pages there tried after it that is armed; -1: none."""
    wanted = wanted_flags(k.state, is_write)
    mask = wanted | STOPPED | (BLANK if is_write == 1 else 0)
    found = -1
    for n in range(TRIED - 2, -1, -1):
        other = within(page, word_at(k.words, at, PROBES + n))
        found = other if k.sptes.spte[other] & mask != wanted else found
    return int(page if k.sptes.spte[page] & mask != wanted else found)


@late
def _try(k: Kvm, p: int, s: int) -> int:
    """Places drawn until one is armed, or -1 after TRIES: the region by its share of armed pages, then the page."""
    part, key0, key1, draw = k.parts[p], int(k.streams[s].key0), int(k.streams[s].key1), int(k.streams[s].draws)
    first, end, is_write = part.first, part.end, part.is_write
    for attempt in range(TRIES):
        page = place(part, keyed_word(key0, draw, attempt))
        region = page >> REGION_BITS
        counted = k.counts[is_write, region]
        if counted == 0:
            continue
        start = region * REGION_PAGES
        if counted == REGION_PAGES:
            return int(page)
        # The count of a region holds pages outside the part, too: at the edges of the part the page itself decides. Else the
        # region is taken with the probability of its share, and then one of its armed pages: all armed pages stay equally
        # likely, and a region that is refused costs no look at its sptes.
        if start < first or start + REGION_PAGES > end:
            if is_armed(k, page, is_write):
                return int(page)
        elif in_region(keyed_word(key1, draw, attempt)) < counted:
            return _within(k, page, is_write, counted, key1, draw)
    return -1


@late
def _try_weights(k: Kvm, p: int, s: int) -> int:
    """Places drawn until one is kept, each with its weight out of UNIT, or -1 after TRIES."""
    part, key0, key1, draw = k.parts[p], int(k.streams[s].key0), int(k.streams[s].key1), int(k.streams[s].draws)
    for attempt in range(TRIES):
        page = place(part, keyed_word(key0, draw, attempt))
        seen = armed_as(k, page, part.is_write)
        if seen == FULL:
            return int(page)
        if seen > 0 and (keyed_word(key1, draw, attempt) * UNIT) >> 32 < weight_of(k, part.touch_class, page, seen):
            return int(page)
    return -1


@part
def _within(k: Kvm, page: int, is_write: int, counted: int, key: int, draw: int) -> int:
    """One of the ``counted`` armed pages of the region of ``page``, which was drawn."""
    probe = page  # the page that was drawn comes first: ``streams._fetch`` has asked memory for its byte
    for attempt in range(TRIES):
        if is_armed(k, probe, is_write):
            return probe
        probe = within(page, in_region(keyed_word(key, draw, TRIES + attempt)))
    rest = (keyed_word(key, draw, 2 * TRIES) * counted) >> 32
    probe = page - page % REGION_PAGES
    while rest > 0 or not is_armed(k, probe, is_write):
        if is_armed(k, probe, is_write):
            rest -= 1
        probe += 1
    return probe


@late
def _weigh_out(k: Kvm, p: int, rest: int) -> int:
    """The page at which the armed weight passed exceeds ``rest``."""
    part = k.parts[p]
    upper, lower, found = part.first >> SUPER_BITS, part.first >> REGION_BITS, -1
    at, last = part.supers_at, part.supers_at + ((part.end - 1) >> SUPER_BITS) - upper
    while at < last and rest >= k.tape[at]:
        rest -= k.tape[at]
        at += 1
    region = max(lower, (upper + at - part.supers_at) << (SUPER_BITS - REGION_BITS))
    at, last = part.weights_at + region - lower, part.weights_at + ((part.end - 1) >> REGION_BITS) - lower
    while at < last and rest >= k.tape[at]:
        rest -= k.tape[at]
        at += 1
    page = max(part.first, (lower + at - part.weights_at) << REGION_BITS)
    row = k.ints[part.touch_class]
    # Without STALE sptes in the region each armed page has its full weight, which is read in order, without a call a page.
    if row[KIND] == WEIGHTED and k.counts[STALE_ROW, page >> REGION_BITS] == 0:
        at = row[DATA_OFFSET] - row[FIRST_GFN]
        while rest >= 0:
            if is_armed(k, page, part.is_write):
                rest -= k.page_weights[at + page]
                found = page
            page += 1
    while rest >= 0:
        seen = armed_as(k, page, part.is_write)
        if seen > 0:
            rest -= weight_of(k, part.touch_class, page, seen)
            found = page
        page += 1
    return int(found)


@inlined
def _armed(k: Kvm, is_write: int, page: int, step: int) -> int:
    """Armed pages of the ``step`` from ``page`` on: one page, a region or a super-region."""
    if step == 1:
        return int(is_armed(k, page, is_write))
    if step == REGION_PAGES:
        return int(k.counts[is_write, page >> REGION_BITS])
    return int(k.counts[is_write, super_at(k, page)])


@inlined
def _step(page: int, end: int, largest: int) -> int:
    """The largest step up to ``largest`` that begins at ``page`` and does not go beyond ``end``."""
    if largest >= SUPER_PAGES and page % SUPER_PAGES == 0 and page + SUPER_PAGES <= end:
        return SUPER_PAGES
    if largest >= REGION_PAGES and page % REGION_PAGES == 0 and page + REGION_PAGES <= end:
        return REGION_PAGES
    return 1


@late
def _walk(k: Kvm, p: int, rest: int) -> int:
    """The armed page of part ``p`` that has ``rest`` armed ones before it."""
    page, largest = k.parts[p].first, SUPER_PAGES
    while True:
        step = _step(page, k.parts[p].end, largest)
        counted = _armed(k, k.parts[p].is_write, page, step)
        if rest >= counted:
            rest -= counted
            page += step
        elif step == 1:
            return int(page)
        else:
            largest = 1 if step == REGION_PAGES else REGION_PAGES
