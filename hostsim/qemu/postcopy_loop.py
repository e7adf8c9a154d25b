"""Post-copy, event by event: the source sends, the destination places, vCPUs touch missing pages.

One loop has all that happens between two events of the host's clock, in order of (time, rank): a page is placed, the fault
thread reads a message, a request arrives at the source, the migration thread sends a host page, a vCPU runs again, a vCPU
touches a missing page. Cost follows pages and faults, never touches of pages that are there.

QEMU 7.2 and 10.x, migration/ram.c::ram_save_iterate, ::get_queued_page, ::ram_save_host_page, ::ram_save_queue_pages,
::ram_save_host_page_urgent (>= 8.0); migration/postcopy-ram.c::postcopy_ram_fault_thread, ::postcopy_place_page,
::mark_postcopy_blocktime_begin, ::mark_postcopy_blocktime_end; migration/qemu-file.c::add_to_iovec.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.core.constants import PAGE_WIRE_BYTES, ZERO_PAGE_BYTES
from hostsim.core.latencies import note
from hostsim.core.rng import NEVER, keyed_word
from hostsim.guest import pacing
from hostsim.guest.clocks import class_work
from hostsim.guest.pacing import CLOSED, MODE, T0, TICK, W0, work_at
from hostsim.guest.touch import CLOCK_COUNT, CLOCK_FIRST, KEY0, TouchTable
from hostsim.qemu.send import (
    BUFFERED_BYTES,
    BUFFERED_PAGES,
    CURSOR,
    DIRTY_PAGES,
    IO_BUFFER_BYTES,
    ITERATION_PAGES,
    LAST_BLOCK,
    LINK_FREE_PS,
    MAX_WAIT_MS,
    NORMAL_PAGES,
    SENT_BYTES,
    T_NS,
    USED_BYTES,
    ZERO_PAGES,
    next_dirty,
)
from hostsim.qemu.tcp import PS_PER_S

Ints = NDArray[np.int64]

HORIZON, QUOTA, NOTHING_DIRTY, MAX_WAIT, REQUESTED, DRAINED, REFILL, GROW = range(8)
"""Reasons for which the loop returns.

HORIZON: everything before the horizon has happened. QUOTA, NOTHING_DIRTY, MAX_WAIT: the end of ram_save_iterate.
REQUESTED: a request has arrived and the migration thread, asleep, wakes. DRAINED: every page that was sent is placed.
REFILL: a class needs its next batch of first touches. GROW: a ring is nearly full.
"""

(NOW_NS, SENDING, IS_AWAITED, IS_DRAINING, IS_BLOCKED, HEAD, FLUSHED, TAIL, GATHERED, SMALL_BYTES, UNREAD_BYTES, LOAD_FREE_NS,
 URGENT_HEAD, URGENT_TAIL, URGENT_FREE_NS, URGENT_BLOCK, URGENT_BYTES, REQUEST_HEAD, REQUEST_ARRIVED, REQUEST_TAIL, RETURN_FREE_NS,
 FAULT_FREE_NS, REQUESTS, FAULTS, DOWN, LAST_BEGIN_NS, ALL_BLOCKED_NS, ALL_BLOCKED_MS, PLACED, CHANNEL) = range(30)  # fmt: skip
N_PHASE = 30
"""Columns of Phase.p. SENDING: the migration thread is in ram_save_iterate. IS_AWAITED, IS_DRAINING: return at REQUESTED, DRAINED.
IS_BLOCKED: the migration thread waits in write(). HEAD ... TAIL: entries of the ring ``wire``: placed up to HEAD, flushed up to
FLUSHED, the rest is gathered in the QEMUFile. REQUEST_*: of the ring ``requests``. DOWN: vCPUs that the fault thread knows to be
blocked. PLACED: pages placed. CHANNEL: 1 while the migration thread writes to the preempt channel (7.2).
"""
MAIN, URGENT = 0, 1

IS_WAITING, WAITS_FOR, SINCE_NS, HANDLE_NS, BEGIN_NS, WAKE_NS, BLOCKED_NS, BLOCKED_MS, STALLED_NS, KNOWN = range(10)
N_VCPU = 10
"""Columns of Phase.vcpus; WAITS_FOR: host page; HANDLE_NS, WAKE_NS: NEVER if not due; BEGIN_NS: -1 before the fault thread knows;
KNOWN: faults that the fault thread knew of.
"""
AT, END, HAS_MORE, NEXT_NS = range(4)
N_CLASS = 4

GATHERED_MAX = 32
"""Pages that a QEMUFile gathers before it writes: 64 iovecs, two a page (qemu-file.c MAX_IOV_SIZE)."""
QDISC_PS = 1_000_000_000
"""Bytes of another socket ahead of a packet: about 1 ms at the pacing rate (net/ipv4/tcp_output.c::tcp_small_queue_check)."""

_stop = part(pacing.stop)
_resume = part(pacing.resume)


class Rules(NamedTuple):
    """Constants of a run; times in ns, sizes in bytes, 0: no limit.

    flush_pages: as in hostsim.qemu.send.SendLimits.
    preempt: 0: none; 7: the migration thread switches channels (7.2); 10: the return-path thread sends urgent pages (>= 8.0).
    buffer_bytes: bytes that the sockets of the stream hold until the destination reads them.
    host_shift: a host page has 2^host_shift pages.
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
    link_bytes_per_s: int
    latency_ns: int
    buffer_bytes: int
    host_shift: int


