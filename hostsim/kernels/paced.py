"""Writes at a fixed rate, each to a page drawn anew: balls into bins, one step a *first* hit.

With a share p of all writes going to armed pages, the number of writes that hit none before the next that does is
geometric, whatever their rate; which armed page it hits is uniform within its part. So the cost follows the hits, and the
number of writes in a time is exact. Draws are keyed by (class, number of the hit): consumed in event order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.guest.touch import (
    FIRST_GFN,
    HOT_PAGES,
    KEY0,
    KEY1,
    N_PAGES,
    OFFSET,
    TouchTable,
    first_touch_index,
    global_touch_time,
)
from hostsim.jit import jit
from hostsim.kernels.armed import ARMED_COLD, ARMED_HOT, HITS, NEXT_WRITE, NOT_DRAWN, Armed
from hostsim.rng import keyed_exponential, keyed_uniform, natural_log

_PICK_PART, _PICK_PAGE = 1, 2


@jit
def arm_paced(table: TouchTable, c: int, armed: Armed, after_ns: int) -> None:
    """Arm every page of class ``c`` from work time ``after_ns`` on. What is memoryless is drawn anew."""
    row, state = table.ints[c], armed.paced[c]
    state[ARMED_HOT] = row[HOT_PAGES]
    state[ARMED_COLD] = row[N_PAGES] - row[HOT_PAGES]
    _draw_next_write(table, c, state, first_touch_index(row, after_ns))


@jit
def list_pages(table: TouchTable, c: int, armed: Armed) -> None:
    """Fill the list of pages of class ``c``, none hit."""
    offset = table.ints[c, OFFSET]
    for page in range(table.ints[c, N_PAGES]):
        armed.pages[offset + page] = page
        armed.hit[offset + page] = 0


@jit
def _hot_share(table: TouchTable, c: int, state: NDArray[np.int64]) -> float:
    """Share of all writes that hit an armed page of the hot part."""
    hot = table.ints[c, HOT_PAGES]
    return table.mean_ns[c] * state[ARMED_HOT] / hot if hot > 0 else 0.0


@jit
def _cold_share(table: TouchTable, c: int, state: NDArray[np.int64]) -> float:
    cold = table.ints[c, N_PAGES] - table.ints[c, HOT_PAGES]
    return (1.0 - table.mean_ns[c]) * state[ARMED_COLD] / cold if cold > 0 else 0.0


@jit
def _draw_next_write(table: TouchTable, c: int, state: NDArray[np.int64], first: int) -> None:
    """Draw which write at or after number ``first`` is the next to hit an armed page."""
    share = _hot_share(table, c, state) + _cold_share(table, c, state)
    if share <= 0.0:
        state[NEXT_WRITE] = NOT_DRAWN
        return
    misses = 0
    if share < 1.0:
        row = table.ints[c]
        wait = keyed_exponential(int(row[KEY0]), int(row[KEY1]), int(state[HITS]), first) / -natural_log(1.0 - share)
        misses = int(min(wait, 1.0e15))
    state[NEXT_WRITE] = first + misses


@jit
def _take(table: TouchTable, c: int, armed: Armed) -> int:
    """Remove the armed page that the next write hits from the list; returns its page."""
    row, state = table.ints[c], armed.paced[c]
    key0, key1, hits, write = int(row[KEY0]), int(row[KEY1]), int(state[HITS]), int(state[NEXT_WRITE])
    hot = _hot_share(table, c, state)
    part = keyed_uniform(key0 ^ _PICK_PART, key1, hits, write) * (hot + _cold_share(table, c, state))
    which = ARMED_HOT if part < hot or state[ARMED_COLD] == 0 else ARMED_COLD
    start = row[OFFSET] + (0 if which == ARMED_HOT else row[HOT_PAGES])
    at = start + int(keyed_uniform(key0 ^ _PICK_PAGE, key1, hits, write) * state[which])
    last = start + state[which] - 1
    page = armed.pages[at]
    armed.pages[at] = armed.pages[last]
    armed.pages[last] = page
    state[which] -= 1
    state[HITS] += 1
    return int(page)


@jit
def advance_paced(table: TouchTable, c: int, armed: Armed, now_work_ns: int, zero: NDArray[np.uint8]) -> None:
    """Let class ``c`` write up to (strictly below) work time ``now_work_ns``; what is written is no longer zero."""
    row, state = table.ints[c], armed.paced[c]
    while state[NEXT_WRITE] != NOT_DRAWN and global_touch_time(row, state[NEXT_WRITE]) < now_work_ns:
        page = _take(table, c, armed)
        armed.hit[row[OFFSET] + page] = 1
        zero[row[FIRST_GFN] + page] = 0
        _draw_next_write(table, c, state, state[NEXT_WRITE] + 1)
