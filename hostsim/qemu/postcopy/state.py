"""Post-copy: arrays, columns and constants that the loops share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.core.memory import Versions
from hostsim.qemu.tcp_row import NO_LATENCY, Path

Ints = NDArray[np.int64]

(HORIZON, QUOTA, NOTHING_DIRTY, MAX_WAIT, REQUESTED, DRAINED, REFILL, GROW, ROOM, BROKEN, AWAY, AWAY_BACK, NO_FRAME,
 WOKEN) = range(14)  # fmt: skip
"""Reasons for which the loop returns.

HORIZON: everything before the horizon has happened. QUOTA, NOTHING_DIRTY, MAX_WAIT: the end of ram_save_iterate.
REQUESTED: a request has arrived and the migration thread, asleep, wakes. DRAINED: every page that was sent is placed.
REFILL: a class needs its next batch of first touches. GROW: a ring is nearly full.
ROOM: write() has returned. BROKEN: a connection has broken.
AWAY: the migration thread reads a page that the source has swapped out; AWAY_BACK: the return-path thread reads one.
NO_FRAME: a page is to be placed, and the destination has no frame at hand.
WOKEN: a vCPU of a live destination runs again.
"""

(NOW_NS, SENDING, IS_AWAITED, IS_DRAINING, IS_BLOCKED, HEAD, FLUSHED, TAIL, GATHERED, SMALL_BYTES, UNREAD_BYTES,
 LOAD_FREE_NS, URGENT_HEAD, URGENT_TAIL, URGENT_FREE_NS, URGENT_BLOCK, URGENT_BYTES, REQUEST_HEAD, REQUEST_ARRIVED,
 REQUEST_TAIL, RETURN_FREE_NS, FAULT_FREE_NS, REQUESTS, FAULTS, DOWN, LAST_BEGIN_NS, ALL_BLOCKED_NS, ALL_BLOCKED_MS, PLACED,
 CHANNEL, WAITING, AWAITS_ROOM, READS, HELD, HELD_CHANNEL,
 FRAMES, PLACED_FRESH, LACKING, WOKEN_VCPU, ROOM_BYTES, HOLD_NS, LEAD_NS, LEAD_SINCE_NS,
 WAITER) = range(44)  # fmt: skip
N_PHASE = 44
"""Columns of Phase.p.

SENDING: the migration thread is in ram_save_iterate. IS_AWAITED, IS_DRAINING, AWAITS_ROOM: return at REQUESTED, DRAINED,
ROOM.
IS_BLOCKED: the migration thread waits in write(); ROOM_BYTES: until no more than that is unread.
HEAD ... TAIL: entries of the ring ``wire``: placed up to HEAD, flushed up to FLUSHED, the rest is gathered in the QEMUFile.
REQUEST_*: entries of the ring ``requests``. DOWN: vCPUs that the fault thread knows to be blocked.
PLACED: pages placed. WAITING: vCPUs that wait for a page, or for the CPU after it.
CHANNEL: 1 while the migration thread writes to the preempt channel (7.2).
READS: threads of the source that wait in do_swap_page.
HELD: page that the migration thread has chosen and found swapped out, -1: none; HELD_CHANNEL: the channel to which it goes.
FRAMES: free frames of the destination at hand for pages to be placed. PLACED_FRESH: pages in Phase.fresh.
HOLD_NS, LEAD_NS, LEAD_SINCE_NS: hostsim.qemu.postcopy.turns.
LACKING: the channel whose page has no frame (NO_FRAME). WOKEN_VCPU: the vCPU that runs again (WOKEN).
"""
MAIN, URGENT, RETURN = 0, 1, 2
"""Streams: the main channel, the preempt channel, and the other direction of the main channel, which has the requests."""
FORWARD, BACK = 0, 1
"""Groups of streams that share the link: MAIN and URGENT; RETURN."""
NEXT_NS, IS_KNOWN, IS_AHEAD, LAST_WRITE_NS, ROOM_NS, HAS_ROOM = range(6)
N_GROUP = 6
"""Columns of Streams.groups.

NEXT_NS: of the next arrival, or break; IS_KNOWN: 1: it is looked up. IS_AHEAD: 1: ``ahead`` goes on from the last arrival.
ROOM_NS: when the send buffer of MAIN has room, NEVER: not known, or it has room; HAS_ROOM: 1: it has.
"""

IS_WAITING, WAITS_FOR, SINCE_NS, HANDLE_NS, BEGIN_NS, WAKE_NS, BLOCKED_NS, BLOCKED_MS, STALLED_NS, KNOWN = range(10)
N_VCPU = 10
"""Columns of Phase.vcpus.

