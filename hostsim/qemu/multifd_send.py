"""Sending pages through channels: the migration thread queues pages, and hands a full packet to a free channel.

The loop stops before it would take the first page, and before a channel would read the pages of the first packet, at or
after the horizon; a wait for a channel or for a sync may end behind the horizon. So where the loop is cut changes nothing.

# Model limit: a channel reads the pages of a packet in the instant in which the thread hands the packet over: waking the
# thread of the channel takes no time. A page that the host took out since it was queued is not read back.

QEMU 7.2 and 10.x, migration/ram.c::ram_save_iterate, ::find_dirty_block, ::ram_save_multifd_page; migration/multifd.c
::multifd_send; migration/multifd-nocomp.c::multifd_queue_page, ::multifd_ram_flush_and_sync; migration/multifd-zero-page.c.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.core.constants import PAGE_BYTES, ZERO_PAGE_BYTES
from hostsim.core.memory import NEVER_COPIED, Versions
from hostsim.core.rng import NEVER
from hostsim.guest.armed import Armed
from hostsim.guest.touch import TouchTable
from hostsim.kvm.loops.layout import AWAY
from hostsim.qemu import channels
from hostsim.qemu.channels import (
    BY_CHANNEL,
    BY_NONE,
    BY_THREAD,
    ENDING,
    HANDED_NOW,
    HANDING,
    IN_PAGE,
    PACKET_HEADER_BYTES,
    PACKETS,
    PAGES_A_PACKET,
    QUEUED,
    QUEUED_NOW,
    SYNCING,
    THREAD_NS,
    WAIT_NS,
    WAKE_PS,
    ChannelCosts,
    Net,
)
from hostsim.qemu.send import (
    BATCH,
    CLEAR,
    CURSOR,
    DIRTY_PAGES,
    HORIZON,
    ITERATION_PAGES,
    LAST_BLOCK,
    LOGGED,
    MAX_WAIT,
    MAX_WAIT_MS,
    NO_BIT,
    NORMAL_PAGES,
    NOT_THERE,
    NOTHING_DIRTY,
    QUOTA,
    T_NS,
    UNSETTLED,
    USED_BYTES,
    ZERO_PAGES,
    SendLimits,
    block_of,
    held_back,
    is_zero,
    may_be_written,
    next_dirty,
    note,
)

OVER = 2
"""Of IN_PAGE: MAX_WAIT was over when the clock was asked."""
ZEROS_COMPRESSED_BYTES = 32
"""Compressed bytes of a page of zeros that no thread tests for zeros (assumed: some tens in zlib's and zstd's formats)."""


class Pages(NamedTuple):
    """Memory, its bitmap, and the guest that writes to it; all arrays as hostsim.qemu.send.send_pages has them."""

    bmap: NDArray[np.uint8]
    words: NDArray[np.int64]
    block_ends: NDArray[np.int64]
    block_id_bytes: NDArray[np.int64]
    zero: NDArray[np.uint8]
    version: Versions
    copied: Versions
    clear_marks: NDArray[np.uint8]
    backing: NDArray[np.uint8]
    table: TouchTable
    clocks: NDArray[np.int64]
    armed: Armed


class Logs(NamedTuple):
    """Records of a call.

    sends: int64[capacity, 3], gets (t_ns, gfn, zero page?) of each page that is sent; capacity may be 0.
    queued: int64[batch, 2], gets (gfn, zero page?) of each page that leaves the bitmap; or int64[0, 2].
    handed: int64[batch + PAGES_A_PACKET + 1, 3], gets (gfn, ``copied`` before, zero?) of each page that a channel reads; or
    int64[0, 3].
    replayed: pages of ``handed`` whose entry says whether they read as zero; SendLimits.replayed_pages is for ``queued``.
    """

    sends: NDArray[np.int64]
    queued: NDArray[np.int64]
    handed: NDArray[np.int64]
    replayed: int


@part
def _looks_inside(costs: ChannelCosts) -> bool:
    """Whether a channel's work depends on which pages are zero: it tests them, or compresses them untested."""
    return bool(costs.zero_pages_by == BY_CHANNEL or (costs.zero_pages_by == BY_NONE and costs.compress_ps > 0))


