"""Sending pages: the inner loop of ram_save_iterate and ram_save_complete, page by page in simulated time.

The loop stops before the first page whose copy would begin at or after the horizon (the next host event), so where it
is cut changes nothing. QEMU 7.2 and 10.x, migration/ram.c::ram_save_iterate, ::ram_find_and_save_block,
::save_zero_page, ::save_normal_page; migration/qemu-file.c::qemu_put_buffer_async, ::add_buf_to_iovec.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.bits import bit_length
from hostsim.compiled.jit import inlined, jit, part
from hostsim.core.constants import PAGE_WIRE_BYTES, ZERO_PAGE_BYTES
from hostsim.core.memory import NEVER_COPIED, Versions
from hostsim.core.rng import NEVER
from hostsim.guest.armed import Armed
from hostsim.guest.touch import FIRST_GFN, IS_WRITE, N_PAGES, TouchTable
from hostsim.kvm.loops.layout import AWAY
from hostsim.qemu import tcp, tcp_row
from hostsim.qemu.harvest import is_written
from hostsim.qemu.quick_write import NOT_FULL, leaves_at_once, write_to_full
from hostsim.qemu.tcp_row import NO_LATENCY, PS_PER_S, Path

QUOTA, NOTHING_DIRTY, MAX_WAIT, HORIZON, BATCH, NO_BIT, CLEAR, UNSETTLED, NOT_THERE = range(9)
"""Reasons for which the loop returns.

NO_BIT: pages are counted as dirty and none is marked; the caller raises InvariantError.
CLEAR: the log of the next page's chunk has to be cleared first.
UNSETTLED: the guest has not advanced to the time of the next page, so whether the page is zero is unknown.
NOT_THERE: the host has to fetch the next page.
"""

(T_NS, CURSOR, DIRTY_PAGES, LAST_BLOCK, USED_BYTES, BUFFERED_BYTES, BUFFERED_PAGES, SENT_BYTES, NORMAL_PAGES, ZERO_PAGES,
 ITERATION_PAGES, LOGGED, LINK_FREE_PS) = range(13)  # fmt: skip
STREAM = LINK_FREE_PS
"""From here on the state is the row of the stream's connection (hostsim.qemu.tcp_row), which begins with LINK_FREE_PS."""
N_STATE = STREAM + tcp_row.N_ROW

IO_BUFFER_BYTES = 32768
"""qemu-file.c IO_BUF_SIZE."""
MAX_WAIT_MS = 50
"""ram.c MAX_WAIT."""


class SendLimits(NamedTuple):
    """Bounds of one call; times in ns, sizes in bytes, 0: no limit.

    flush_pages: normal pages that the stream gathers before they count as sent; 1: each page counts as it is queued.
    chunk_shift: one entry of ``clear_marks`` covers 2^chunk_shift pages.
    settled_ns: ``zero`` holds up to this time for pages that exiting vCPUs write; NEVER: pending touches decide at any time.
    replayed_pages: the call takes from the journal whether each of its first ``replayed_pages`` pages is zero.
    """

    rate_limit_bytes: int
    flush_pages: int
    iteration_start_ns: int
    bounded_wait: bool
    horizon_ns: int
    batch_pages: int
    chunk_shift: int
    settled_ns: int
    replayed_pages: int = 0


class SendCosts(NamedTuple):
    """Host and link constants, see the host sheets.

    path: of the connection, used where the link has latency.
    wake_ps: time [ps] that a full socket buffer drains before its writer, which waits, goes on; used without latency.
    """

    page_ns: int
    first_copy_ns: int
    zero_page_ns: int
    link_bytes_per_s: int
    socket_buffer_ps: int
    path: Path = NO_LATENCY
    wake_ps: int = 0


