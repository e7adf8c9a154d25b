"""Sending pages: the inner loop of ram_save_iterate and ram_save_complete, page by page in simulated time.

The loop stops before the first page whose copy would begin at or after the horizon (the next host event), so where it
is cut changes nothing. QEMU 7.2 and 10.x, migration/ram.c::ram_save_iterate, ::ram_find_and_save_block,
::save_zero_page, ::save_normal_page; migration/qemu-file.c::qemu_put_buffer_async, ::add_buf_to_iovec.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.guest.touch import TouchTable
from hostsim.jit import jit
from hostsim.kernels.armed import Armed
from hostsim.kernels.harvest import is_written

QUOTA, NOTHING_DIRTY, MAX_WAIT, HORIZON, BATCH = range(5)
"""Why the loop returned."""

(T_NS, CURSOR, DIRTY_PAGES, LAST_BLOCK, USED_BYTES, BUFFERED_BYTES, BUFFERED_PAGES, SENT_BYTES, NORMAL_PAGES, ZERO_PAGES,
 LINK_FREE_PS, ITERATION_PAGES, LOGGED) = range(13)  # fmt: skip
N_STATE = 13

PAGE_HEADER_BYTES = 8
ZERO_PAGE_BYTES = 9
NORMAL_PAGE_BYTES = 8 + 4096
IO_BUFFER_BYTES = 32768
"""qemu-file.c IO_BUF_SIZE."""
MAX_WAIT_MS = 50
"""ram.c MAX_WAIT."""
NEVER_COPIED = 0xFFFFFFFF
PS_PER_S = 1_000_000_000_000


class SendLimits(NamedTuple):
    """What bounds one call; times ns, sizes bytes, 0: no limit.

    flush_pages: normal pages the stream gathers before they count as sent (1: each page counts as it is queued).
    """

    rate_limit_bytes: int
    flush_pages: int
    iteration_start_ns: int
    bounded_wait: bool
    horizon_ns: int
    batch_pages: int


class SendCosts(NamedTuple):
    """Host and link constants: see the host sheets."""

    page_ns: int
    first_copy_ns: int
    zero_page_ns: int
    link_bytes_per_s: int
    socket_buffer_ps: int


@jit
def next_dirty(bmap: NDArray[np.uint8], words: NDArray[np.uint64], start: int) -> int:
    """First set page at or after ``start``; len(bmap) if none. ``words`` views bmap, eight pages a word."""
    gfn = start
    while gfn < len(bmap) and gfn % 8 != 0:
        if bmap[gfn] != 0:
            return gfn
        gfn += 1
    word = gfn // 8
    while word < len(words) and words[word] == 0:
        word += 1
    gfn = word * 8
    while gfn < len(bmap) and bmap[gfn] == 0:
        gfn += 1
    return min(gfn, len(bmap))


@jit
def _find_cyclic(bmap: NDArray[np.uint8], words: NDArray[np.uint64], cursor: int) -> int:
    gfn = next_dirty(bmap, words, cursor)
    return gfn if gfn < len(bmap) else next_dirty(bmap, words, 0)


@jit
def _block_of(block_ends: NDArray[np.int64], gfn: int) -> int:
    block = 0
    while gfn >= block_ends[block]:
        block += 1
    return block


@jit
def write_to_link(state: NDArray[np.int64], costs: SendCosts, n_bytes: int) -> None:
    """Queue bytes on the socket at T_NS; T_NS moves to where the socket buffer has taken them. In place."""
    if costs.link_bytes_per_s == 0:
        return
    now_ps = state[T_NS] * 1000
    free_ps = max(state[LINK_FREE_PS], now_ps) + n_bytes * PS_PER_S // costs.link_bytes_per_s
    state[LINK_FREE_PS] = free_ps
    wait_ps = free_ps - costs.socket_buffer_ps - now_ps
    if wait_ps > 0:
        state[T_NS] += -(-wait_ps // 1000)


@jit
def count_bytes(state: NDArray[np.int64], limits: SendLimits, n_bytes: int, normal_pages: int) -> None:
    """Account bytes against the rate limit: at once, or when the stream's iovecs or buffer are full. In place."""
    state[SENT_BYTES] += n_bytes
    state[BUFFERED_BYTES] += n_bytes
    state[BUFFERED_PAGES] += normal_pages
    held_back = limits.flush_pages > 1 and state[BUFFERED_PAGES] < limits.flush_pages
    if not held_back or state[BUFFERED_BYTES] - 4096 * state[BUFFERED_PAGES] >= IO_BUFFER_BYTES:
        flush(state)


