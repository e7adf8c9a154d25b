"""Channels of multifd: threads with a TCP connection each, which prepare and write packets side by side.

A packet takes its channel through two phases: the channel prepares it (tests pages for zeros, compresses), then copies its
bytes evenly into the socket, as the socket takes them. All connections, the main one too, share the link:

- Over a link with latency all connections advance together, tick by tick (hostsim.qemu.connections).
- Without latency the link takes whole packets in the order in which their channels begin to write. Fair sharing would end
  the last of several packets at the same moment, and the others later, by at most one packet of each other channel.

The loops share parameters. state: int64[send.N_STATE], the migration thread's; net: Net; both change in place.
costs: ChannelCosts, read only.

QEMU 7.2 and 10.x, migration/multifd.c::multifd_send_thread, ::multifd_send_sync_main, ::multifd_zero_copy_flush.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.core.constants import PAGE_BYTES
from hostsim.core.rng import NEVER
from hostsim.qemu import connections, tcp_row
from hostsim.qemu.connections import BROKEN_PS, FREE_PS, TICK
from hostsim.qemu.send import IO_BUFFER_BYTES, SENT_BYTES, T_NS, USED_BYTES, written_at
from hostsim.qemu.tcp_row import PS_PER_S, Path

(QUEUED, HANDING, IN_PAGE, SYNCING, ENDING, NEXT_CHANNEL, QUEUED_NOW, HANDED_NOW, WAKE_PS, MAIN_BUFFERED, MULTIFD_BYTES,
 OTHER_BYTES, PACKETS, SYNCS, THREAD_NS, WAIT_NS, CHANNEL_NS, BUSY_NS, SENT_PAGE_BYTES) = range(19)  # fmt: skip
"""Columns of ``Net.state``: pages in the queue; pages at its front that wait for a channel (multifd_send), 0: none; 1 after
a page until its clock was asked; 1 while a sync is due; reason + 1 with which the call ends after that sync; channel at
which the search for a free one begins; pages that this call has taken, and read; earliest moment at which a channel may be
done [ps]; bytes in the main channel's buffer; bytes of all channels;
bytes of the main channel that are no RAM; packets with pages; syncs; CPU time of the migration thread; its waits for
channels; CPU time of all channels; time in which channels had a packet; bytes of pages on the wire, headers left out.
"""
N_STATE = 19
(BUSY, DONE_PS, COUNTED_BYTES, LEFT_BYTES, PACKET_BYTES, COPY_PS, AT_PS, SINCE_PS) = range(8)
"""Columns of ``Net.channels``: 1: the channel has a packet; when the packet is written, NEVER: not known yet; bytes that
count then; bytes to copy; bytes of the packet, and time to copy them; when the channel copies on; when it got the packet.
"""
N_CHANNEL = 8
PAGES_A_PACKET = 128
"""multifd.h MULTIFD_PACKET_SIZE, 512 KiB."""
PACKET_HEADER_BYTES = 320 + 8 * PAGES_A_PACKET
"""multifd.h MultiFDPacket_t and an offset for each page; a packet that carries no pages, for a sync, is as long."""
FLUSH_BYTES = 8
"""ram.h RAM_SAVE_FLAG_MULTIFD_FLUSH on the main channel, after each sync but the legacy ones."""
INIT_BYTES = 64
"""multifd.c MultiFDInit_t, the first bytes on each channel."""
BY_NONE, BY_THREAD, BY_CHANNEL = range(3)
"""zero-page-detection none, legacy, multifd: the thread that looks for pages of zeros."""


class ChannelCosts(NamedTuple):
    """Constants of a migration with channels.

    queue_page_ns, zero_page_ns: CPU time of the migration thread for a page that it queues, for a zero page that it finds.
    page_ps: time of a channel to copy a page into its socket; first_copy_ps: more for a page the destination never held.
    test_ps: CPU time of a channel that finds a zero page.
    compress_ps: CPU time to compress a page; 0: pages are not compressed. compress_byte_ps: more for each compressed byte.
    page_bytes: bytes of a page on the wire, where ``Net.payload`` is empty.
    zero_pages_by: BY_NONE, BY_THREAD, BY_CHANNEL.
    counts_when_sent: a packet counts once its channel has written it (10.x), else when it is handed over, uncompressed
    (7.2).
    sync_each_section: channels are drained at the end of each ram_save_iterate (7.2), else once a scan of RAM.
    zero_copy: a sync waits until the destination has acknowledged all bytes.
    socket_buffer_ps: time in which the link takes a full socket buffer.
    """

    queue_page_ns: int
    zero_page_ns: int
    page_ps: int
    first_copy_ps: int
    test_ps: int
    compress_ps: int
    compress_byte_ps: int
    page_bytes: int
    zero_pages_by: int
    counts_when_sent: bool
    sync_each_section: bool
    zero_copy: bool
    link_bytes_per_s: int
    socket_buffer_ps: int
    path: Path


class Net(NamedTuple):
    """State of the channels, in place.

    state: int64[N_STATE].
    channels: int64[n, N_CHANNEL].
    rows: int64[n + 1, tcp_row.N_ROW], the connections; the last one is the main channel's.
    shared: int64[connections.N_SHARED], of all connections.
    queue: int64[PAGES_A_PACKET + 1], gfns that wait to be handed over, and the page that found the packet full.
    payload: uint16[n_pages], bytes of each page once compressed; or uint16[0].
    """

    state: NDArray[np.int64]
    channels: NDArray[np.int64]
    rows: NDArray[np.int64]
    shared: NDArray[np.int64]
    queue: NDArray[np.int64]
    payload: NDArray[np.uint16]


@part
def _copy(net: Net, path: Path, j: int) -> None:
    """Let channel ``j`` copy bytes into its send buffer until the tick ends, the buffer is full, or the packet is copied."""
    channel, row = net.channels[j], net.rows[j]
    start_ps = net.shared[TICK] * path.tick_ps
    end_ps, at_ps = start_ps + path.tick_ps, max(channel[AT_PS], start_ps)
    if channel[LEFT_BYTES] == 0 or at_ps >= end_ps:
        return
    room = path.send_buffer_bytes - connections.outstanding(row)
    if room <= 0:
        channel[AT_PS] = end_ps
        return
    n_bytes = min(channel[LEFT_BYTES], room)
    if channel[COPY_PS] > 0:  # at least one byte a tick: a slow copy would else stand still for ever
        n_bytes = min(n_bytes, max((end_ps - at_ps) * channel[PACKET_BYTES] // channel[COPY_PS], 1))
    channel[LEFT_BYTES] -= n_bytes
    channel[AT_PS] = at_ps + n_bytes * channel[COPY_PS] // channel[PACKET_BYTES]
    connections.enqueue(row, net.shared, path, at_ps, n_bytes)
    if channel[LEFT_BYTES] == 0:
        channel[DONE_PS] = channel[AT_PS]
    elif n_bytes == room:  # acknowledgements, which make room, come at the start of a tick
        channel[AT_PS] = max(channel[AT_PS], end_ps)


@part
def _copies(net: Net, path: Path) -> bool:
    """Whether a channel has bytes to copy, and room for them."""
    for j in range(len(net.channels)):
        if net.channels[j, LEFT_BYTES] > 0 and connections.outstanding(net.rows[j]) < path.send_buffer_bytes:
            return True
    return False


@part
def _step(net: Net, path: Path, last_tick: int) -> int:
    """Begin the next tick in which something may happen, ``last_tick`` at the latest, on all connections.

    Returns how many connections had bytes that were not acknowledged, or to copy.
    """
    tick = net.shared[TICK] + 1
    if path.faults.any == 1 and not _copies(net, path):
        tick = min(connections.upcoming_tick(net.rows, net.shared, path), last_tick)
    net.shared[TICK] = tick
    n_rows, n_active = len(net.rows), 0
    for k in range(n_rows):
        j = (tick + k) % n_rows
        n_active += connections.begin_tick(net.rows[j], net.shared, path)
        if j < n_rows - 1 and net.channels[j, LEFT_BYTES] > 0:
            _copy(net, path, j)
            n_active += 1
    return n_active


@part
def _advance(net: Net, path: Path, t_ps: int) -> None:
    """Begin all ticks up to the one of ``t_ps``; ticks in which nothing moves are passed over."""
    n_active, last_tick = 1, t_ps // path.tick_ps
    while net.shared[TICK] < last_tick:
        if n_active == 0:
            net.shared[TICK] = last_tick
            return
        n_active = _step(net, path, last_tick)


@jit
def poll(state: NDArray[np.int64], costs: ChannelCosts, net: Net, t_ns: int) -> None:
    """Bring the channels of ``net`` to ``t_ns``, and count in ``state`` the packets that they have written by then."""
    if costs.path.rtt_ps > 0 and net.shared[BROKEN_PS] == 0:
        _advance(net, costs.path, t_ns * 1000)
    wake_ps = NEVER
    for j in range(len(net.channels)):
        channel = net.channels[j]
        if channel[BUSY] == 1 and channel[DONE_PS] <= t_ns * 1000:
            channel[BUSY] = 0
            net.state[BUSY_NS] += (channel[DONE_PS] - channel[SINCE_PS]) // 1000
            _count(state, net, channel[COUNTED_BYTES])
        if channel[BUSY] == 1:
            wake_ps = min(wake_ps, channel[DONE_PS])
            # With latency DONE_PS is known once the last byte is in the socket; before, the next tick may bring it.
            if costs.path.rtt_ps > 0:
                wake_ps = min(wake_ps, (net.shared[TICK] + 1) * costs.path.tick_ps)
    net.state[WAKE_PS] = wake_ps


@part
def _count(state: NDArray[np.int64], net: Net, n_bytes: int) -> None:
    state[USED_BYTES] += n_bytes
    net.state[MULTIFD_BYTES] += n_bytes


@part
def first_free_ns(net: Net, path: Path, t_ns: int) -> int:
    """Moment [ns], not before ``t_ns``, at which a channel of ``net`` is free; the channels are advanced to that moment.

    path: constants of the connections.
    NEVER: a connection breaks before, and the migration thread gets the error (multifd_send_set_error).
    """
    while net.shared[BROKEN_PS] == 0:
        first_ps = NEVER
        for j in range(len(net.channels)):
            if net.channels[j, BUSY] == 0:
                return t_ns
            first_ps = min(first_ps, net.channels[j, DONE_PS])
        if first_ps < NEVER:
            return max(t_ns, -(-first_ps // 1000))
        _step(net, path, NEVER)
    return NEVER


@part
def next_channel(net: Net) -> int:
    """The channel that gets the next packet: the first free one behind the last that got one (multifd_send)."""
    j: int = net.state[NEXT_CHANNEL]
    while net.channels[j, BUSY] == 1:
        j = (j + 1) % len(net.channels)
    net.state[NEXT_CHANNEL] = (j + 1) % len(net.channels)
    return j


@part
def give(
    state: NDArray[np.int64], costs: ChannelCosts, net: Net, j: int, n_bytes: int, prepare_ps: int, copy_ps: int
) -> None:
    """Give a packet of ``n_bytes`` to the free channel ``j`` at T_NS.

    prepare_ps: before the channel writes the first byte; copy_ps: to copy all bytes into the socket.
    """
    channel, start_ps = net.channels[j], state[T_NS] * 1000
    channel[BUSY], channel[SINCE_PS], channel[COUNTED_BYTES] = 1, start_ps, n_bytes
    channel[PACKET_BYTES], channel[COPY_PS], channel[AT_PS] = n_bytes, copy_ps, start_ps + prepare_ps
    net.state[WAKE_PS] = min(net.state[WAKE_PS], start_ps)
    _write(costs, net, j, n_bytes)


@part
def _write(costs: ChannelCosts, net: Net, j: int, n_bytes: int) -> None:
    """Let channel ``j`` write ``n_bytes`` of its packet from AT_PS on."""
    channel = net.channels[j]
    if costs.path.rtt_ps > 0:
        channel[LEFT_BYTES], channel[DONE_PS] = n_bytes, NEVER
        _copy(net, costs.path, j)
        return
    done_ps = channel[AT_PS] + n_bytes * channel[COPY_PS] // channel[PACKET_BYTES]
    if costs.link_bytes_per_s > 0:
        free_ps = max(net.shared[FREE_PS], channel[AT_PS]) + n_bytes * PS_PER_S // costs.link_bytes_per_s
        net.shared[FREE_PS] = free_ps
        # The backlog belongs to all channels alike, so it fills their buffers together.
        done_ps = max(done_ps, free_ps - costs.socket_buffer_ps * len(net.channels))
    channel[AT_PS] = channel[DONE_PS] = done_ps


@jit
def sync_channels(state: NDArray[np.int64], costs: ChannelCosts, net: Net) -> None:
    """Wait until each channel of ``net`` has written its packet and one of its own for the sync; T_NS of ``state`` moves.

    The wait may end behind the horizon, so the bytes count at a later ``poll``: a host event in between reads the counters.
    T_NS is NEVER from the break of a connection on.
    """
    if net.shared[BROKEN_PS] > 0:
        state[T_NS] = NEVER
        return
    poll(state, costs, net, state[T_NS])
    for j in range(len(net.channels)):
        channel = net.channels[j]
        if not costs.counts_when_sent:
            _count(state, net, PACKET_HEADER_BYTES)
        if channel[BUSY] == 0:
            give(state, costs, net, j, PACKET_HEADER_BYTES, 0, costs.page_ps * PACKET_HEADER_BYTES // PAGE_BYTES)
            channel[COUNTED_BYTES] = PACKET_HEADER_BYTES * costs.counts_when_sent
            continue
        channel[COUNTED_BYTES] += PACKET_HEADER_BYTES * costs.counts_when_sent
        net.state[WAKE_PS] = min(net.state[WAKE_PS], state[T_NS] * 1000)
        # The packet of the sync follows the one under way: in the same copy if that has not ended, else behind it.
        if channel[LEFT_BYTES] > 0:
            channel[LEFT_BYTES] += PACKET_HEADER_BYTES
        else:
            _write(costs, net, j, PACKET_HEADER_BYTES)
    started_ns = state[T_NS]
    for j in range(len(net.channels)):
        while net.channels[j, DONE_PS] == NEVER and net.shared[BROKEN_PS] == 0:
            _step(net, costs.path, NEVER)
        state[T_NS] = max(state[T_NS], -(-net.channels[j, DONE_PS] // 1000))
    if costs.zero_copy:
        _flush_zero_copy(state, costs, net)
    net.state[SYNCS] += 1
    if net.shared[BROKEN_PS] > 0:
        state[T_NS] = NEVER
        return
    net.state[WAIT_NS] += state[T_NS] - started_ns


@part
def _flush_zero_copy(state: NDArray[np.int64], costs: ChannelCosts, net: Net) -> None:
    """Wait until the network card has read all pages: until the bytes are acknowledged, or have left (qio_channel_flush)."""
    if costs.path.rtt_ps == 0:
        state[T_NS] = max(state[T_NS], -(-net.shared[FREE_PS] // 1000))
        return
    for j in range(len(net.channels)):
        while connections.outstanding(net.rows[j]) > 0 and net.shared[BROKEN_PS] == 0:
            _step(net, costs.path, NEVER)
            state[T_NS] = max(state[T_NS], -(-net.shared[TICK] * costs.path.tick_ps // 1000))


@jit
def write_main(state: NDArray[np.int64], costs: ChannelCosts, net: Net, n_bytes: int) -> None:
    """Write bytes to the main channel; T_NS moves to where its send buffer has taken them, NEVER: a connection breaks.

    state, net: in place.
    """
    path, t_ns = costs.path, state[T_NS]
    if net.shared[BROKEN_PS] > 0:
        state[T_NS] = NEVER
        return
    if path.rtt_ps == 0:
        if costs.link_bytes_per_s > 0:
            net.shared[FREE_PS] = max(net.shared[FREE_PS], t_ns * 1000) + n_bytes * PS_PER_S // costs.link_bytes_per_s
            state[T_NS] = written_at(net.shared[FREE_PS], t_ns, costs.socket_buffer_ps)
        return
    _advance(net, path, t_ns * 1000)  # t_ns may be ahead of the clock, so packets that are written by then do not count yet
    row = net.rows[len(net.channels)]
    connections.enqueue(row, net.shared, path, max(t_ns * 1000, net.shared[TICK] * path.tick_ps), n_bytes)
    while connections.outstanding(row) > path.send_buffer_bytes and net.shared[BROKEN_PS] == 0:
        _step(net, path, NEVER)
        state[T_NS] = max(state[T_NS], -(-net.shared[TICK] * path.tick_ps // 1000))
    if net.shared[BROKEN_PS] > 0:
        state[T_NS] = NEVER


@jit
def put_main(state: NDArray[np.int64], costs: ChannelCosts, net: Net, n_bytes: int) -> None:
    """Append ``n_bytes`` to the buffer of the main channel of ``net``; ``state`` counts them.

    The buffer is written when it is full (qemu-file.c, IO_BUF_SIZE).
    """
    state[SENT_BYTES] += n_bytes
    net.state[MAIN_BUFFERED] += n_bytes
    if not costs.counts_when_sent:
        state[USED_BYTES] += n_bytes
    if net.state[MAIN_BUFFERED] >= IO_BUFFER_BYTES:
        flush_main(state, costs, net)


@jit
def announce_sync(state: NDArray[np.int64], costs: ChannelCosts, net: Net) -> None:
    """Write to the main channel of ``net`` that the channels have synced (multifd_ram_flush_and_sync); ``state`` counts."""
    if costs.sync_each_section:
        return
    net.state[OTHER_BYTES] += FLUSH_BYTES
    net.state[MAIN_BUFFERED] += FLUSH_BYTES
    flush_main(state, costs, net)


@jit
def flush_main(state: NDArray[np.int64], costs: ChannelCosts, net: Net) -> None:
    """Write the buffer of the main channel of ``net`` (qemu_fflush); T_NS of ``state`` moves with the socket."""
    n_bytes = net.state[MAIN_BUFFERED]
    net.state[MAIN_BUFFERED] = 0
    if costs.counts_when_sent:
        state[USED_BYTES] += n_bytes
    write_main(state, costs, net, n_bytes)


@jit
def drain(costs: ChannelCosts, net: Net) -> None:
    """Advance until all written bytes have left the host, at FREE_PS. Changes ``net`` in place, so pass copies."""
    for j in range(len(net.rows)):
        while costs.path.rtt_ps > 0 and net.rows[j, tcp_row.UNSENT] > 0 and net.shared[BROKEN_PS] == 0:
            _step(net, costs.path, NEVER)


@jit
def deliver(costs: ChannelCosts, net: Net) -> int:
    """Moment [ns] at which all bytes written to ``net`` are acknowledged; NEVER: a connection breaks. In place: pass a copy.

    costs: of the channels; the path of the connections is read.
    """
    for j in range(len(net.rows)):
        while connections.outstanding(net.rows[j]) > 0 and net.shared[BROKEN_PS] == 0:
            _step(net, costs.path, NEVER)
    return NEVER if net.shared[BROKEN_PS] > 0 else -(-int(net.shared[TICK]) * costs.path.tick_ps // 1000)
