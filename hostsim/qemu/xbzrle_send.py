"""Sending pages once XBZRLE is on: ``send.send_pages`` with the page cache between the page and the stream.

QEMU 7.2 and 10.x, migration/ram.c::save_xbzrle_page, ::xbzrle_cache_zero_page, ::find_dirty_block;
migration/page_cache.c::cache_insert, ::cache_is_cached. A loop of its own: runs without XBZRLE pay nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit
from hostsim.core.constants import PAGE_BYTES, PAGE_WIRE_BYTES, ZERO_PAGE_BYTES
from hostsim.core.memory import NEVER_COPIED, Versions
from hostsim.guest.armed import Armed
from hostsim.guest.content import Content
from hostsim.guest.touch import TouchTable
from hostsim.qemu.send import (
    BATCH,
    BUFFERED_BYTES,
    BUFFERED_PAGES,
    CURSOR,
    DIRTY_PAGES,
    HORIZON,
    IO_BUFFER_BYTES,
    ITERATION_PAGES,
    LAST_BLOCK,
    LINK_FREE_PS,
    LOGGED,
    MAX_WAIT,
    MAX_WAIT_MS,
    NO_BIT,
    NORMAL_PAGES,
    NOTHING_DIRTY,
    QUOTA,
    SENT_BYTES,
    T_NS,
    USED_BYTES,
    ZERO_PAGES,
    SendCosts,
    SendLimits,
    block_of,
    held_back,
    is_zero,
    link_free_after,
    next_dirty,
    note,
    write_page,
)
from hostsim.qemu.xbzrle_delta import (
    AGE,
    ARMED_NS,
    FOUND,
    GFN,
    N_SLOT,
    OVERFLOW,
    SENT_NS,
    SYNC,
    VERSION,
    Course,
    encoded_bytes,
)

STARTED, PAGES, BYTES, CACHE_MISS, OVERFLOWS, DELTAS, PROCESSED, BUSY_NS = range(8)
N_COUNTERS = 8
"""STARTED: the scan has wrapped past the last RAMBlock. PAGES ... OVERFLOWS: xbzrle_counters. DELTAS: pages sent as a delta.
PROCESSED: pages taken from the bitmap. BUSY_NS: CPU time of the cache and of encodings."""
CACHED_PAGE_LIFETIME = 2
"""migration/page_cache.c: a page hit less than so many syncs ago is not replaced."""
DELTA_HEADER_BYTES = 3
"""Encoding flag and length (be16), which xbzrle_counters.bytes has; the page's header of 8 bytes it has not."""
PAGE_HEADER_BYTES = 8
WHOLE = -1
"""save_xbzrle_page's answer: the page is sent whole."""


class PageCache(NamedTuple):
    """The cache and its surroundings for one call of the loop.

    slots: int64[n_slots, N_SLOT], in place; n_slots is a power of two.
    counters: int64[N_COUNTERS], in place.
    saved: int64[batch, N_SLOT], gets each page's slot before the send; as long as the journal.
    cleared_ns: int64[n_chunks], last CLEAR of each chunk [ns], 0: none.
    course, content: of the guest.
    age: dirty-sync-count; last_stage: the VM has stopped.
    encode_ns, run_ns, insert_ns: CPU time of an encoding, of each changed run in it, of copying a page into the cache.
    """

    slots: NDArray[np.int64]
    counters: NDArray[np.int64]
    saved: NDArray[np.int64]
    cleared_ns: NDArray[np.int64]
    course: Course
    content: Content
    age: int
    last_stage: bool
    encode_ns: int
    run_ns: int
    insert_ns: int


@inlined
def _keep(cache: PageCache, slot: int, gfn: int, version: int, t_ns: int, chunk: int) -> None:
    """The slot holds the content of ``gfn`` as of ``t_ns``."""
    row, last = cache.slots[slot], cache.course.n_syncs - 1
    row[GFN], row[SENT_NS], row[SYNC], row[VERSION], row[FOUND] = gfn, t_ns, last, version, -1
    row[ARMED_NS] = -cache.cleared_ns[chunk] if cache.cleared_ns[chunk] > 0 else cache.course.sync_ns[last]


