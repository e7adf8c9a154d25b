"""Arming pages and harvesting their writes. ``pending`` holds one work time a (class, page): the next touch.

An armed page has its pending touch in the future of the class's clock; a pending touch in its past is a write that
nobody has looked at yet. Harvesting one re-arms the page from the moment of the harvest, inclusive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.guest.touch import FIRST_GFN, IS_WRITE, KIND, N_PAGES, OFFSET, PACED, TouchTable, next_touch
from hostsim.jit import jit
from hostsim.kernels.armed import Armed
from hostsim.kernels.clocks import class_work
from hostsim.kernels.paced import advance_paced, arm_paced, is_hit


@jit
def arm(
    table: TouchTable, c: int, low: int, high: int, after_ns: int, armed: Armed, zero: NDArray[np.uint8]
) -> None:
    """Arm pages [low, high) of class ``c`` from work time ``after_ns``; zero pages written before are no longer zero."""
    offset, first = table.ints[c, OFFSET], table.ints[c, FIRST_GFN]
    for page in range(low, high):
        armed.pending[offset + page] = next_touch(table, c, page, after_ns)
        if zero[first + page] == 1 and next_touch(table, c, page, 0) < after_ns:
            zero[first + page] = 0


@jit
def start_paced(table: TouchTable, c: int, after_ns: int, armed: Armed, zero: NDArray[np.uint8]) -> None:
    """Let paced class ``c`` write up to work time ``after_ns``, then arm all its pages."""
    arm_paced(table, c, armed, 0)
    advance_paced(table, c, armed, after_ns)
    first = table.ints[c, FIRST_GFN]
    for page in range(table.ints[c, N_PAGES]):
        if is_hit(armed.hit, table.ints[c, OFFSET] + page):
            zero[first + page] = 0
    _clear_hits(table, c, armed)
    arm_paced(table, c, armed, after_ns)


@jit
def _clear_hits(table: TouchTable, c: int, armed: Armed) -> None:
    low = table.ints[c, OFFSET] // 8
    armed.hit[low : low + (table.ints[c, N_PAGES] + 7) // 8] = 0


class Pages(NamedTuple):
    """Per-page state of a VM and of the bitmap harvested into, in place.

    bmap: uint8, 1 = to be sent; zero: uint8, 1 = reads as zeros; version: uint32; harvested: uint8, 1 = found by this
    harvest already (empty where no two classes overlap, so none can be found twice).
    """

    bmap: NDArray[np.uint8]
    zero: NDArray[np.uint8]
    version: NDArray[np.uint32]
    harvested: NDArray[np.uint8]


@jit
def _record(pages: Pages, gfn: int, counts: NDArray[np.int64]) -> None:
    """One page was written since the last harvest."""
    if len(pages.harvested) > 0:
        if pages.harvested[gfn] == 1:
            return
        pages.harvested[gfn] = 1
    pages.zero[gfn] = 0
    pages.version[gfn] += 1
    counts[0] += 1
    counts[1] += 1 - pages.bmap[gfn]
    pages.bmap[gfn] = 1


@jit
def harvest(
    table: TouchTable,
    c: int,
    low: int,
    high: int,
    now_work_ns: int,
    armed: Armed,
    pages: Pages,
    log: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Harvest writes of class ``c`` to pages [low, high) before ``now_work_ns``; re-arm what was written.

    log: int64[capacity, 3] gets (class, gfn, first touch), capacity may be 0. counts: int64[3], in place: pages harvested,
    of them new in bmap, log entries.
    """
    offset, first = table.ints[c, OFFSET], table.ints[c, FIRST_GFN]
    for page in range(low, high):
        touched = armed.pending[offset + page]
        if touched >= now_work_ns:
            continue
        armed.pending[offset + page] = next_touch(table, c, page, now_work_ns)
        if counts[2] < len(log):
            log[counts[2], 0], log[counts[2], 1], log[counts[2], 2] = c, first + page, touched
            counts[2] += 1
        _record(pages, first + page, counts)


@jit
def harvest_paced(
    table: TouchTable, c: int, now_work_ns: int, armed: Armed, pages: Pages, counts: NDArray[np.int64]
) -> None:
    """``harvest`` for a paced class: write up to ``now_work_ns``, collect the hit pages, arm them again."""
    advance_paced(table, c, armed, now_work_ns)
    low, first = table.ints[c, OFFSET] // 8, table.ints[c, FIRST_GFN]
    for group in range((table.ints[c, N_PAGES] + 7) // 8):
        bits = armed.hit[low + group]
        if bits == 0:
            continue
        armed.hit[low + group] = 0
        for bit in range(8):
            if (bits >> bit) & 1 == 1:
                _record(pages, first + group * 8 + bit, counts)
    arm_paced(table, c, armed, now_work_ns)


@jit
def is_written(
    table: TouchTable, clocks: NDArray[np.int64], armed: Armed, gfn: int, t_ns: int
) -> bool:
    """Whether a write to ``gfn`` before host time ``t_ns`` waits to be harvested. Paced classes are settled up to t_ns."""
    for c in range(len(table.ints)):
        page = gfn - table.ints[c, FIRST_GFN]
        if page < 0 or page >= table.ints[c, N_PAGES] or table.ints[c, IS_WRITE] == 0:
            continue
        now = class_work(table.ints, clocks, c, t_ns)
        if table.ints[c, KIND] == PACED:
            advance_paced(table, c, armed, now)
            if is_hit(armed.hit, table.ints[c, OFFSET] + page):
                return True
        elif armed.pending[table.ints[c, OFFSET] + page] < now:
            return True
    return False


@jit
def earliest_pending(pending: NDArray[np.int64], low: int, high: int) -> int:
    """Smallest pending touch in [low, high): a harvested class has none before the harvest."""
    smallest = np.int64(1 << 62)
    for i in range(low, high):
        smallest = min(smallest, pending[i])
    return int(smallest)


@jit
def first_stale(version: NDArray[np.uint32], copied: NDArray[np.uint32], bmap: NDArray[np.uint8]) -> int:
    """First gfn whose copy is not the newest content and which is not waiting to be sent, or -1."""
    for gfn in range(len(version)):
        if version[gfn] != copied[gfn] and bmap[gfn] == 0:
            return gfn
    return -1