class Phase(NamedTuple):
    """Arrays of the phase, changed in place.

    p: int64[N_PHASE]; send: int64[N_STATE] of hostsim.qemu.send.
    wire, urgent: int64[capacity, 3], rings of (gfn, or -1 - gfn where the host page has more to come; bytes; placed at [ns]).
    requests: int64[capacity, 2], ring of (arrival at the source [ns], first gfn of the host page).
    bmap: uint8[n_pages], 1: to be sent; words: its uint64 view. missing: uint8[n_pages], 1: not placed.
    zero: uint8[n_pages]; version, copied: uint32[n_pages], of the source and at the destination.
    block_ends, block_id_bytes: int64[n_blocks].
    clocks: int64[n_clocks, N_FIELDS], work clocks at the destination; clock_vcpu: int64[n_clocks].
    vcpus: int64[n_vcpus, N_VCPU]. classes: int64[n_classes, N_CLASS].
    touch_ns, touch_gfn: int64[...], first touches of each class from AT to END.
    latencies: int64[2, N_COUNTERS]: from the fault thread's message to the place of the page; from touch to run.
    """

    p: Ints
    send: Ints
    wire: Ints
    urgent: Ints
    requests: Ints
    bmap: NDArray[np.uint8]
    words: NDArray[np.uint64]
    missing: NDArray[np.uint8]
    zero: NDArray[np.uint8]
    version: NDArray[np.uint32]
    copied: NDArray[np.uint32]
    block_ends: Ints
    block_id_bytes: Ints
    clocks: Ints
    clock_vcpu: Ints
    vcpus: Ints
    classes: Ints
    touch_ns: Ints
    touch_gfn: Ints
    latencies: Ints


# -- the guest at the destination


@part
def touch_time_of(table: TouchTable, clocks: Ints, c: int, work_ns: int, now_ns: int, limit_ns: int) -> int:
    """Host time, ``now_ns`` or later, of the touch at ``work_ns`` of class ``c``: the clocks pass it in that nanosecond.

    NEVER: not before ``limit_ns``, if no clock changes.
    """
    row = clocks[table.ints[c, CLOCK_FIRST]]
    if table.ints[c, CLOCK_COUNT] == 1 and row[MODE] == CLOSED and row[TICK] == 0:
        at = max(row[T0] + work_ns - row[W0], now_ns)
        return at if at < limit_ns else NEVER
    if class_work(table.ints, clocks, c, now_ns + 1) > work_ns:
        return now_ns if now_ns < limit_ns else NEVER
    low, step = now_ns, 1024
    high = low + step
    while class_work(table.ints, clocks, c, high + 1) <= work_ns:
        if high >= limit_ns:
            return NEVER
        low, step = high, 2 * step
        high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if class_work(table.ints, clocks, c, middle + 1) > work_ns:
            high = middle
        else:
            low = middle
    return high if high < limit_ns else NEVER