@part
def _is_settled(state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, net: Net, pages: Pages) -> bool:
    """Whether the guest has advanced far enough to say which pages of the packet are zero."""
    if not _looks_inside(costs) or state[T_NS] <= limits.settled_ns:
        return True
    for i in range(net.state[HANDING]):
        if pages.zero[net.queue[i]] == 1 and may_be_written(pages.table, net.queue[i]):
            return False
    return True


@part
def _hand_over(
    state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, net: Net, pages: Pages, logs: Logs
) -> int:
    """Hand the packet at the front of the queue to a channel once one is free; HORIZON or UNSETTLED: not yet.

    T_NS is NEVER if a connection breaks before.
    """
    free_ns = channels.first_free_ns(net, costs.path, state[T_NS])
    if free_ns == NEVER:
        state[T_NS] = NEVER
        return HORIZON
    net.state[WAIT_NS] += free_ns - state[T_NS]
    state[T_NS] = free_ns
    if free_ns >= limits.horizon_ns:
        return HORIZON
    if not _is_settled(state, limits, costs, net, pages):
        return UNSETTLED
    channels.poll(state, costs, net, free_ns)  # packets that channels finished during the wait count before this one
    read = _read_pages(state, limits, costs, net, pages, logs)
    n_pages, n_zero, new_pages, page_bytes = net.state[HANDING], read[0], read[1], read[2]
    n_normal = 0 if costs.zero_pages_by == BY_CHANNEL else n_zero
    found = n_zero - n_normal
    state[ZERO_PAGES] += found
    state[NORMAL_PAGES] += n_pages - found
    prepare_ps = found * costs.test_ps + (n_pages - found) * costs.compress_ps + page_bytes * costs.compress_byte_ps
    copy_ps = costs.page_ps * page_bytes // PAGE_BYTES
    net.state[channels.CHANNEL_NS] += (prepare_ps + copy_ps) // 1000
    net.state[PACKETS] += 1
    net.state[channels.SENT_PAGE_BYTES] += page_bytes
    _give_packet(
        state, costs, net, n_pages, page_bytes + PACKET_HEADER_BYTES, prepare_ps, copy_ps + new_pages * costs.first_copy_ps
    )
    return QUOTA


@part
def _read_pages(
    state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, net: Net, pages: Pages, logs: Logs
) -> tuple[int, int, int]:
    """Let a channel read the packet at the front of the queue, whose copies are from now on the newest.

    Returns the pages that read as zeros, the other pages that the destination never held, the bytes of all on the wire.
    """
    t_ns, at, n_zero, new_pages, n_bytes = state[T_NS], net.state[HANDED_NOW], 0, 0, 0
    looks, finds = _looks_inside(costs), costs.zero_pages_by == BY_CHANNEL
    is_kept, is_uniform = len(logs.handed) > 0, len(net.payload) == 0
    for i in range(net.state[HANDING]):
        gfn = net.queue[i]
        reads_zero = False
        if at < logs.replayed:
            reads_zero = logs.handed[at, 2] == 1
        elif looks and pages.zero[gfn] == 1:
            reads_zero = is_zero(limits, pages.zero, pages.table, pages.clocks, pages.armed, gfn, t_ns)
        if is_kept:
            logs.handed[at, 0], logs.handed[at, 1], logs.handed[at, 2] = gfn, pages.copied[gfn], int(reads_zero)
        if state[LOGGED] < len(logs.sends):
            note(state, logs.sends, t_ns, gfn, reads_zero and finds)
        at += 1
        if not (reads_zero and finds):
            new_pages += pages.copied[gfn] == NEVER_COPIED
        if reads_zero:
            n_zero += 1
            n_bytes += 0 if finds else ZEROS_COMPRESSED_BYTES
        else:
            n_bytes += costs.page_bytes if is_uniform else int(net.payload[gfn])
        pages.copied[gfn] = pages.version[gfn]
    net.state[HANDED_NOW] = at
    return n_zero, new_pages, n_bytes


