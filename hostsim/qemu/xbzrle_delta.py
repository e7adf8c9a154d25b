"""The length of an XBZRLE delta: from the writes between a cached copy and now to the runs that the encoder finds.

QEMU migration/xbzrle.c::xbzrle_encode_buffer: unchanged and changed runs in turn, each run of changed bytes as the length of
the unchanged run before it, its own length (uleb128, two bytes from 128 on) and its bytes; the last unchanged run is left
out, and more than a page is an overflow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.core.constants import PAGE_BYTES
from hostsim.core.memory import harvests_between
from hostsim.core.rng import keyed_uniform, natural_log
from hostsim.guest.content import SCATTERED, START, Content, is_counted, natural_exp, touches
from hostsim.guest.touch import (
    CLOCK_COUNT,
    FIRST_GFN,
    IS_WRITE,
    N_PAGES,
    ON_LENGTH,
    ON_PERIOD,
    ON_START,
    TouchTable,
)
from hostsim.guest.windows import window_local

GFN, AGE, SENT_NS, ARMED_NS, SYNC, VERSION, FOUND = range(7)
N_SLOT = 7
"""Columns of a slot of the cache.

GFN: the page, -1: empty. AGE: dirty-sync-count of the last hit. SENT_NS: time of the cached content. SYNC: number of the
last sync by then. VERSION: of the cached content. ARMED_NS: since when the log would record a write, as of SENT_NS; negative
if a CLEAR armed the page. FOUND: number of the first sync since that found the page dirty, -1: none.
"""
ULEB_SHORT = 128
"""uleb128 of a smaller number takes one byte (util/cutils.c::uleb128_encode_small)."""
NOT_FOUND, BY_FIRST, BY_LATER = range(3)
"""Syncs since its last send that found a page dirty: none, the first one alone, a later one."""
_RUNS_LEAST, _SHARE_LEAST = 1e-9, 1e-300
"""A page that is all changed has hardly any unchanged byte before a run; the logarithm of 0 is not defined."""
OVERFLOW = -1
"""xbzrle_encode_buffer's answer if the delta would be longer than a page."""


class Course(NamedTuple):
    """The guest's work as the syncs saw it: the send loop is ahead of a guest that exits, so it reads no clock.

    sync_ns: int64[capacity], end of each sync's harvest [ns].
    sync_work: int64[capacity, n_classes], work of each touch class at that time [ns].
    n_syncs: syncs so far; is_stopped: no vCPU has run since the last one.
    """

    sync_ns: NDArray[np.int64]
    sync_work: NDArray[np.int64]
    n_syncs: int
    is_stopped: bool


@part
def _on_ns(table: TouchTable, c: int, t_ns: int) -> int:
    """Time in which the clocks of class ``c`` have run by ``t_ns``: they stand between windows of the host's clock."""
    row = table.ints[c]
    if row[ON_LENGTH] == 0:
        return int(t_ns)
    return int(window_local(row[ON_START], row[ON_LENGTH], row[ON_PERIOD], t_ns))


@part
def _speed(course: Course, table: TouchTable, c: int, sync: int) -> float:
    """Work of class ``c`` a nanosecond of ``_on_ns`` after sync number ``sync``: up to the next sync, or as before it.

    The sync of a stopped VM says when the guest's work had ended, not how fast it went on before.
    """
    if sync + 1 < course.n_syncs and not (course.is_stopped and sync + 2 == course.n_syncs):
        first, then = sync, sync + 1
    elif sync > 0:
        first, then = sync - 1, sync
    else:
        return float(table.ints[c, CLOCK_COUNT])
    span_ns = _on_ns(table, c, course.sync_ns[then]) - _on_ns(table, c, course.sync_ns[first])
    if span_ns > 0:
        return float((course.sync_work[then, c] - course.sync_work[first, c]) / span_ns)
    return float(table.ints[c, CLOCK_COUNT]) if table.ints[c, ON_LENGTH] else 0.0


@part
def work_by(course: Course, table: TouchTable, c: int, sync: int, t_ns: int) -> int:
    """Work of class ``c`` at ``t_ns``, near or after sync number ``sync``.

    # Model limit: XBZRLE takes the guest's work as even between two syncs, and after the last sync as in the time before it.
    """
    since_ns = _on_ns(table, c, t_ns) - _on_ns(table, c, course.sync_ns[sync])
    work = int(course.sync_work[sync, c] + _speed(course, table, c, sync) * since_ns)
    return min(work, course.sync_work[course.n_syncs - 1, c]) if course.is_stopped else work