@part
def toucher(table: TouchTable, clocks: Ints, c: int, gfn: int, now_ns: int) -> int:
    """The clock of class ``c`` that makes the touch of ``gfn`` in the nanosecond ``now_ns``: drawn, by the work of each in it."""
    first, count = table.ints[c, CLOCK_FIRST], table.ints[c, CLOCK_COUNT]
    if count == 1:
        return int(first)
    total = class_work(table.ints, clocks, c, now_ns + 1) - class_work(table.ints, clocks, c, now_ns)
    if total <= 0:
        return int(first)
    left = (keyed_word(int(table.ints[c, KEY0]) ^ 0x51A11ED, gfn, 0) * total) >> 32
    for i in range(first, first + count):
        left -= work_at(clocks[i], now_ns + 1) - work_at(clocks[i], now_ns)
        if left < 0:
            return int(i)
    return int(first + count - 1)


@part
def _look_ahead(k: Phase, table: TouchTable, now_ns: int, limit_ns: int) -> int:
    """Find the next touch of a missing page for each class; return the first class without a batch, or -1."""
    for c in range(len(k.classes)):
        row = k.classes[c]
        while row[AT] < row[END] and k.missing[k.touch_gfn[row[AT]]] == 0:
            row[AT] += 1
        row[NEXT_NS] = NEVER
        if row[AT] == row[END]:
            if row[HAS_MORE] == 1:
                return c
            continue
        row[NEXT_NS] = touch_time_of(table, k.clocks, c, k.touch_ns[row[AT]], now_ns, limit_ns)
    return -1


@part
def _touch(k: Phase, r: Rules, table: TouchTable, c: int, now_ns: int) -> None:
    """A vCPU touches a missing page: it leaves the guest and waits in handle_userfault; the fault thread is woken."""
    gfn = int(k.touch_gfn[k.classes[c, AT]])
    k.classes[c, AT] += 1
    if k.missing[gfn] == 0:  # placed since the look ahead
        return
    v = k.clock_vcpu[toucher(table, k.clocks, c, gfn, now_ns)]
    for i in range(len(k.clocks)):
        if k.clock_vcpu[i] == v:
            _stop(k.clocks[i], now_ns)
    vcpu = k.vcpus[v]
    k.p[FAULT_FREE_NS] = max(k.p[FAULT_FREE_NS], now_ns) + r.fault_ns
    vcpu[IS_WAITING], vcpu[WAITS_FOR], vcpu[SINCE_NS], vcpu[HANDLE_NS] = 1, gfn >> r.host_shift, now_ns, k.p[FAULT_FREE_NS]
    vcpu[BEGIN_NS] = -1
    k.p[FAULTS] += 1


@part
def _run_again(k: Phase, v: int, now_ns: int) -> None:
    """The vCPU ``v`` enters the guest."""
    vcpu = k.vcpus[v]
    vcpu[WAKE_NS] = NEVER
    if vcpu[IS_WAITING] == 1:
        vcpu[STALLED_NS] += now_ns - vcpu[SINCE_NS]
        note(k.latencies, 1, now_ns - vcpu[SINCE_NS])
    vcpu[IS_WAITING], vcpu[WAITS_FOR] = 0, -1
    for i in range(len(k.clocks)):
        if k.clock_vcpu[i] == v:
            _resume(k.clocks[i], now_ns)


@part
def _handle(k: Phase, r: Rules, v: int, now_ns: int) -> None:
    """The fault thread has read the message of vCPU ``v``, whose page is still missing: it asks the source for the page."""
    vcpu, p = k.vcpus[v], k.p
    vcpu[HANDLE_NS], vcpu[BEGIN_NS], p[LAST_BEGIN_NS] = NEVER, now_ns, now_ns
    p[DOWN] += 1
    at = p[REQUEST_TAIL] % len(k.requests)
    k.requests[at, 0] = now_ns + r.request_ns + r.latency_ns
    k.requests[at, 1] = vcpu[WAITS_FOR] << r.host_shift
    p[REQUEST_TAIL] += 1


