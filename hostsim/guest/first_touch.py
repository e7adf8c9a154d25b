"""First touches of the pages that a VM misses, class by class, in the order of work time.

A page that is missing is placed once and never goes away again, so of each touch class only the first touch of a missing
page matters, whether the page is still missing then or not. The order of first touches depends on no event of the host:
it is fixed when the guest starts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.core.rng import NEVER, keyed_word, mix32
from hostsim.guest.paced import next_hit, page_share
from hostsim.guest.touch import (
    ALWAYS,
    FIRST_GFN,
    HOT_PAGES,
    KEY0,
    KEY1,
    KIND,
    N_PAGES,
    PACED,
    RATE_DEN,
    RATE_NUM,
    WINDOW_LENGTH,
    WINDOW_PERIOD,
    WINDOW_START,
    TouchTable,
    first_touch_index,
    next_touches,
    touch_time,
)
from hostsim.guest.windows import window_global

Ints = NDArray[np.int64]
LEFT_HOT, LEFT_COLD, NEXT_WRITE, HITS = range(4)
BATCH_SHARE, BATCH_LEAST = 8, 4096
"""A batch has one in BATCH_SHARE of the touches that are left, and at least BATCH_LEAST of them: so each is sorted once."""
_SALT = 0x9057C097
"""Draws of a paced class after the switch are keyed apart from its draws before the switch."""


@jit
def next_first_hits(
    table: TouchTable, c: int, hot: Ints, cold: Ints, state: Ints, times: Ints, pages: Ints
) -> int:
    """Draw the next first hits of paced class ``c``, as many as ``times`` has room for; return their number.

    Writes fall on pages drawn anew, so the next write that hits a page not hit before comes after a geometric number of
    writes, and hits each of those pages with equal chance within its part.
    hot, cold: int64[n], in place: pages of either part that were not hit, the first state[LEFT_HOT], state[LEFT_COLD] valid.
    state: int64[4], in place: LEFT_HOT, LEFT_COLD, NEXT_WRITE, HITS.
    times, pages: int64[m], get the work times [ns] and the pages, counted from FIRST_GFN.
    """
    row = table.ints[c]
    key0, key1 = mix32(int(row[KEY0]) ^ _SALT), mix32(int(row[KEY1]) ^ _SALT)
    n_hot, n_cold = row[HOT_PAGES], row[N_PAGES] - row[HOT_PAGES]
    hot_page, cold_page = page_share(table.mean_ns[c], n_hot), page_share(1.0 - table.mean_ns[c], n_cold)
    found = 0
    while found < len(times) and state[LEFT_HOT] + state[LEFT_COLD] > 0:
        hot_share, cold_share = state[LEFT_HOT] * hot_page, state[LEFT_COLD] * cold_page
        write = next_hit(key0, int(state[HITS]), int(state[NEXT_WRITE]), hot_share + cold_share)
        at = int(touch_time(row[RATE_NUM], row[RATE_DEN], write)) if write < NEVER else NEVER
        if row[WINDOW_LENGTH] != ALWAYS and at < NEVER:
            at = window_global(row[WINDOW_START], row[WINDOW_LENGTH], row[WINDOW_PERIOD], at)
        if at >= NEVER:
            state[LEFT_HOT], state[LEFT_COLD] = 0, 0
            break
        draw = keyed_word(key1 ^ 1, int(state[HITS]), write) / 4294967296.0
        is_hot = state[LEFT_COLD] == 0 or draw * (hot_share + cold_share) < hot_share
        column = LEFT_HOT if is_hot else LEFT_COLD
        pick = int(keyed_word(key1, int(state[HITS]), write) / 4294967296.0 * state[column])
        last = state[column] - 1  # the last page takes the place of the one that is hit: no other entry moves
        if is_hot:
            page = hot[pick]
            hot[pick] = hot[last]
        else:
            page = cold[pick]
            cold[pick] = cold[last]
        state[column] = last
        times[found], pages[found] = at, page
        found += 1
        state[NEXT_WRITE], state[HITS] = write + 1, state[HITS] + 1
    return found


class FirstTouches:
    """The first touches of one class on pages that are missing at work time ``after_ns``; ``batch`` hands them out."""

    def __init__(self, table: TouchTable, c: int, missing: NDArray[np.uint8], after_ns: int) -> None:
        """``missing``: uint8[n_pages of the VM], 1: the page is missing."""
        self._table, self._c = table, c
        row = table.ints[c]
        self._first = int(row[FIRST_GFN])
        pages = np.flatnonzero(missing[self._first : self._first + int(row[N_PAGES])]).astype(np.int64)
        self._is_paced = bool(row[KIND] == PACED)
        if self._is_paced:
            hot = int(np.searchsorted(pages, int(row[HOT_PAGES])))
            self._hot, self._cold = pages[:hot].copy(), pages[hot:].copy()
            self._state = np.array([hot, len(pages) - hot, first_touch_index(row, after_ns), 0], np.int64)
            return
        times = np.empty(len(pages), np.int64)
        next_touches(table, c, pages, np.full(len(pages), after_ns, np.int64), times)
        self._pages, self._times = pages[times < NEVER], times[times < NEVER]

    def batch(self, missing: NDArray[np.uint8]) -> tuple[Ints, Ints]:
        """The next first touches: work times [ns], ascending, and gfns. Empty: there is none left.

        missing: uint8[n_pages of the VM]: pages that are there now need no first touch any more.
        """
        if self._is_paced:
            return self._drawn()
        still = missing[self._first + self._pages] == 1
        self._pages, self._times = self._pages[still], self._times[still]
        size = max(BATCH_LEAST, len(self._times) // BATCH_SHARE)
        if len(self._times) <= size:
            now, later = np.arange(len(self._times)), np.arange(0)
        else:
            limit = np.partition(self._times, size)[size]
            is_now = self._times <= limit
            now, later = np.flatnonzero(is_now), np.flatnonzero(~is_now)
        order = now[np.argsort(self._times[now], kind="stable")]
        times, gfns = self._times[order], self._pages[order] + self._first
        self._pages, self._times = self._pages[later], self._times[later]
        return times, gfns

    def _drawn(self) -> tuple[Ints, Ints]:
        size = max(BATCH_LEAST, int(self._state[:2].sum()) // BATCH_SHARE)
        times, pages = np.empty(size, np.int64), np.empty(size, np.int64)
        n = next_first_hits(self._table, self._c, self._hot, self._cold, self._state, times, pages)
        return times[:n], pages[:n] + self._first