WAITS_FOR: host page, -1: none. HANDLE_NS, WAKE_NS: NEVER if not due. BEGIN_NS: -1 before the fault thread knows.
KNOWN: faults that the fault thread knew of.
"""
AT, END, HAS_MORE, TOUCH_NS = range(4)
N_CLASS = 4

GATHERED_MAX = 32
"""Pages that a QEMUFile gathers before it writes: 64 iovecs, two a page (qemu-file.c MAX_IOV_SIZE)."""
QDISC_PS = 1_000_000_000
"""Bytes of another socket ahead of a packet [ps]: about 1 ms at the pacing rate (tcp_output.c::tcp_small_queue_check)."""


class Rules(NamedTuple):
    """Constants of a run; times in ns, sizes in bytes, 0: no limit.

    flush_pages: as in hostsim.qemu.send.SendLimits.
    preempt: 0: none; 7: the migration thread switches channels (7.2); 10: the return-path thread sends requested pages
    (>= 8.0).
    buffer_bytes: bytes that the sockets of the stream hold until the destination reads them.
    wake_bytes: bytes that the destination reads from full sockets before the kernel wakes the writer, which waits.
    host_shift: a host page has 2^host_shift pages.
    path, path_back: constants of the connections to the destination and back, used on a link with faults.
    """

    rate_limit_bytes: int
    flush_pages: int
    preempt: int
    page_ns: int
    zero_page_ns: int
    place_page_ns: int
    place_zero_ns: int
    fault_ns: int
    request_ns: int
    wake_ns: int
    busy_wake_ns: int
    turn_block_ns: int
    turn_place_ns: int
    turn_fault_ns: int
    turn_fault_spread_ns: int
    link_bytes_per_s: int
    latency_ns: int
    buffer_bytes: int
    wake_bytes: int
    host_shift: int
    path: Path = NO_LATENCY
    path_back: Path = NO_LATENCY


class Streams(NamedTuple):
    """Connections of the phase on a link with faults, in place (hostsim.qemu.postcopy.streams).

    rows: int64[3, N_ROW] of hostsim.qemu.tcp_row, of MAIN, URGENT, RETURN; ahead: copies that look ahead.
    shared, ahead_shared: int64[2, N_SHARED] of hostsim.qemu.connections, of each group.
    written: int64[3], bytes written to each stream. arrived: int64[3], number of its first entry that has not arrived.
    groups: int64[2, N_GROUP].
    """

    rows: Ints
    ahead: Ints
    shared: Ints
    ahead_shared: Ints
    written: Ints
    arrived: Ints
    groups: Ints


class Phase(NamedTuple):
    """Arrays of the phase, changed in place.

    p: int64[N_PHASE]; send: int64[N_STATE] of hostsim.qemu.send.
    wire: int64[capacity, 4], ring of (gfn, or -1 - gfn where more of the host page is to come; bytes; placed at [ns]; with
    faults bytes written up to its end).
    urgent: int64[capacity, 5], as above, and with faults its wait in the qdisc [ns].
    requests: int64[capacity, 3], ring of (arrival at the source [ns], first gfn of the host page; as the last of ``wire``).
    bmap: uint8[n_pages], 1: to be sent; words: its int64 view. missing: uint8[n_pages], 1: not placed.
    zero: uint8[n_pages]; version, copied: uint16[n_pages], of the source and at the destination.
    block_ends, block_id_bytes: int64[n_blocks].
    clocks: int64[n_clocks, N_FIELDS], work clocks at the destination; clock_vcpu: int64[n_clocks].
    vcpus: int64[n_vcpus, N_VCPU]. classes: int64[n_classes, N_CLASS].
    touch_ns, touch_gfn: int64[...], first touches of each class from AT to END.
    backing: uint8[n_pages], place of each page at the source (hostsim.kvm.loops.layout), or uint8[0]: all are resident.
    places: uint8[n_pages], place of each page at a live destination, or uint8[0].
    zero_there: uint8[n_pages], version_there: uint16[n_pages], content of the pages there.
    fresh: int64[...], pages that got a frame since the destination listed such pages last.
    latencies: int64[2, N_COUNTERS]: from the fault thread's message to the place of the page; from touch to run.
    """

    p: Ints
    send: Ints
    wire: Ints
    urgent: Ints
    requests: Ints
    bmap: NDArray[np.uint8]
    words: NDArray[np.int64]
    missing: NDArray[np.uint8]
    zero: NDArray[np.uint8]
    version: Versions
    copied: Versions
    block_ends: Ints
    block_id_bytes: Ints
    clocks: Ints
    clock_vcpu: Ints
    vcpus: Ints
    classes: Ints
    touch_ns: Ints
    touch_gfn: Ints
    latencies: Ints
    streams: Streams
    backing: NDArray[np.uint8]
    places: NDArray[np.uint8]
    zero_there: NDArray[np.uint8]
    version_there: Versions
    fresh: Ints