@inlined
def _save(cache: PageCache, at: int, slot: int) -> None:
    """Keep the slot as it is before page number ``at`` of the call, field by field: numba would allocate a copy of a row."""
    for field in range(N_SLOT):
        cache.saved[at, field] = cache.slots[slot, field]


@inlined
def _insert(cache: PageCache, slot: int, gfn: int, version: int, t_ns: int, chunk: int) -> bool:
    """cache_insert: False if the slot holds another page that is fresh."""
    row = cache.slots[slot]
    if row[GFN] >= 0 and row[GFN] != gfn and row[AGE] + CACHED_PAGE_LIFETIME > cache.age:
        return False
    row[AGE] = cache.age
    _keep(cache, slot, gfn, version, t_ns, chunk)
    return True


@jit
def save_xbzrle_page(
    cache: PageCache, table: TouchTable, slot: int, gfn: int, version: int, t_ns: int, chunk: int
) -> tuple[int, int]:
    """save_xbzrle_page: (bytes of the delta, CPU time [ns]); 0: content equal, nothing is sent; WHOLE: send the page whole.

    cache: slots and counters, in place. slot: the slot of ``gfn``.
    table: touch classes. version: of the page. t_ns: time of the send. chunk: of the page in the dirty log.
    """
    counters = cache.counters
    row = cache.slots[slot]
    if row[GFN] != gfn:
        counters[CACHE_MISS] += 1
        is_kept = not cache.last_stage and _insert(cache, slot, gfn, version, t_ns, chunk)
        return WHOLE, cache.insert_ns if is_kept else 0
    row[AGE] = cache.age
    counters[PAGES] += 1
    length, runs = encoded_bytes(cache.content, table, cache.course, row, version, t_ns)
    if not cache.last_stage:
        _keep(cache, slot, gfn, version, t_ns, chunk)
    busy_ns = cache.encode_ns + cache.run_ns * runs
    if length == OVERFLOW:
        counters[OVERFLOWS] += 1
        counters[BYTES] += PAGE_BYTES
        return WHOLE, busy_ns
    if length > 0:
        counters[DELTAS] += 1
        counters[BYTES] += DELTA_HEADER_BYTES + length
    return length, busy_ns


@inlined
def _wire_bytes(reads_zero: bool, length: int) -> int:
    """Bytes of a page on the wire, without its block's name."""
    if reads_zero:
        return ZERO_PAGE_BYTES
    if length == WHOLE:
        return PAGE_WIRE_BYTES
    return PAGE_HEADER_BYTES + DELTA_HEADER_BYTES + length if length > 0 else 0


@inlined
def _look_up(cache: PageCache, table: TouchTable, gfn: int, version: int, t_ns: int, chunk: int, reads_zero: bool) -> tuple[
    int, int
]:  # fmt: skip
    """(bytes of the delta or WHOLE, CPU time [ns]) of a page; a zero page goes into the cache as zeros."""
    slot = gfn & (len(cache.slots) - 1)
    if cache.counters[STARTED] == 0:
        return WHOLE, 0
    if reads_zero:
        _insert(cache, slot, gfn, version, t_ns, chunk)
        return WHOLE, 0
    return save_xbzrle_page(cache, table, slot, gfn, version, t_ns, chunk)


@inlined
def _stop_before(
    limits: SendLimits, cache: PageCache, used: int, dirty: int, t_ns: int, done: int
) -> int:
    """The reason to send no further page; -1: none. A scan that finds nothing dirty passes the last RAMBlock, too."""
    if limits.rate_limit_bytes > 0 and used > limits.rate_limit_bytes:
        return QUOTA
    if dirty == 0:
        cache.counters[STARTED] = 1
        return NOTHING_DIRTY
    if t_ns >= limits.horizon_ns:
        return HORIZON
    return BATCH if done == limits.batch_pages else -1