@jit
def next_dirty(bmap: NDArray[np.uint8], words: NDArray[np.int64], cursor: int) -> int:
    """First set page from ``cursor`` on, cyclically, or -1.

    words: int64[n_words], view of bmap, eight pages a word, its padding 0.
    A step a word: a branch a page would be foreseen wrongly at every other page of a bitmap with gaps.
    """
    gfn = cursor if cursor < len(bmap) else 0
    first = gfn >> 3
    rest = words[first] >> (8 * (gfn & 7))
    if rest != 0:
        return int(gfn + _first_set(rest))
    for at in range(first + 1, len(words)):
        if words[at] != 0:
            return int(8 * at + _first_set(words[at]))
    for at in range(first + 1):
        if words[at] != 0:
            return int(8 * at + _first_set(words[at]))
    return -1


@inlined
def _first_set(word: int) -> int:
    """Number of the first set page of a word of eight, not 0."""
    return int(bit_length(word & -word) >> 3)


@part
def block_of(block_ends: NDArray[np.int64], gfn: int) -> int:
    """Number of the RAMBlock of ``gfn``; ``block_ends``: as in ``send_pages``."""
    block = 0
    while gfn >= block_ends[block]:
        block += 1
    return block


@part
def link_free_after(free_ps: int, t_ns: int, link_bytes_per_s: int, n_bytes: int) -> int:
    """Time [ps] at which the link has taken ``n_bytes`` written at ``t_ns``, given when it was free before."""
    return max(free_ps, t_ns * 1000) + n_bytes * PS_PER_S // link_bytes_per_s