class Writes(NamedTuple):
    """Writes to a page around its last send, all classes together; means of drawn classes, else counts.

    counted_before, drawn_before: from arming to the send.
    counted: from the send to now.
    drawn_found: from the send to the sync that found the page dirty; drawn_later: to the last sync; drawn_last: to now.
    """

    counted_before: float
    drawn_before: float
    counted: float
    drawn_found: float
    drawn_later: float
    drawn_last: float


@part
def writes_since(course: Course, table: TouchTable, slot: NDArray[np.int64], t_ns: int) -> Writes:
    """Writes to the page of ``slot`` (int64[N_SLOT]) around its last send, up to ``t_ns``."""
    first, last = slot[SYNC], course.n_syncs - 1
    found = slot[FOUND] if slot[FOUND] >= 0 else last
    armed_ns = abs(slot[ARMED_NS])
    counted_before = drawn_before = counted = drawn_found = drawn_later = drawn_last = 0.0
    for c in range(len(table.ints)):
        page = slot[GFN] - table.ints[c, FIRST_GFN]
        if table.ints[c, IS_WRITE] == 0 or page < 0 or page >= table.ints[c, N_PAGES]:
            continue
        armed = work_by(course, table, c, first, armed_ns)
        sent = work_by(course, table, c, first, slot[SENT_NS])
        at_found = max(sent, course.sync_work[found, c])
        at_last = max(at_found, course.sync_work[last, c])
        now = max(at_last, work_by(course, table, c, last, t_ns))
        if is_counted(table, c):
            counted_before += touches(table, c, page, armed, sent)
            counted += touches(table, c, page, sent, now)
        else:
            drawn_before += touches(table, c, page, armed, sent)
            drawn_found += touches(table, c, page, sent, at_found)
            drawn_later += touches(table, c, page, at_found, at_last)
            drawn_last += touches(table, c, page, at_last, now)
    return Writes(counted_before, drawn_before, counted, drawn_found, drawn_later, drawn_last)


@jit
def found_by(slot: NDArray[np.int64], version: int) -> int:
    """NOT_FOUND, BY_FIRST or BY_LATER; ``version``: of the page now, one more for each sync that found it dirty."""
    if slot[FOUND] < 0:
        return NOT_FOUND
    is_first = slot[FOUND] == slot[SYNC] + 1 and harvests_between(slot[VERSION], version) <= 1
    return BY_FIRST if is_first else BY_LATER


@jit
def same_chance(w: Writes, found: int, by_clear: bool) -> float:
    """Probability that no write came after the send.

    A page that the guest wrote before its send in a round is found dirty by the next sync, though its newest content was
    sent. Later syncs find no such page, unless the guest writes it again (by_clear: the page is armed once a round, and
    they find nothing at all).
    """
    if w.counted > 0.0 or found == BY_LATER:
        return 0.0
    unseen = w.drawn_found + w.drawn_last + (w.drawn_later if by_clear or found == NOT_FOUND else 0.0)
    still = natural_exp(-unseen)
    if found == NOT_FOUND or w.counted_before > 0.0:
        return still
    before = 1.0 - natural_exp(-w.drawn_before)
    by_sync = 1.0 - natural_exp(-(w.drawn_before + w.drawn_found))
    return before * still / by_sync if by_sync > 0.0 else still


@part
def _uleb_bytes(length: float) -> float:
    return 2.0 if length >= ULEB_SHORT else 1.0


@part
def same_place(content: Content, c: int, gfn: int) -> int:
    """Offset of the bytes that every write of class ``c`` to page ``gfn`` changes."""
    if content.places[c] == START:
        return 0
    places = PAGE_BYTES - content.changed_bytes[c] + 1
    return int(keyed_uniform(content.keys[0], content.keys[1], gfn, c) * places)