@jit
def flush(state: NDArray[np.int64]) -> None:
    """What was gathered now counts (qemu_fflush). In place."""
    state[USED_BYTES] += state[BUFFERED_BYTES]
    state[BUFFERED_BYTES] = 0
    state[BUFFERED_PAGES] = 0


@jit
def send_pages(
    state: NDArray[np.int64],
    limits: SendLimits,
    costs: SendCosts,
    bmap: NDArray[np.uint8],
    words: NDArray[np.uint64],
    block_ends: NDArray[np.int64],
    block_id_bytes: NDArray[np.int64],
    zero: NDArray[np.uint8],
    version: NDArray[np.uint32],
    copied: NDArray[np.uint32],
    table: TouchTable,
    clocks: NDArray[np.int64],
    armed: Armed,
    log: NDArray[np.int64],
) -> int:
    """Send dirty pages in cyclic order until a limit; returns which (QUOTA ... BATCH).

    state: int64[N_STATE], in place. bmap uint8[n_pages] (bits cleared), words its uint64 view; block_ends, block_id_bytes
    int64[n_blocks]; zero uint8, version uint32 of the source; copied uint32[n_pages], the version the destination has
    (in place). log: int64[capacity, 3] gets (t_ns, gfn, zero page?), capacity may be 0.
    """
    done = 0
    while True:
        if limits.rate_limit_bytes > 0 and state[USED_BYTES] > limits.rate_limit_bytes:
            return QUOTA
        if state[DIRTY_PAGES] == 0:
            return NOTHING_DIRTY
        if state[T_NS] >= limits.horizon_ns:
            return HORIZON
        if done == limits.batch_pages:
            return BATCH
        gfn = _find_cyclic(bmap, words, int(state[CURSOR]))
        bmap[gfn] = 0
        state[DIRTY_PAGES] -= 1
        state[CURSOR] = gfn + 1
        is_zero = zero[gfn] == 1 and not is_written(table, clocks, armed, zero, gfn, int(state[T_NS]))
        if state[LOGGED] < len(log):
            log[state[LOGGED], 0], log[state[LOGGED], 1], log[state[LOGGED], 2] = state[T_NS], gfn, int(is_zero)
            state[LOGGED] += 1
        n_bytes = ZERO_PAGE_BYTES if is_zero else NORMAL_PAGE_BYTES
        block = _block_of(block_ends, gfn)
        if block != state[LAST_BLOCK]:
            n_bytes += 1 + block_id_bytes[block]
            state[LAST_BLOCK] = block
        if is_zero:
            state[T_NS] += costs.zero_page_ns
            state[ZERO_PAGES] += 1
        else:
            state[T_NS] += costs.page_ns + (costs.first_copy_ns if copied[gfn] == NEVER_COPIED else 0)
            state[NORMAL_PAGES] += 1
        copied[gfn] = version[gfn]
        count_bytes(state, limits, n_bytes, 0 if is_zero else 1)
        write_to_link(state, costs, n_bytes)
        waited = limits.bounded_wait and state[ITERATION_PAGES] % 64 == 0
        state[ITERATION_PAGES] += 1
        done += 1
        if waited and (state[T_NS] - limits.iteration_start_ns) // 1_000_000 > MAX_WAIT_MS:
            return MAX_WAIT