@jit
def written_at(free_ps: int, t_ns: int, socket_buffer_ps: int) -> int:
    """Time [ns] at which a write() at ``t_ns`` returns: when all but a full socket buffer has left.

    free_ps: when the link has sent all bytes [ps].
    socket_buffer_ps: time the link takes for a full socket buffer [ps].
    """
    wait_ps = free_ps - socket_buffer_ps - t_ns * 1000
    return t_ns - (-wait_ps // 1000) if wait_ps > 0 else t_ns


@jit
def goes_on_at(free_ps: int, t_ns: int, socket_buffer_ps: int, wake_ps: int) -> int:
    """Time [ns] at which the writer goes on: at once, or when its full buffer has drained by ``wake_ps``.

    free_ps: time at which the link has sent all queued bytes.
    socket_buffer_ps: time in which the link sends a full buffer.
    wake_ps: the part of it that leaves before the kernel wakes the writer (af_unix.c::unix_writable: three quarters).
    """
    done_ns = written_at(free_ps, t_ns, socket_buffer_ps)
    return written_at(free_ps, t_ns, socket_buffer_ps - wake_ps) if done_ns > t_ns else done_ns


@jit
def write_to_link(state: NDArray[np.int64], costs: SendCosts, n_bytes: int) -> None:
    """Queue ``n_bytes`` on the socket at T_NS of ``state``; T_NS moves to the time when the socket buffer has taken them.

    state: int64[N_STATE], in place. costs: path of the stream, bandwidth, socket buffer.
    """
    if costs.path.rtt_ps > 0:
        state[T_NS] = tcp.write(state[STREAM:], costs.path, state[T_NS], n_bytes)
        return
    if costs.link_bytes_per_s == 0:
        return
    state[LINK_FREE_PS] = link_free_after(state[LINK_FREE_PS], state[T_NS], costs.link_bytes_per_s, n_bytes)
    state[T_NS] = goes_on_at(state[LINK_FREE_PS], state[T_NS], costs.socket_buffer_ps, costs.wake_ps)


@inlined
def write_page(
    state: NDArray[np.int64], costs: SendCosts, free_ps: int, t_ns: int, n_bytes: int, page_ps: int
) -> tuple[int, int]:
    """(time at which the link has sent the page [ps], time at which write() returns [ns]).

    free_ps: time at which the link has sent all bytes before it.
    t_ns: time of the write.
    n_bytes: page and header.
    page_ps: the link's time for a normal page.
    """
    if costs.path.rtt_ps > 0:
        row, done_ns = state[STREAM:], t_ns
        if not leaves_at_once(row, costs.path, t_ns, n_bytes):
            done_ns = write_to_full(row, costs.path, t_ns) if n_bytes == tcp_row.PIECE_BYTES else NOT_FULL
            if done_ns == NOT_FULL:
                done_ns = tcp.write(row, costs.path, t_ns, n_bytes)
        return state[LINK_FREE_PS], done_ns
    if costs.link_bytes_per_s == 0:
        return free_ps, t_ns
    if n_bytes == PAGE_WIRE_BYTES:
        free_ps = max(free_ps, t_ns * 1000) + page_ps
    else:
        free_ps = link_free_after(free_ps, t_ns, costs.link_bytes_per_s, n_bytes)
    return free_ps, goes_on_at(free_ps, t_ns, costs.socket_buffer_ps, costs.wake_ps)


def flush(state: NDArray[np.int64]) -> None:
    """Count the gathered bytes against the rate limit (qemu_fflush). In place."""
    state[USED_BYTES] += state[BUFFERED_BYTES]
    state[BUFFERED_BYTES] = 0
    state[BUFFERED_PAGES] = 0


@part
def may_be_written(table: TouchTable, gfn: int) -> bool:
    """Whether a touch class writes to ``gfn``."""
    for c in range(len(table.ints)):
        page = gfn - table.ints[c, FIRST_GFN]
        if table.ints[c, IS_WRITE] == 1 and 0 <= page < table.ints[c, N_PAGES]:
            return True
    return False


@part
def held_back(
    limits: SendLimits,
    clear_marks: NDArray[np.uint8],
    zero: NDArray[np.uint8],
    backing: NDArray[np.uint8],
    table: TouchTable,
    gfn: int,
    t_ns: int,
) -> int:
    """The reason that holds ``gfn`` back at ``t_ns``, which may be ahead of the guest; QUOTA (0): the page can be sent.

    limits, clear_marks, zero, backing, table: as in ``send_pages``; read only.
    """
    if clear_marks[gfn >> limits.chunk_shift] == 1:
        return CLEAR
    if len(backing) > 0 and backing[gfn] >= AWAY:
        return NOT_THERE
    if t_ns <= limits.settled_ns or zero[gfn] == 0 or not may_be_written(table, gfn):
        return QUOTA
    return UNSETTLED


@jit
def is_zero(
    limits: SendLimits,
    zero: NDArray[np.uint8],
    table: TouchTable,
    clocks: NDArray[np.int64],
    armed: Armed,
    gfn: int,
    t_ns: int,
) -> bool:
    """Whether ``gfn`` reads as zeros at ``t_ns``, writes that wait to be harvested included.

    limits, zero, table, clocks, armed: as in ``send_pages``; ``armed`` changes where paced classes are settled.
    """
    if zero[gfn] == 0:
        return False
    return limits.settled_ns != NEVER or not is_written(table, clocks, armed, gfn, t_ns)


@jit
def note(state: NDArray[np.int64], log: NDArray[np.int64], t_ns: int, gfn: int, reads_zero: bool) -> None:
    """Append the send of ``gfn`` at ``t_ns`` to ``log``, as in ``send_pages``; ``reads_zero``: as a zero page.

    state: int64[N_STATE], in place.
    """
    at = state[LOGGED]
    log[at, 0], log[at, 1], log[at, 2] = t_ns, gfn, int(reads_zero)
    state[LOGGED] = at + 1


@jit
def send_pages(
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
) -> int:
    """Send dirty pages in cyclic order until a limit; return the reason (QUOTA ... NOT_THERE).

    state: int64[N_STATE], in place.
    bmap: uint8[n_pages], in place: 1: to be sent; words: its int64 view.
    block_ends, block_id_bytes: int64[n_blocks], end gfn and length of the name of each RAMBlock.
    zero: uint8[n_pages], version: uint16[n_pages], of the source.
    copied: uint16[n_pages], in place: the version that the destination has.
    clear_marks: uint8[n_chunks], 1: the log of the chunk has to be cleared first.
    log: int64[capacity, 3], gets (t_ns, gfn, zero page?); capacity may be 0.
    journal: int64[batch, 3], gets (gfn, ``copied`` before the send, zero page?), or int64[0, 3].
    backing: uint8[n_pages], the place of each page at the host, or uint8[0].
    """
    t, cursor, dirty, block = state[T_NS], state[CURSOR], state[DIRTY_PAGES], state[LAST_BLOCK]
    used, buffered, gathered, free_ps = state[USED_BYTES], state[BUFFERED_BYTES], state[BUFFERED_PAGES], state[LINK_FREE_PS]
    sent_bytes, iteration, done, zeros = 0, state[ITERATION_PAGES], 0, 0
    page_ps = link_free_after(0, 0, max(costs.link_bytes_per_s, 1), PAGE_WIRE_BYTES)
    while True:
        if limits.rate_limit_bytes > 0 and used > limits.rate_limit_bytes:
            reason = QUOTA
            break
        if dirty == 0:
            reason = NOTHING_DIRTY
            break
        if t >= limits.horizon_ns:
            reason = HORIZON
            break
        if done == limits.batch_pages:
            reason = BATCH
            break
        gfn = next_dirty(bmap, words, cursor)
        if gfn < 0:
            reason = NO_BIT
            break
        cursor, reason = gfn, held_back(limits, clear_marks, zero, backing, table, gfn, t)
        if reason != QUOTA:
            break
        bmap[gfn] = 0
        dirty -= 1
        cursor = gfn + 1
        is_known = done < limits.replayed_pages
        reads_zero = journal[done, 2] == 1 if is_known else is_zero(limits, zero, table, clocks, armed, gfn, t)
        if state[LOGGED] < len(log):
            note(state, log, t, gfn, reads_zero)
        # A page of another RAMBlock than the last one carries the block's name; others have RAM_SAVE_FLAG_CONTINUE.
        n_bytes = ZERO_PAGE_BYTES if reads_zero else PAGE_WIRE_BYTES
        if block < 0 or gfn >= block_ends[block] or (block > 0 and gfn < block_ends[block - 1]):
            block = block_of(block_ends, gfn)
            n_bytes += 1 + block_id_bytes[block]
        if reads_zero:
            t += costs.zero_page_ns
            zeros += 1
        else:
            t += costs.page_ns + (costs.first_copy_ns if copied[gfn] == NEVER_COPIED else 0)
            gathered += 1
        # A guest event during this batch takes the batch back: it is repeated up to the event, from the journal.
        if len(journal) > 0:
            journal[done, 0], journal[done, 1], journal[done, 2] = gfn, copied[gfn], int(reads_zero)
        copied[gfn] = version[gfn]
        sent_bytes += n_bytes
        buffered += n_bytes
        # Contents of normal pages are entries of the iovec; its buffer holds headers and zero pages alone. The stream is
        # written, and counts against the rate limit, when either is full.
        if gathered >= limits.flush_pages or buffered - 4096 * gathered >= IO_BUFFER_BYTES or limits.flush_pages <= 1:
            used, buffered, gathered = used + buffered, 0, 0
        free_ps, t = write_page(state, costs, free_ps, t, n_bytes, page_ps)
        # ram_save_iterate reads the clock at every 64th page: qemu_clock_get_ns for each page would be expensive.
        asks_time = limits.bounded_wait and iteration % 64 == 0
        iteration, done = iteration + 1, done + 1
        if asks_time and (t - limits.iteration_start_ns) // 1_000_000 > MAX_WAIT_MS:
            reason = MAX_WAIT
            break
    state[T_NS], state[CURSOR], state[DIRTY_PAGES], state[LAST_BLOCK] = t, cursor, dirty, block
    state[USED_BYTES], state[BUFFERED_BYTES], state[BUFFERED_PAGES], state[LINK_FREE_PS] = used, buffered, gathered, free_ps
    state[SENT_BYTES] += sent_bytes
    state[NORMAL_PAGES], state[ZERO_PAGES] = state[NORMAL_PAGES] + done - zeros, state[ZERO_PAGES] + zeros
    state[ITERATION_PAGES] = iteration
    return reason