@jit
def scattered_bytes(free_log: float, start_log: float) -> tuple[float, float]:
    """(mean bytes of a delta, mean runs) of changed bytes all over the page.

    free_log: logarithm of the share of the page's bytes that no write changed.
    start_log: logarithm of the share of bytes at which no write begins, among bytes behind an unchanged one.
    """
    free = natural_exp(free_log)
    covered, runs = PAGE_BYTES * (1.0 - free), PAGE_BYTES * free * (1.0 - natural_exp(start_log))
    if runs < _RUNS_LEAST:
        return covered + 3.0, 1.0
    # Unchanged runs split the unchanged bytes at random places: P(one of them >= z) = (1 - z / bytes)^runs.
    unchanged = PAGE_BYTES - covered
    long_gap = natural_exp(runs * natural_log(1.0 - ULEB_SHORT / unchanged)) if unchanged > ULEB_SHORT else 0.0
    return runs * (1.0 + long_gap + _uleb_bytes(covered / runs)) + covered, runs


@jit
def delta_bytes(content: Content, table: TouchTable, gfn: int, course: Course, slot: NDArray[np.int64], t_ns: int,
                at_least: float) -> tuple[float, float]:  # fmt: skip
    """(mean bytes of the delta, runs) of a page that was written since its cached copy.

    content, table: changed bytes of each write class; the touch classes.
    course: work of the clocks at each sync. slot: int64[N_SLOT], the cached copy of ``gfn``.
    t_ns: time of the send.
    at_least: factor on the mean writes of drawn classes: the page is known to have been written.
    # Model limit: a changed byte has a value that it did not have in the cached copy; a counter never comes back to it.
    # Model limit: the length of a delta is its mean over the places of scattered bytes and over the number of drawn writes.
    """
    first, last = slot[SYNC], course.n_syncs - 1
    free_log = start_log = same_bytes = same_runs = 0.0
    for c in range(len(table.ints)):
        page = gfn - table.ints[c, FIRST_GFN]
        if table.ints[c, IS_WRITE] == 0 or page < 0 or page >= table.ints[c, N_PAGES]:
            continue
        sent = work_by(course, table, c, first, slot[SENT_NS])
        n = touches(table, c, page, sent, max(sent, work_by(course, table, c, last, t_ns)))
        n *= 1.0 if is_counted(table, c) else at_least
        if n <= 0.0:  # of a write that changes the whole page no byte would be left to take a logarithm of
            continue
        size = content.changed_bytes[c]
        if size >= PAGE_BYTES:
            return PAGE_BYTES + 3.0, 1.0
        if content.places[c] == SCATTERED:
            free_log += n * natural_log(1.0 - size / PAGE_BYTES)
            start_log += n * natural_log(max(1.0 - 1.0 / (PAGE_BYTES - size), _SHARE_LEAST))
        else:
            share = min(n, 1.0)
            same_runs += share
            same_bytes += share * (_uleb_bytes(same_place(content, c, gfn)) + _uleb_bytes(size) + size)
    if free_log == 0.0:
        return same_bytes, same_runs
    length, runs = scattered_bytes(free_log, start_log)
    free = natural_exp(free_log)
    return length + same_bytes * free, runs + same_runs * free


@jit
def encoded_bytes(
    content: Content, table: TouchTable, course: Course, slot: NDArray[np.int64], version: int, t_ns: int
) -> tuple[int, int]:
    """(bytes of the delta of the page in ``slot`` at ``t_ns``, its runs); 0: the content is equal; OVERFLOW.

    version: of the page now. Draws are keyed by (seed, page, time), so no other draw moves.
    """
    gfn, by_clear = slot[GFN], slot[ARMED_NS] < 0
    w = writes_since(course, table, slot, t_ns)
    drawn = w.drawn_found + w.drawn_later + w.drawn_last
    if drawn + w.counted == 0.0:
        return 0, 0
    chance = same_chance(w, found_by(slot, version), by_clear)
    if keyed_uniform(content.keys[0], content.keys[1], gfn, t_ns) < chance:
        return 0, 0
    at_least = 1.0 / (1.0 - natural_exp(-drawn)) if w.counted == 0.0 else 1.0
    length, runs = delta_bytes(content, table, gfn, course, slot, t_ns, at_least)
    whole = int(length + keyed_uniform(content.keys[1], content.keys[0], gfn, t_ns))
    return (whole, int(runs + 0.5)) if whole <= PAGE_BYTES else (OVERFLOW, int(runs + 0.5))