@part
def _place(k: Phase, r: Rules, entry: int, now_ns: int) -> None:
    """Place the host page whose last page is ``entry``; wake the vCPUs that wait for it (mark_postcopy_blocktime_end)."""
    p = k.p
    if entry < 0:  # more pages of this host page are to come
        return
    first = (entry >> r.host_shift) << r.host_shift
    last = min(first + (1 << r.host_shift), len(k.missing))
    for gfn in range(first, last):
        # a page that is placed twice would take back what the guest has written since
        p[PLACED] += 1 if k.missing[gfn] == 1 else len(k.missing)
        k.missing[gfn] = 0
        k.copied[gfn] = k.version[gfn]
    known, were_down = 0, p[DOWN]
    is_busy = p[SENDING] == 1 and p[HEAD] < p[FLUSHED]
    wake_ns = now_ns + r.wake_ns + (r.busy_wake_ns if is_busy else 0)
    for v in range(len(k.vcpus)):
        vcpu = k.vcpus[v]
        if vcpu[IS_WAITING] == 0 or vcpu[WAITS_FOR] != entry >> r.host_shift or vcpu[WAKE_NS] != NEVER:
            continue
        vcpu[WAKE_NS], vcpu[HANDLE_NS] = wake_ns, NEVER
        if vcpu[BEGIN_NS] >= 0:
            known += 1
            vcpu[KNOWN] += 1
            vcpu[BLOCKED_NS] += now_ns - vcpu[BEGIN_NS]
            vcpu[BLOCKED_MS] += now_ns // 1_000_000 - vcpu[BEGIN_NS] // 1_000_000
            note(k.latencies, 0, now_ns - vcpu[BEGIN_NS])
            vcpu[BEGIN_NS] = -1
    if known > 0 and were_down == len(k.vcpus):
        p[ALL_BLOCKED_NS] += now_ns - p[LAST_BEGIN_NS]
        p[ALL_BLOCKED_MS] += now_ns // 1_000_000 - p[LAST_BEGIN_NS] // 1_000_000
    p[DOWN] -= known


# -- the stream