@part
def _give_packet(
    state: NDArray[np.int64], costs: ChannelCosts, net: Net, n_pages: int, n_bytes: int, prepare_ps: int, copy_ps: int
) -> None:
    """Give the packet of ``n_pages`` at the front of the queue to a channel; the page behind it moves to the front."""
    j = channels.next_channel(net)
    channels.give(state, costs, net, j, n_bytes, prepare_ps, copy_ps)
    if not costs.counts_when_sent:  # 7.2 counts here, uncompressed (multifd_send_pages), not once the channel has written
        net.channels[j, channels.COUNTED_BYTES] = 0
        counted = PACKET_HEADER_BYTES + n_pages * PAGE_BYTES
        state[USED_BYTES] += counted
        net.state[channels.MULTIFD_BYTES] += counted
    for i in range(n_pages, net.state[QUEUED]):
        net.queue[i - n_pages] = net.queue[i]
    net.state[QUEUED] -= n_pages
    net.state[HANDING] = 0


@part
def _send_zero_page(
    state: NDArray[np.int64], costs: ChannelCosts, net: Net, pages: Pages, logs: Logs, gfn: int
) -> None:
    """Send a zero page that the migration thread found on the main channel (save_zero_page)."""
    n_bytes, block = ZERO_PAGE_BYTES, state[LAST_BLOCK]
    if block < 0 or gfn >= pages.block_ends[block] or (block > 0 and gfn < pages.block_ends[block - 1]):
        block = block_of(pages.block_ends, gfn)
        n_bytes += 1 + pages.block_id_bytes[block]
        state[LAST_BLOCK] = block
    if state[LOGGED] < len(logs.sends):
        note(state, logs.sends, state[T_NS], gfn, True)
    state[T_NS] += costs.zero_page_ns
    net.state[THREAD_NS] += costs.zero_page_ns
    state[ZERO_PAGES] += 1
    if len(logs.queued) > 0:
        at = net.state[HANDED_NOW]
        logs.handed[at, 0], logs.handed[at, 1], logs.handed[at, 2] = gfn, pages.copied[gfn], 1
        net.state[HANDED_NOW] = at + 1
    pages.copied[gfn] = pages.version[gfn]
    channels.put_main(state, costs, net, n_bytes)


@part
def _queue_page(state: NDArray[np.int64], costs: ChannelCosts, net: Net, pages: Pages, gfn: int) -> None:
    """Queue ``gfn``, and hand over the pages before it that make a packet (multifd_queue_page).

    A packet has pages of one RAMBlock. 7.2 hands over a packet with its last page, 10.x with the page that finds it full.
    """
    n_pages = net.state[QUEUED]
    is_other = n_pages > 0 and block_of(pages.block_ends, net.queue[n_pages - 1]) != block_of(pages.block_ends, gfn)
    state[T_NS] += costs.queue_page_ns
    net.state[THREAD_NS] += costs.queue_page_ns
    net.queue[n_pages] = gfn
    net.state[QUEUED] = n_pages + 1
    if is_other or n_pages == PAGES_A_PACKET:
        net.state[HANDING] = n_pages
    elif n_pages + 1 == PAGES_A_PACKET and costs.sync_each_section:
        net.state[HANDING] = n_pages + 1


