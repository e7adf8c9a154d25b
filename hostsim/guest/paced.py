"""Writes at a fixed rate, each to a page drawn anew: balls into bins, one step a *first* hit.

If a share p of all writes goes to armed pages, the number of writes before the next hit is geometric at any rate, and the
hit page is uniform over the armed pages of its part. So the cost follows the hits, and the number of writes in a time is
exact. Draws are keyed by (class, number of the hit): consumed in event order, and made in blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.core.rng import keyed_word, mix32, natural_log
from hostsim.guest.armed import (
    ARMED_COLD,
    ARMED_HOT,
    BLOCK,
    HITS,
    LIST_SHARE,
    MIXED,
    NEXT_WRITE,
    NO_WRITE,
    PART,
    PLACE,
    Armed,
)
from hostsim.guest.touch import HOT_PAGES, KEY0, KEY1, N_PAGES, OFFSET, TouchTable, first_touch_index

_TWO_POW_MINUS_32 = 1.0 / 4294967296.0
_LOW = 0xFFFFFFFF
_NEAR = 1e-10
"""A uniform variate that is farther from a power lies on the same side of it by logarithms, whose error is below 1e-14."""


@inlined
def is_hit(hit: NDArray[np.uint8], slot: int) -> bool:
    """Whether the page of ``slot`` was written since it was armed."""
    return bool((hit[slot >> 3] >> (slot & 7)) & 1 == 1)


@part
def page_share(of_writes: float, n_pages: int) -> float:
    """Share of all writes that go to one page of a part that gets the share ``of_writes`` of them."""
    return of_writes / n_pages if n_pages > 0 else 0.0


@part
def next_hit(key: int, hits: int, first: int, share: float) -> int:
    """Number of the write, ``first`` or later, that is the next to hit an armed page: geometric with ``share``."""
    if share <= 0.0:
        return NO_WRITE
    if share >= 1.0:
        return first
    return first + misses_before(_uniform(keyed_word(key, hits, first)), 1.0 - share)


@inlined
def _uniform(word: int) -> float:
    """32 bits as a variate in (0, 1]; never 0, which has no logarithm."""
    return (word + 0.5) * _TWO_POW_MINUS_32


@part
def misses_before(uniform: float, miss: float) -> int:
    """Writes that miss all armed pages, each with probability ``miss``, before one hits: geometric, by inversion."""
    if uniform >= miss:  # the quotient of logarithms is below 1; while most pages are armed no logarithm is taken
        return 0
    return int(min(natural_log(uniform) / natural_log(miss), 1.0e15))


@inlined
def few_misses(uniform: float, miss: float) -> int:
    """``misses_before`` without logarithms, for which the next hit waits; -1: six or more, or too near to a power to tell.

    Measured, with the draws made in blocks: 31 ns a hit, 45 without.
    """
    two, three = miss * miss, miss * miss * miss
    four, five, six = two * two, three * two, three * three
    is_near = (abs(uniform - miss) < _NEAR) | (abs(uniform - two) < _NEAR) | (abs(uniform - three) < _NEAR)
    is_near |= (abs(uniform - four) < _NEAR) | (abs(uniform - five) < _NEAR) | (abs(uniform - six) < _NEAR)
    if is_near | (uniform < six):
        return -1
    # Without the JIT the comparisons are NumPy's truth values, whose sum is another truth value.
    few = int(uniform < miss) + int(uniform < two) + int(uniform < three)
    return few + int(uniform < four) + int(uniform < five)


@inlined
def _next_in_block(mixed: int, first: int, share: float) -> int:
    """``next_hit`` of the same draw, from its number in MIXED."""
    if share <= 0.0:
        return NO_WRITE
    if share >= 1.0:
        return first
    uniform = _uniform(_word(mixed, first))
    misses = few_misses(uniform, 1.0 - share)
    return first + (misses if misses >= 0 else misses_before(uniform, 1.0 - share))


@inlined
def _mixed(key: int, hits: int) -> int:
    """The part of ``keyed_word`` that does not depend on its last argument."""
    return mix32(key ^ (hits & _LOW)) ^ (hits >> 32)


@inlined
def _word(mixed: int, last: int) -> int:
    """The rest of ``keyed_word``."""
    last = int(last)
    return mix32(mix32(mixed ^ (last & _LOW)) ^ (last >> 32))


@part
def _make_block(state: NDArray[np.int64], key0: int, key1: int, first: int) -> None:
    """Make what hits ``first`` to ``first + BLOCK - 1`` draw whatever the time and the pages: as vectors.

    state: row of the class, in place; PART: the part that is hit, PLACE: its page, MIXED: begins the wait for the next hit.
    first: multiple of BLOCK.
    """
    # Another key than that of ``next_hit``: the part that is hit does not depend on how long the class waited.
    for i in range(BLOCK):
        state[PART + i] = _word(_mixed(key0 ^ 1, first + i), 0)
        state[PLACE + i] = _word(_mixed(key1, first + i), 0)
        state[MIXED + i] = _mixed(key0, first + i + 1)


@inlined
def _scaled(word: int, choices: float) -> float:
    """32 bits as a draw in [0, choices)."""
    return word * _TWO_POW_MINUS_32 * choices


@part
def _list_armed(hit: NDArray[np.uint8], few: NDArray[np.int32], start: int, n_pages: int) -> None:
    """List the armed slots among ``n_pages`` from ``start`` on in ``few``, as distances from ``start``."""
    at = start // LIST_SHARE
    for distance in range(n_pages):
        if not is_hit(hit, start + distance):
            few[at] = distance
            at += 1


@inlined
def _take_listed(few: NDArray[np.int32], start: int, n_armed: int, word: int) -> int:
    """Remove one of the ``n_armed`` listed pages of the part that starts at slot ``start``."""
    first = start // LIST_SHARE
    at = first + int(_scaled(word, float(n_armed)))
    distance = few[at]
    few[at] = few[first + n_armed - 1]
    return int(start + distance)


@inlined
def _take_any(hit: NDArray[np.uint8], start: int, n_pages: int, key: int, hits: int, word: int) -> int:
    """Draw slots of a part until one is armed."""
    attempt = 0
    slot = start + int(_scaled(word, float(n_pages)))
    while is_hit(hit, slot):
        attempt += 1
        slot = start + int(_scaled(keyed_word(key, hits, attempt), float(n_pages)))
    return slot


@inlined
def _take(
    hit: NDArray[np.uint8], few: NDArray[np.int32], start: int, n_pages: int, n_armed: int, key: int, hits: int, word: int
) -> int:
    """The slot that hit number ``hits`` falls on, of a part of ``n_pages`` from ``start`` on with ``n_armed`` armed.

    word: the draw of ``key`` and ``hits``.
    """
    if n_armed * LIST_SHARE >= n_pages:
        return _take_any(hit, start, n_pages, key, hits, word)
    # Each hit disarms one page, so the first one below the share comes by here, and later ones find the list.
    if n_armed == (n_pages - 1) // LIST_SHARE:
        _list_armed(hit, few, start, n_pages)
    return _take_listed(few, start, n_armed, word)


@jit
def arm_paced(table: TouchTable, c: int, armed: Armed, after_ns: int) -> None:
    """Arm every page of class ``c`` from work time ``after_ns`` on (its hit bits are clear) and draw the next hit."""
    row, state = table.ints[c], armed.paced[c]
    state[ARMED_HOT] = row[HOT_PAGES]
    state[ARMED_COLD] = row[N_PAGES] - row[HOT_PAGES]
    share = state[ARMED_HOT] * page_share(table.mean_ns[c], state[ARMED_HOT])
    share += state[ARMED_COLD] * page_share(1.0 - table.mean_ns[c], state[ARMED_COLD])
    state[NEXT_WRITE] = next_hit(int(row[KEY0]), int(state[HITS]), first_touch_index(row, after_ns), share)


@part
def advance_paced(table: TouchTable, c: int, armed: Armed, now_work_ns: int) -> None:
    """Let class ``c`` write up to (strictly below) work time ``now_work_ns``; set the hit bit of each page it hits."""
    row, state, hit, few = table.ints[c], armed.paced[c], armed.hit, armed.few
    end = first_touch_index(row, now_work_ns)
    write = state[NEXT_WRITE]
    if write >= end:
        return
    key0, key1, hits = int(row[KEY0]), int(row[KEY1]), int(state[HITS])
    n_hot, n_cold = row[HOT_PAGES], row[N_PAGES] - row[HOT_PAGES]
    hot_page, cold_page = page_share(table.mean_ns[c], n_hot), page_share(1.0 - table.mean_ns[c], n_cold)
    hot, cold = state[ARMED_HOT], state[ARMED_COLD]
    start_hot, start_cold = row[OFFSET], row[OFFSET] + row[HOT_PAGES]
    hot_share, cold_share = hot * hot_page, cold * cold_page
    _make_block(state, key0, key1, hits & -BLOCK)
    while write < end:
        at = hits & (BLOCK - 1)
        # Numbers are chosen, not ways to go: a branch that a draw decides is foreseen wrongly at every other hit.
        of_hot = int(cold == 0 or _scaled(int(state[PART + at]), hot_share + cold_share) < hot_share)
        start, n_pages, n_armed = (start_hot, n_hot, hot) if of_hot == 1 else (start_cold, n_cold, cold)
        slot = _take(hit, few, start, n_pages, n_armed, key1, hits, int(state[PLACE + at]))
        hot, cold = hot - of_hot, cold - (1 - of_hot)
        hot_share, cold_share = hot * hot_page, cold * cold_page
        hit[slot >> 3] |= 1 << (slot & 7)
        hits += 1
        write = _next_in_block(int(state[MIXED + at]), write + 1, hot_share + cold_share)
        if hits & (BLOCK - 1) == 0:
            _make_block(state, key0, key1, hits)
    state[NEXT_WRITE], state[HITS], state[ARMED_HOT], state[ARMED_COLD] = write, hits, hot, cold