@part
def _link(k: Phase, r: Rules, t_ns: int, n_bytes: int) -> int:
    """When ``n_bytes`` written at ``t_ns`` have arrived at the destination [ns]."""
    if r.link_bytes_per_s == 0:
        return t_ns + r.latency_ns
    k.send[LINK_FREE_PS] = max(k.send[LINK_FREE_PS], t_ns * 1000) + n_bytes * PS_PER_S // r.link_bytes_per_s
    return int(-(-k.send[LINK_FREE_PS] // 1000)) + r.latency_ns


@jit
def flush_wire(k: Phase, r: Rules, t_ns: int, other_bytes: int) -> None:
    """Write the gathered pages, and ``other_bytes`` behind them, at ``t_ns`` (qemu_fflush); the thread may have to wait."""
    p = k.p
    for number in range(p[FLUSHED], p[TAIL]):
        entry = k.wire[number % len(k.wire)]
        arrived_ns = _link(k, r, t_ns, entry[1])
        cost_ns = r.place_page_ns if entry[1] >= PAGE_WIRE_BYTES else r.place_zero_ns
        p[LOAD_FREE_NS] = max(p[LOAD_FREE_NS], arrived_ns) + cost_ns
        entry[2] = p[LOAD_FREE_NS]
        p[UNREAD_BYTES] += entry[1]
    if other_bytes > 0:
        p[LOAD_FREE_NS] = max(p[LOAD_FREE_NS], _link(k, r, t_ns, other_bytes))
    p[FLUSHED], p[GATHERED], p[SMALL_BYTES] = p[TAIL], 0, 0
    p[IS_BLOCKED] = int(p[UNREAD_BYTES] > r.buffer_bytes)


@part
def _block_of(block_ends: Ints, gfn: int) -> int:
    block = 0
    while gfn >= block_ends[block]:
        block += 1
    return block


@part
def _put(k: Phase, r: Rules, gfn: int, channel: int) -> int:
    """Take a page out of the bitmap and count it; return its bytes on ``channel``."""
    s, p = k.send, k.p
    k.bmap[gfn] = 0
    s[DIRTY_PAGES] -= 1
    n_bytes = ZERO_PAGE_BYTES if k.zero[gfn] == 1 else PAGE_WIRE_BYTES
    block = _block_of(k.block_ends, gfn)
    is_apart = channel == URGENT and r.preempt == 10
    if block != (p[URGENT_BLOCK] if is_apart else s[LAST_BLOCK]):
        n_bytes += 1 + k.block_id_bytes[block]
    if is_apart:
        p[URGENT_BLOCK] = block
    else:
        s[LAST_BLOCK] = block
    s[SENT_BYTES] += n_bytes
    if k.zero[gfn] == 1:
        s[ZERO_PAGES] += 1
    else:
        s[NORMAL_PAGES] += 1
    return int(n_bytes)


@part
def _gather(k: Phase, r: Rules, entry: int, n_bytes: int, is_zero: bool) -> None:
    """Put a page into the QEMUFile of the main channel, and count its bytes against the limit when QEMU does."""
    s, p = k.send, k.p
    at = p[TAIL] % len(k.wire)
    k.wire[at, 0], k.wire[at, 1], k.wire[at, 2] = entry, n_bytes, NEVER
    p[TAIL] += 1
    p[GATHERED] += 0 if is_zero else 1
    p[SMALL_BYTES] += n_bytes if is_zero else n_bytes - 4096
    s[BUFFERED_BYTES] += n_bytes
    s[BUFFERED_PAGES] += 0 if is_zero else 1
    is_counted = s[BUFFERED_PAGES] >= r.flush_pages or s[BUFFERED_BYTES] - 4096 * s[BUFFERED_PAGES] >= IO_BUFFER_BYTES
    if is_counted or r.flush_pages <= 1:
        s[USED_BYTES] += s[BUFFERED_BYTES]
        s[BUFFERED_BYTES], s[BUFFERED_PAGES] = 0, 0


@part
def _send_urgently(k: Phase, r: Rules, entry: int, n_bytes: int, is_zero: bool, t_ns: int) -> None:
    """Write a page to the preempt channel at ``t_ns``; it passes all but the packets that the main channel has queued below TCP."""
    p, arrived_ns = k.p, t_ns + r.latency_ns
    if r.link_bytes_per_s > 0:
        ahead_ps = min(max(k.send[LINK_FREE_PS] - t_ns * 1000, 0), QDISC_PS)
        wire_ps = n_bytes * PS_PER_S // r.link_bytes_per_s
        arrived_ns += -(-(ahead_ps + wire_ps) // 1000)
        k.send[LINK_FREE_PS] = max(k.send[LINK_FREE_PS], t_ns * 1000) + wire_ps
    p[URGENT_FREE_NS] = max(p[URGENT_FREE_NS], arrived_ns) + (r.place_zero_ns if is_zero else r.place_page_ns)
    at = p[URGENT_TAIL] % len(k.urgent)
    k.urgent[at, 0], k.urgent[at, 1], k.urgent[at, 2] = entry, n_bytes, p[URGENT_FREE_NS]
    p[URGENT_TAIL] += 1
    p[URGENT_BYTES] += n_bytes


@part
def _last_dirty(k: Phase, r: Rules, gfn: int) -> int:
    """Last page of the host page of ``gfn`` that is still to be sent, or -1."""
    first = (gfn >> r.host_shift) << r.host_shift
    for page in range(min(first + (1 << r.host_shift), len(k.bmap)) - 1, first - 1, -1):
        if k.bmap[page] == 1:
            return page
    return -1


@part
def _send_host_page(k: Phase, r: Rules, gfn: int, channel: int, t_ns: int) -> int:
    """ram_save_host_page: send the pages of a host page that are to be sent, from ``t_ns`` on; return when that is done [ns]."""
    first, last = (gfn >> r.host_shift) << r.host_shift, _last_dirty(k, r, gfn)
    for page in range(first, last + 1):
        if k.bmap[page] == 0:
            continue
        is_zero = k.zero[page] == 1
        entry = page if page == last else -1 - page
        n_bytes = _put(k, r, page, channel)
        t_ns += r.zero_page_ns if is_zero else r.page_ns
        if channel == URGENT:
            _send_urgently(k, r, entry, n_bytes, is_zero, t_ns)
            continue
        _gather(k, r, entry, n_bytes, is_zero)
        if k.p[GATHERED] >= GATHERED_MAX or k.p[SMALL_BYTES] >= IO_BUFFER_BYTES:
            flush_wire(k, r, t_ns, 0)
    return t_ns


@part
def _next_request(k: Phase) -> int:
    """get_queued_page: the first queued request whose page is still to be sent, or -1; requests before it are dropped."""
    p = k.p
    while p[REQUEST_HEAD] < p[REQUEST_ARRIVED]:
        gfn = k.requests[p[REQUEST_HEAD] % len(k.requests), 1]
        p[REQUEST_HEAD] += 1
        if k.bmap[gfn] == 1:
            return int(gfn)
    return -1


@part
def _switch_channel(k: Phase, channel: int) -> None:
    """postcopy_preempt_choose_channel (7.2): the first page on the other channel carries the name of its RAMBlock."""
    if k.p[CHANNEL] != channel:
        k.p[CHANNEL], k.send[LAST_BLOCK] = channel, -1


@part
def _act(k: Phase, r: Rules, started_ns: int) -> int:
    """A pass of the loop of ram_save_iterate at T_NS; return QUOTA, NOTHING_DIRTY or MAX_WAIT at its end, HORIZON before."""
    s, p = k.send, k.p
    is_spent = 0 < r.rate_limit_bytes < s[USED_BYTES]
    if is_spent and p[REQUEST_HEAD] == p[REQUEST_ARRIVED]:
        return QUOTA
    gfn, channel = _next_request(k), URGENT if r.preempt == 7 else MAIN
    if gfn < 0:
        if s[DIRTY_PAGES] == 0:
            return NOTHING_DIRTY
        gfn, channel = next_dirty(k.bmap, k.words, s[CURSOR]), MAIN
    if r.preempt == 7:
        _switch_channel(k, channel)
    s[T_NS] = _send_host_page(k, r, gfn, channel, s[T_NS])
    # the background sweep goes on behind a requested page: the guest is likely to want its neighbours (get_queued_page)
    s[CURSOR] = ((gfn >> r.host_shift) + 1) << r.host_shift
    asks_time = s[ITERATION_PAGES] % 64 == 0
    s[ITERATION_PAGES] += 1
    if asks_time and (s[T_NS] - started_ns) // 1_000_000 > MAX_WAIT_MS:
        return MAX_WAIT
    return HORIZON


@part
def _arrive(k: Phase, r: Rules, now_ns: int) -> None:
    """A request arrives at the source (ram_save_queue_pages): it is queued, or the return-path thread sends the page itself."""
    p = k.p
    gfn = k.requests[p[REQUEST_ARRIVED] % len(k.requests), 1]
    p[REQUEST_ARRIVED] += 1
    p[REQUESTS] += 1
    if r.preempt != 10:
        return
    p[REQUEST_HEAD] = p[REQUEST_ARRIVED]
    before = k.send[SENT_BYTES]
    if _last_dirty(k, r, gfn) >= 0:
        p[RETURN_FREE_NS] = _send_host_page(k, r, gfn, URGENT, now_ns)
        k.send[USED_BYTES] += k.send[SENT_BYTES] - before


# -- the loop


@part
def _is_full(k: Phase, r: Rules) -> bool:
    p, page = k.p, 1 << r.host_shift
    return bool(
        p[TAIL] - p[HEAD] + page > len(k.wire)
        or p[URGENT_TAIL] - p[URGENT_HEAD] + page > len(k.urgent)
        or p[REQUEST_TAIL] - p[REQUEST_HEAD] + len(k.vcpus) > len(k.requests)
    )


@part
def _earliest(column: Ints) -> int:
    """Index of the first smallest entry."""
    best = 0
    for i in range(1, len(column)):
        if column[i] < column[best]:
            best = i
    return best


@jit
def run_phase(k: Phase, r: Rules, table: TouchTable, horizon_ns: int, started_ns: int) -> int:
    """Let everything happen that happens before ``horizon_ns``; return a reason, HORIZON ... GROW.

    horizon_ns: at most 2^42 ns ahead. started_ns: start of ram_save_iterate.
    At equal times a page is placed first (main channel, then preempt channel), then come the fault thread, the return path,
    the migration thread, vCPUs that run again, and touches, each by number.
    """
    p, s = k.p, k.send
    if len(k.classes) > 0 and _look_ahead(k, table, p[NOW_NS], horizon_ns) >= 0:
        return REFILL
    while True:
        if _is_full(k, r):
            return GROW
        if p[IS_DRAINING] == 1 and p[HEAD] == p[TAIL] and p[URGENT_HEAD] == p[URGENT_TAIL]:
            return DRAINED
        main_ns = k.wire[p[HEAD] % len(k.wire), 2] if p[HEAD] < p[FLUSHED] else NEVER
        urgent_ns = k.urgent[p[URGENT_HEAD] % len(k.urgent), 2] if p[URGENT_HEAD] < p[URGENT_TAIL] else NEVER
        handler = _earliest(k.vcpus[:, HANDLE_NS])
        handle_ns = k.vcpus[handler, HANDLE_NS]
        request_ns = NEVER
        if p[REQUEST_ARRIVED] < p[REQUEST_TAIL]:
            request_ns = max(k.requests[p[REQUEST_ARRIVED] % len(k.requests), 0], p[RETURN_FREE_NS])
        send_ns = s[T_NS] if p[SENDING] == 1 and p[IS_BLOCKED] == 0 else NEVER
        waker = _earliest(k.vcpus[:, WAKE_NS])
        wake_ns = k.vcpus[waker, WAKE_NS]
        c = _earliest(k.classes[:, NEXT_NS]) if len(k.classes) > 0 else 0
        touch_ns = k.classes[c, NEXT_NS] if len(k.classes) > 0 else NEVER
        now_ns = min(min(min(main_ns, urgent_ns), min(handle_ns, request_ns)), min(min(send_ns, wake_ns), touch_ns))
        if now_ns >= horizon_ns:
            p[NOW_NS] = max(p[NOW_NS], horizon_ns)
            return HORIZON
        p[NOW_NS] = now_ns
        if main_ns == now_ns:
            entry = k.wire[p[HEAD] % len(k.wire)]
            p[HEAD] += 1
            p[UNREAD_BYTES] -= entry[1]
            if p[IS_BLOCKED] == 1 and p[UNREAD_BYTES] <= r.buffer_bytes:
                p[IS_BLOCKED] = 0
                s[T_NS] = max(s[T_NS], now_ns)
            _place(k, r, entry[0], now_ns)
        elif urgent_ns == now_ns:
            entry = k.urgent[p[URGENT_HEAD] % len(k.urgent)]
            p[URGENT_HEAD] += 1
            _place(k, r, entry[0], now_ns)
        elif handle_ns == now_ns:
            _handle(k, r, handler, now_ns)
        elif request_ns == now_ns:
            _arrive(k, r, now_ns)
            if p[IS_AWAITED] == 1 and r.preempt != 10:
                return REQUESTED
        elif send_ns == now_ns:
            reason = _act(k, r, started_ns)
            if reason != HORIZON:
                return reason
        else:
            if wake_ns == now_ns:
                _run_again(k, waker, now_ns)
            else:
                _touch(k, r, table, c, now_ns)
            if _look_ahead(k, table, now_ns, horizon_ns) >= 0:
                return REFILL
