"""Arming pages and harvesting their writes. ``pending`` holds one work time a (class, page): the next touch.

An armed page has its pending touch in the future of the class's clock; a pending touch in its past is a write that
no harvest has found yet. Harvesting the write re-arms the page from the moment of the harvest, inclusive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.bits import bit_length
from hostsim.compiled.jit import jit, late, part
from hostsim.core.memory import Versions, grown
from hostsim.guest.armed import ARMED_COLD, ARMED_HOT, HITS, Armed
from hostsim.guest.clocks import class_work
from hostsim.guest.paced import advance_paced, arm_paced, is_hit
from hostsim.guest.touch import (
    FIRST_GFN,
    IS_WRITE,
    KIND,
    N_PAGES,
    OFFSET,
    PACED,
    SWEEP,
    TRACE,
    TouchTable,
    next_touch,
)


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
    """Let paced class ``c`` of ``table`` write up to work time ``after_ns``, then arm all its pages.

    armed: the hits and pending touches, in place.
    zero: uint8[n_pages], in place: pages that were written read as zeros no more.
    A log that is started again finds the class as the last one left it, with the hits of pages that no harvest has seen.
    """
    state = armed.paced[c]
    if state[HITS] == 0 and state[ARMED_HOT] + state[ARMED_COLD] == 0:
        arm_paced(table, c, armed, 0)
    advance_paced(table, c, armed, after_ns)
    first = table.ints[c, FIRST_GFN]
    for page in range(table.ints[c, N_PAGES]):
        if is_hit(armed.hit, table.ints[c, OFFSET] + page):
            zero[first + page] = 0
    _clear_hits(table, c, armed)
    arm_paced(table, c, armed, after_ns)


@part
def _clear_hits(table: TouchTable, c: int, armed: Armed) -> None:
    low = table.ints[c, OFFSET] // 8
    armed.hit[low : low + (table.ints[c, N_PAGES] + 7) // 8] = 0


WRITTEN, RECORDED = 1, 2
"""Values of ``Pages.due``; 0: the page was not written since the last harvest."""


class Pages(NamedTuple):
    """Per-page state of a VM and of the bitmap harvested into, in place.

    bmap: uint8[n_pages], 1: the page is to be sent.
    zero: uint8[n_pages], 1: the page reads as zeros.
    version: uint16[n_pages], harvests that found the page written.
    due: uint8[n_pages], WRITTEN where ``mark_written`` found a write, RECORDED once this harvest has recorded the page.
    """

    bmap: NDArray[np.uint8]
    zero: NDArray[np.uint8]
    version: Versions
    due: NDArray[np.uint8]


@jit
def mark_written(table: TouchTable, c: int, now_work_ns: int, armed: Armed, due: NDArray[np.uint8]) -> None:
    """Mark in ``due`` (uint8[n_pages], in place) pages that class ``c`` wrote before ``now_work_ns``, not harvested yet."""
    offset, first = table.ints[c, OFFSET], table.ints[c, FIRST_GFN]
    if table.ints[c, KIND] == PACED:
        advance_paced(table, c, armed, now_work_ns)
        for page in range(0, table.ints[c, N_PAGES], 8):
            bits = armed.hit[(offset + page) >> 3]
            if bits > 0:
                for bit in range(min(8, table.ints[c, N_PAGES] - page)):
                    due[first + page + bit] |= (bits >> bit) & WRITTEN
        return
    for page in range(table.ints[c, N_PAGES]):
        due[first + page] |= WRITTEN * (armed.pending[offset + page] < now_work_ns)


@jit
def first_lost(due: NDArray[np.uint8], bmap: NDArray[np.uint8]) -> int:
    """First gfn that was written and that no harvest has put into ``bmap``, or -1."""
    lost = 0
    for gfn in range(len(due)):  # no early exit, so that the compiler vectorizes the loop
        lost += (due[gfn] > 0) & (bmap[gfn] == 0)
    if lost == 0:
        return -1
    gfn = 0
    while due[gfn] == 0 or bmap[gfn] == 1:
        gfn += 1
    return gfn


@jit
def first_misarmed(table: TouchTable, c: int, start: int, step: int, now_work_ns: int, pending: NDArray[np.int64]) -> int:
    """First of the pages ``start``, ``start + step`` ... of a sweep or trace that does not await its next touch, or -1.

    c: number of the class.
    now_work_ns: its work clock.
    pending: int64[...], next touch of each page [ns of work].
    Touches of such a class repeat, so the next touch of a page does not depend on the moment of arming. The next touch of
    a page of a drawn class does, so this check passes over drawn classes.
    """
    if table.ints[c, KIND] != SWEEP and table.ints[c, KIND] != TRACE:
        return -1
    for page in range(start, table.ints[c, N_PAGES], step):
        if pending[table.ints[c, OFFSET] + page] != next_touch(table, c, page, now_work_ns):
            return page
    return -1


@jit
def _record(pages: Pages, gfn: int, counts: NDArray[np.int64]) -> None:
    """One page was written since the last harvest."""
    if pages.due[gfn] == RECORDED:  # another class wrote the page, too: a harvest raises its version once
        return
    pages.due[gfn] = RECORDED
    pages.zero[gfn] = 0
    pages.version[gfn] = grown(pages.version[gfn], 1)
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
    """Harvest writes of class ``c`` to pages [low, high) before ``now_work_ns``; re-arm the written pages.

    log: int64[capacity, 3], gets (class, gfn, work time of the first touch [ns]); capacity may be 0.
    counts: int64[3], in place: pages harvested, pages among them that are new in ``bmap``, entries of ``log``.
    """
    offset, first = table.ints[c, OFFSET], table.ints[c, FIRST_GFN]
    for page in range(low, high):
        touched = armed.pending[offset + page]
        if touched >= now_work_ns:
            continue
        # The log is clear from now on, so a touch at this very moment belongs to the next harvest.
        armed.pending[offset + page] = next_touch(table, c, page, now_work_ns)
        if counts[2] < len(log):
            log[counts[2], 0], log[counts[2], 1], log[counts[2], 2] = c, first + page, touched
            counts[2] += 1
        _record(pages, first + page, counts)


@jit
def harvest_paced(
    table: TouchTable, c: int, now_work_ns: int, armed: Armed, pages: Pages, counts: NDArray[np.int64]
) -> None:
    """``harvest`` for paced class ``c`` of ``table``: write up to ``now_work_ns``, collect the hit pages, arm them again.

    armed, pages: in place. counts: int64[3], in place, as in ``harvest``.
    """
    advance_paced(table, c, armed, now_work_ns)
    low, first = table.ints[c, OFFSET] // 8, table.ints[c, FIRST_GFN]
    for group in range((table.ints[c, N_PAGES] + 7) // 8):
        bits = int(armed.hit[low + group])
        armed.hit[low + group] = 0
        while bits > 0:  # a step a hit: a branch a page would be foreseen wrongly at every other hit
            bit = bit_length(bits) - 1
            bits ^= 1 << bit
            _record(pages, first + group * 8 + bit, counts)
    arm_paced(table, c, armed, now_work_ns)


@late
def is_written(
    table: TouchTable, clocks: NDArray[np.int64], armed: Armed, gfn: int, t_ns: int
) -> bool:
    """Whether a write to ``gfn`` before host time ``t_ns`` waits to be harvested.

    table: touch classes. clocks: int64[n_clocks, N_FIELDS], work clocks.
    armed: pending touches; in place, as paced classes are settled up to ``t_ns``.
    """
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
def first_false_zero(version: Versions, zero: NDArray[np.uint8]) -> int:
    """First gfn that a harvest found written and that would still be sent as a zero page, or -1."""
    false = 0
    for gfn in range(len(version)):
        false += (version[gfn] > 0) & (zero[gfn] == 1)
    if false == 0:
        return -1
    gfn = 0
    while version[gfn] == 0 or zero[gfn] == 0:
        gfn += 1
    return gfn


@jit
def first_stale(version: Versions, copied: Versions, bmap: NDArray[np.uint8]) -> int:
    """First gfn whose copy is not the newest content and which is not waiting to be sent, or -1.

    version, copied: uint16[n_pages], of the source, of the destination.
    bmap: uint8[n_pages], 1: to be sent.
    """
    stale = 0
    for gfn in range(len(version)):
        stale += (version[gfn] != copied[gfn]) & (bmap[gfn] == 0)
    if stale == 0:
        return -1
    gfn = 0
    while version[gfn] == copied[gfn] or bmap[gfn] == 1:
        gfn += 1
    return gfn