@part
def _take_page(
    state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, net: Net, pages: Pages, logs: Logs, gfn: int
) -> None:
    """Take ``gfn`` out of the bitmap; the migration thread sends a zero page by itself, and queues any other page."""
    pages.bmap[gfn] = 0
    state[DIRTY_PAGES] -= 1
    state[CURSOR] = gfn + 1
    done, reads_zero = net.state[QUEUED_NOW], False
    if costs.zero_pages_by == BY_THREAD:
        is_known = done < limits.replayed_pages
        reads_zero = logs.queued[done, 1] == 1 if is_known else is_zero(
            limits, pages.zero, pages.table, pages.clocks, pages.armed, gfn, state[T_NS]
        )
    if len(logs.queued) > 0:
        logs.queued[done, 0], logs.queued[done, 1] = gfn, int(reads_zero)
    net.state[QUEUED_NOW] = done + 1
    net.state[IN_PAGE] = 1
    if reads_zero:
        _send_zero_page(state, costs, net, pages, logs, gfn)
    else:
        _queue_page(state, costs, net, pages, gfn)


@part
def _fill_packet(
    state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, net: Net, pages: Pages, logs: Logs
) -> None:
    """Queue pages as ``_take_page`` does, while nothing but queueing happens: the packet has room, and no limit is near.

    This loop is an abbreviation of the one in ``send_packets``, which goes on where this one stops.
    """
    if net.state[QUEUED] == 0:
        return
    t, cursor, n_pages, done = state[T_NS], state[CURSOR], net.state[QUEUED], net.state[QUEUED_NOW]
    began, iteration = done, state[ITERATION_PAGES]
    block = block_of(pages.block_ends, net.queue[n_pages - 1])
    end_gfn, last = pages.block_ends[block], PAGES_A_PACKET - costs.sync_each_section
    most = min(last - n_pages, limits.batch_pages - done, state[DIRTY_PAGES])
    until_ns = limits.horizon_ns
    # A packet that a channel finishes may use up the quota: stop there, and let ``_stop_reason`` count it.
    if limits.rate_limit_bytes > 0 and costs.counts_when_sent:
        until_ns = min(until_ns, net.state[WAKE_PS] // 1000)
    is_kept, finds = len(logs.queued) > 0, costs.zero_pages_by == BY_THREAD
    while done - began < most and t < until_ns and cursor < end_gfn:
        gfn = next_dirty(pages.bmap, pages.words, cursor)
        if gfn < cursor or gfn >= end_gfn or (finds and pages.zero[gfn] == 1):  # a packet has pages of one RAMBlock
            break
        if pages.clear_marks[gfn >> limits.chunk_shift] == 1 or (len(pages.backing) > 0 and pages.backing[gfn] >= AWAY):
            break
        asks_time = limits.bounded_wait and iteration % 64 == 0
        if asks_time and (t + costs.queue_page_ns - limits.iteration_start_ns) // 1_000_000 > MAX_WAIT_MS:
            break
        pages.bmap[gfn] = 0
        cursor = gfn + 1
        if is_kept:
            logs.queued[done, 0], logs.queued[done, 1] = gfn, 0
        net.queue[n_pages] = gfn
        n_pages, done, iteration = n_pages + 1, done + 1, iteration + 1
        t += costs.queue_page_ns
    net.state[THREAD_NS] += t - state[T_NS]
    state[T_NS], state[CURSOR], state[ITERATION_PAGES] = t, cursor, iteration
    state[DIRTY_PAGES] -= done - began
    net.state[QUEUED], net.state[QUEUED_NOW] = n_pages, done


@part
def _kept_back(state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, pages: Pages, gfn: int) -> int:
    """The reason that keeps the migration thread from taking ``gfn`` now; QUOTA: none."""
    if costs.zero_pages_by == BY_THREAD:
        return held_back(limits, pages.clear_marks, pages.zero, pages.backing, pages.table, gfn, state[T_NS])
    if pages.clear_marks[gfn >> limits.chunk_shift] == 1:
        return CLEAR
    if len(pages.backing) > 0 and pages.backing[gfn] >= AWAY:
        return NOT_THERE
    return QUOTA


@part
def _end_page(state: NDArray[np.int64], limits: SendLimits, net: Net) -> None:
    """Note whether MAX_WAIT is over, once a page is queued; the clock is asked at every 64th page."""
    if net.state[IN_PAGE] == 1:
        asks_time = limits.bounded_wait and state[ITERATION_PAGES] % 64 == 0
        is_over = asks_time and (state[T_NS] - limits.iteration_start_ns) // 1_000_000 > MAX_WAIT_MS
        net.state[IN_PAGE] = OVER if is_over else 0
        state[ITERATION_PAGES] += 1


@part
def _begin_sync(net: Net, ending: int) -> None:
    """Hand over the queue, then sync; ``ending``: reason + 1 of a call that ends with the sync, 0: the scan goes on."""
    net.state[SYNCING], net.state[ENDING] = 1, ending
    net.state[HANDING] = net.state[QUEUED]


@part
def _stop_reason(state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, net: Net) -> int:
    """The reason for which no further page is taken now; -1: none. Packets that channels have written by now count.

    Host events come first: they read the counters.
    """
    if state[T_NS] >= limits.horizon_ns:
        return HORIZON
    if net.state[IN_PAGE] == OVER:
        net.state[IN_PAGE] = 0
        return MAX_WAIT
    if limits.rate_limit_bytes > 0 and costs.counts_when_sent and state[T_NS] * 1000 >= net.state[WAKE_PS]:
        channels.poll(state, costs, net, state[T_NS])
    if limits.rate_limit_bytes > 0 and state[USED_BYTES] > limits.rate_limit_bytes:
        return QUOTA
    if state[DIRTY_PAGES] == 0:
        return NOTHING_DIRTY
    return BATCH if net.state[QUEUED_NOW] == limits.batch_pages else -1


@jit
def send_packets(
    state: NDArray[np.int64], limits: SendLimits, costs: ChannelCosts, net: Net, pages: Pages, logs: Logs
) -> int:
    """Queue dirty pages in cyclic order, hand packets to channels, until a limit; return the reason (QUOTA ... NOT_THERE).

    state: int64[N_STATE] of hostsim.qemu.send, in place.
    net, pages, logs: in place.
    """
    net.state[QUEUED_NOW] = net.state[HANDED_NOW] = 0
    while True:
        if net.state[HANDING] > 0:
            reason = _hand_over(state, limits, costs, net, pages, logs)
            if reason != QUOTA:
                return reason
        _end_page(state, limits, net)
        if net.state[SYNCING] == 1:
            net.state[SYNCING] = 0
            channels.sync_channels(state, costs, net)
            channels.announce_sync(state, costs, net)
            if net.state[ENDING] > 0:
                return int(net.state[ENDING]) - 1
            state[CURSOR] = 0  # find_dirty_block: the scan begins again at the first RAMBlock
        reason = _stop_reason(state, limits, costs, net)
        if reason in (HORIZON, BATCH):
            return reason
        if reason >= 0:
            if not costs.sync_each_section and reason != NOTHING_DIRTY:
                return reason
            _begin_sync(net, reason + 1)
            continue
        taken = net.state[QUEUED_NOW]
        _fill_packet(state, limits, costs, net, pages, logs)
        if net.state[QUEUED_NOW] > taken:
            continue
        gfn = next_dirty(pages.bmap, pages.words, state[CURSOR])
        if gfn < 0:
            return NO_BIT
        # Since 8.1 channels sync where a scan of all RAM is complete, so that a page is not overtaken by its newer copy.
        if not costs.sync_each_section and (state[CURSOR] >= len(pages.bmap) or gfn < state[CURSOR]):
            _begin_sync(net, 0)
            continue
        state[CURSOR] = gfn
        reason = _kept_back(state, limits, costs, pages, gfn)
        if reason != QUOTA:
            return reason
        _take_page(state, limits, costs, net, pages, logs, gfn)