@jit
def send_with_xbzrle(
    state: NDArray[np.int64],
    limits: SendLimits,
    costs: SendCosts,
    bmap: NDArray[np.uint8],
    words: NDArray[np.int64],
    block_ends: NDArray[np.int64],
    block_id_bytes: NDArray[np.int64],
    zero: NDArray[np.uint8],
    version: Versions,
    copied: Versions,
    clear_marks: NDArray[np.uint8],
    table: TouchTable,
    clocks: NDArray[np.int64],
    armed: Armed,
    log: NDArray[np.int64],
    journal: NDArray[np.int64],
    backing: NDArray[np.uint8],
    cache: PageCache,
) -> int:
    """Send dirty pages in cyclic order until a limit; the reason and ``state`` ... ``backing`` are those of send_pages."""
    t, cursor, dirty, block, done = state[T_NS], state[CURSOR], state[DIRTY_PAGES], state[LAST_BLOCK], 0
    used, buffered, gathered, free_ps = state[USED_BYTES], state[BUFFERED_BYTES], state[BUFFERED_PAGES], state[LINK_FREE_PS]
    page_ps = link_free_after(0, 0, max(costs.link_bytes_per_s, 1), PAGE_WIRE_BYTES)
    while True:
        reason = _stop_before(limits, cache, used, dirty, t, done)
        if reason >= 0:
            break
        gfn = next_dirty(bmap, words, cursor)
        if gfn < 0:
            reason = NO_BIT
            break
        if gfn < cursor:  # the scan has wrapped past the last RAMBlock
            cache.counters[STARTED] = 1
        cursor, reason = gfn, held_back(limits, clear_marks, zero, backing, table, gfn, t)
        if reason != QUOTA:
            break
        bmap[gfn], dirty, cursor = 0, dirty - 1, gfn + 1
        is_known = done < limits.replayed_pages
        reads_zero = journal[done, 2] == 1 if is_known else is_zero(limits, zero, table, clocks, armed, gfn, t)
        if state[LOGGED] < len(log):
            note(state, log, t, gfn, reads_zero)
        if len(journal) > 0:
            journal[done, 0], journal[done, 1], journal[done, 2] = gfn, copied[gfn], int(reads_zero)
            _save(cache, done, gfn & (len(cache.slots) - 1))
        length, busy_ns = _look_up(cache, table, gfn, version[gfn], t, gfn >> limits.chunk_shift, reads_zero)
        cache.counters[BUSY_NS] += busy_ns
        is_whole = length == WHOLE and not reads_zero
        t += busy_ns + (costs.zero_page_ns if reads_zero else costs.page_ns if is_whole else 0)
        t += costs.first_copy_ns if is_whole and copied[gfn] == NEVER_COPIED else 0
        copied[gfn] = version[gfn]
        state[ZERO_PAGES] += reads_zero
        state[NORMAL_PAGES] += is_whole
        n_bytes, done = _wire_bytes(reads_zero, length), done + 1
        if n_bytes == 0:  # content equal: no header, so no block name either; the scan goes on without reading the clock
            continue
        if block < 0 or gfn >= block_ends[block] or (block > 0 and gfn < block_ends[block - 1]):
            block = block_of(block_ends, gfn)
            n_bytes += 1 + block_id_bytes[block]
        # The cached copy may change before it is written, so its page is copied into the buffer, not gathered.
        gathered += is_whole and (cache.counters[STARTED] == 0 or cache.last_stage)
        state[SENT_BYTES] += n_bytes
        buffered += n_bytes
        rest = buffered - PAGE_BYTES * gathered - IO_BUFFER_BYTES
        if gathered >= limits.flush_pages or rest >= 0 or limits.flush_pages <= 1:
            rest = max(rest, 0) if limits.flush_pages > 1 and cache.counters[STARTED] == 1 else 0
            used, buffered, gathered = used + buffered - rest, rest, 0
        free_ps, t = write_page(state, costs, free_ps, t, n_bytes, page_ps)
        asks_time = limits.bounded_wait and state[ITERATION_PAGES] % 64 == 0
        state[ITERATION_PAGES] += 1
        if asks_time and (t - limits.iteration_start_ns) // 1_000_000 > MAX_WAIT_MS:
            reason = MAX_WAIT
            break
    state[T_NS], state[CURSOR], state[DIRTY_PAGES], state[LAST_BLOCK] = t, cursor, dirty, block
    state[USED_BYTES], state[BUFFERED_BYTES], state[BUFFERED_PAGES], state[LINK_FREE_PS] = used, buffered, gathered, free_ps
    cache.counters[PROCESSED] += done
    return reason
