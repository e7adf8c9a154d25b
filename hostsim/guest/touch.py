"""Touch processes: one vectorised question, ``next_touch(pages, after) -> times``, in work time, ``after`` inclusive.

The one exception is a PACED class, whose writes come at a fixed rate, each to a page drawn anew: its pages are not
independent (their number of writes is fixed), and hostsim.guest.paced draws which armed page is hit next.

A *touch class* is one stream of touches over a contiguous region of gfns: a sweep of one vCPU, a trace of one vCPU,
or a Poisson process that all its vCPUs feed together (superposed: one candidate a page for any number of vCPUs).
Classes are rows of arrays, which compiled loops can read. Every answer is a pure function of
(seed, class, page, after): nothing is consumed, so no window or batch can shift a draw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.core.rng import NEVER, keyed_exponential
from hostsim.guest.windows import window_global, window_local

FLAT, WEIGHTED, SWEEP, TRACE, PACED = range(5)

(KIND, FIRST_GFN, N_PAGES, OFFSET, IS_WRITE, CLOCK_FIRST, CLOCK_COUNT, KEY0, KEY1, START_PAGE, STRIDE_GCD, STRIDE_INVERSE,
 CYCLE, RATE_NUM, RATE_DEN, WINDOW_START, WINDOW_LENGTH, WINDOW_PERIOD, DATA_OFFSET, HOT_PAGES,
 STRIDE, ON_START, ON_LENGTH, ON_PERIOD) = range(24)  # fmt: skip
N_INTS = 24
"""ON_START, ON_LENGTH, ON_PERIOD: as in the rows of its clocks (hostsim.guest.pacing)."""
ALWAYS = -1
"""WINDOW_LENGTH of a class that is active all the time."""


class TouchTable(NamedTuple):
    """All touch classes of a VM, struct of arrays, read-only.

    ints: int64[n_classes, N_INTS], columns KIND ... ON_PERIOD.
    mean_ns: float64[n_classes], FLAT: mean work time between touches of one page [ns]; PACED: share of writes that go to
    the first HOT_PAGES pages.
    page_mean_ns: float64[...], WEIGHTED: mean work time between touches of each page [ns], from DATA_OFFSET on.
    trace_index: int64[...], TRACE: N_PAGES + 1 bounds of the class into ``trace_ns``, from DATA_OFFSET on.
    trace_ns: int64[...], work times of touches, ascending for each page [ns].
    """

    ints: NDArray[np.int64]
    mean_ns: NDArray[np.float64]
    page_mean_ns: NDArray[np.float64]
    trace_index: NDArray[np.int64]
    trace_ns: NDArray[np.int64]


@part
def _poisson_next(key0: int, key1: int, page: int, after_ns: int, mean_ns: float) -> int:
    wait = keyed_exponential(key0, key1, page, after_ns) * mean_ns
    return after_ns + int(wait) if wait < 4.0e18 else NEVER  # a longer wait would not fit into int64


@jit
def touch_index(rate_num: int, rate_den: int, after_ns: int) -> int:
    """First touch number i whose time ``floor(i * den / num)`` is at or after ``after_ns``.

    rate_num touches in rate_den ns.
    """
    # Both terms of a rate are below 2^31. In whole and rest the products fit into 64 bits; after_ns * rate_num would not.
    whole, rest = after_ns // rate_den, after_ns % rate_den
    return whole * rate_num - (-(rest * rate_num) // rate_den)


@jit
def touch_time(rate_num: int, rate_den: int, index: int) -> int:
    """Work time [ns] of touch number ``index`` of a stream of ``rate_num`` touches in ``rate_den`` ns."""
    if rate_num == 1:  # of a rate that divides a second; two divisions take longer than the rest of a search
        return index * rate_den
    whole, rest = index // rate_num, index % rate_num
    return whole * rate_den + (rest * rate_den) // rate_num


@part
def _sweep_next(row: NDArray[np.int64], page: int, after_ns: int) -> int:
    distance = (page - row[START_PAGE]) % row[N_PAGES]
    if distance % row[STRIDE_GCD] != 0:
        return NEVER
    visit = ((distance // row[STRIDE_GCD]) * row[STRIDE_INVERSE]) % row[CYCLE]
    index = touch_index(row[RATE_NUM], row[RATE_DEN], after_ns)
    index = index + (visit - index) % row[CYCLE]  # on to the page's visit in this cycle or the next
    return touch_time(row[RATE_NUM], row[RATE_DEN], index)


@part
def _trace_next(index: NDArray[np.int64], times: NDArray[np.int64], at: int, after_ns: int) -> int:
    low, high = index[at], index[at + 1]
    end = high
    while low < high:
        middle = (low + high) // 2
        if times[middle] < after_ns:
            low = middle + 1
        else:
            high = middle
    return int(times[low]) if low < end else NEVER


@jit
def next_touch(table: TouchTable, c: int, page: int, after_ns: int) -> int:
    """Work time [ns] of the first touch of ``page`` (counted from FIRST_GFN) by class ``c`` at or after ``after_ns``."""
    row = table.ints[c]
    length = row[WINDOW_LENGTH]
    after = int(after_ns)
    if length != ALWAYS:
        after = window_local(row[WINDOW_START], length, row[WINDOW_PERIOD], after)
    kind = row[KIND]
    if kind == FLAT:
        found = _poisson_next(int(row[KEY0]), int(row[KEY1]), page, after, table.mean_ns[c])
    elif kind == WEIGHTED:
        found = _poisson_next(int(row[KEY0]), int(row[KEY1]), page, after, table.page_mean_ns[row[DATA_OFFSET] + page])
    elif kind == SWEEP:
        found = _sweep_next(row, page, after)
    else:
        found = _trace_next(table.trace_index, table.trace_ns, row[DATA_OFFSET] + page, after)
    if length != ALWAYS and found < NEVER:
        return window_global(row[WINDOW_START], length, row[WINDOW_PERIOD], found)
    return found


@jit
def first_touch_index(row: NDArray[np.int64], after_ns: int) -> int:
    """Number of the first touch of a fixed-rate stream at or after work time ``after_ns``."""
    after = int(after_ns)
    if row[WINDOW_LENGTH] != ALWAYS:
        after = window_local(row[WINDOW_START], row[WINDOW_LENGTH], row[WINDOW_PERIOD], after)
    return touch_index(row[RATE_NUM], row[RATE_DEN], after)


@jit
def next_touches(
    table: TouchTable, c: int, pages: NDArray[np.int64], after_ns: NDArray[np.int64], found: NDArray[np.int64]
) -> None:
    """``next_touch`` for arrays: pages int64[n] counted from FIRST_GFN, after_ns int64[n]; found int64[n] gets the times."""
    for i in range(len(pages)):
        found[i] = next_touch(table, c, int(pages[i]), int(after_ns[i]))
