"""Post-copy: the source sends requested pages before those of the background sweep, on one channel or on two.

QEMU 7.2 and 10.x, migration/ram.c::ram_save_iterate, ::get_queued_page, ::ram_save_host_page, ::ram_save_queue_pages,
::ram_save_host_page_urgent (>= 8.0); migration/qemu-file.c::add_to_iovec.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit, part
from hostsim.core.constants import PAGE_WIRE_BYTES, ZERO_PAGE_BYTES
from hostsim.core.rng import NEVER
from hostsim.kvm.loops.layout import AWAY as NOT_THERE
from hostsim.qemu.postcopy import streams
from hostsim.qemu.postcopy.state import (
    AWAY,
    AWAY_BACK,
    CHANNEL,
    FLUSHED,
    FORWARD,
    GATHERED,
    GATHERED_MAX,
    HAS_ROOM,
    HELD,
    HELD_CHANNEL,
    HORIZON,
    IS_BLOCKED,
    LOAD_FREE_NS,
    MAIN,
    MAX_WAIT,
    NOTHING_DIRTY,
    QDISC_PS,
    QUOTA,
    REQUEST_ARRIVED,
    REQUEST_HEAD,
    REQUESTS,
    RETURN_FREE_NS,
    ROOM_BYTES,
    SMALL_BYTES,
    TAIL,
    UNREAD_BYTES,
    URGENT,
    URGENT_BLOCK,
    URGENT_BYTES,
    URGENT_FREE_NS,
    URGENT_TAIL,
    Ints,
    Phase,
    Rules,
)
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
from hostsim.qemu.tcp_row import PS_PER_S


@part
def _link(k: Phase, r: Rules, t_ns: int, n_bytes: int) -> int:
    """When ``n_bytes`` written at ``t_ns`` have arrived at the destination [ns]."""
    if r.link_bytes_per_s == 0:
        return t_ns + r.latency_ns
    k.send[LINK_FREE_PS] = max(k.send[LINK_FREE_PS], t_ns * 1000) + n_bytes * PS_PER_S // r.link_bytes_per_s
    return int(-(-k.send[LINK_FREE_PS] // 1000)) + r.latency_ns


@part
def _flush_faulty(k: Phase, r: Rules, t_ns: int, other_bytes: int) -> None:
    """``flush_wire`` on a link with faults: the moment of arrival is found later."""
    p, n_bytes = k.p, 0
    for number in range(p[FLUSHED], p[TAIL]):
        entry = k.wire[number % len(k.wire)]
        n_bytes += entry[1]
        entry[2], entry[3] = NEVER, k.streams.written[MAIN] + n_bytes
        p[UNREAD_BYTES] += entry[1]
    p[FLUSHED], p[GATHERED], p[SMALL_BYTES] = p[TAIL], 0, 0
    streams.write(k.streams, r.path, MAIN, t_ns, n_bytes + other_bytes)
    p[ROOM_BYTES] = r.buffer_bytes
    p[IS_BLOCKED] = int(p[UNREAD_BYTES] > r.buffer_bytes or k.streams.groups[FORWARD, HAS_ROOM] == 0)


@inlined
def _fill_sockets(k: Phase, r: Rules) -> None:
    """The writer waits if the sockets are full: its last bytes follow when the kernel wakes it (net/unix/af_unix.c)."""
    p = k.p
    p[IS_BLOCKED] = int(p[UNREAD_BYTES] > r.buffer_bytes)
    p[ROOM_BYTES] = min(r.buffer_bytes, p[UNREAD_BYTES] - r.wake_bytes) if r.wake_bytes > 0 else r.buffer_bytes


@jit
def flush_wire(k: Phase, r: Rules, t_ns: int, other_bytes: int) -> None:
    """Write the gathered pages, and ``other_bytes`` behind them, at ``t_ns`` (qemu_fflush); the thread may have to wait."""
    p = k.p
    if r.path.faults.any == 1:
        _flush_faulty(k, r, t_ns, other_bytes)
        return
    for number in range(p[FLUSHED], p[TAIL]):
        entry = k.wire[number % len(k.wire)]
        arrived_ns = _link(k, r, t_ns, entry[1])
        cost_ns = r.place_page_ns if entry[1] >= PAGE_WIRE_BYTES else r.place_zero_ns
        # One thread loads the stream: it places a page when the page is there, and all pages before it are placed.
        p[LOAD_FREE_NS] = max(p[LOAD_FREE_NS], arrived_ns) + cost_ns
        entry[2] = p[LOAD_FREE_NS]
        p[UNREAD_BYTES] += entry[1]
    if other_bytes > 0:
        p[LOAD_FREE_NS] = max(p[LOAD_FREE_NS], _link(k, r, t_ns, other_bytes))
    p[FLUSHED], p[GATHERED], p[SMALL_BYTES] = p[TAIL], 0, 0
    _fill_sockets(k, r)


@part
def _block_of(block_ends: Ints, gfn: int) -> int:
    block = 0
    while gfn >= block_ends[block]:
        block += 1
    return block


@inlined
def _put(k: Phase, r: Rules, gfn: int, channel: int) -> int:
    """Take a page out of the bitmap and count it; return its bytes on ``channel``."""
    s, p = k.send, k.p
    k.bmap[gfn] = 0
    s[DIRTY_PAGES] -= 1
    n_bytes = ZERO_PAGE_BYTES if k.zero[gfn] == 1 else PAGE_WIRE_BYTES
    block = _block_of(k.block_ends, gfn)
    # Since 8.0 each channel has a PageSearchStatus, and with it a last_sent_block of its own.
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


@inlined
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
    """Write a page to the preempt channel at ``t_ns``; it passes all but the packets that wait in the qdisc already."""
    p, arrived_ns = k.p, t_ns + r.latency_ns
    at = p[URGENT_TAIL] % len(k.urgent)
    p[URGENT_TAIL] += 1
    p[URGENT_BYTES] += n_bytes
    if r.path.faults.any == 1:
        k.urgent[at, 0], k.urgent[at, 1], k.urgent[at, 2] = entry, n_bytes, NEVER
        k.urgent[at, 3] = k.streams.written[URGENT] + n_bytes
        streams.write(k.streams, r.path, URGENT, t_ns, n_bytes)
        k.urgent[at, 4] = streams.qdisc_ns(k, r)
        return
    if r.link_bytes_per_s > 0:
        ahead_ps = min(max(k.send[LINK_FREE_PS] - t_ns * 1000, 0), QDISC_PS)
        wire_ps = n_bytes * PS_PER_S // r.link_bytes_per_s
        arrived_ns += -(-(ahead_ps + wire_ps) // 1000)
        k.send[LINK_FREE_PS] = max(k.send[LINK_FREE_PS], t_ns * 1000) + wire_ps
    p[URGENT_FREE_NS] = max(p[URGENT_FREE_NS], arrived_ns) + (r.place_zero_ns if is_zero else r.place_page_ns)
    k.urgent[at, 0], k.urgent[at, 1], k.urgent[at, 2] = entry, n_bytes, p[URGENT_FREE_NS]


@inlined
def _last_dirty(k: Phase, r: Rules, gfn: int) -> int:
    """Last page of the host page of ``gfn`` that is still to be sent, or -1."""
    first = (gfn >> r.host_shift) << r.host_shift
    for page in range(min(first + (1 << r.host_shift), len(k.bmap)) - 1, first - 1, -1):
        if k.bmap[page] == 1:
            return page
    return -1


@inlined
def _send_host_page(k: Phase, r: Rules, gfn: int, channel: int, t_ns: int) -> int:
    """ram_save_host_page: send all pages of a host page that are still to be sent, from ``t_ns`` on; return the end [ns]."""
    first, last = (gfn >> r.host_shift) << r.host_shift, _last_dirty(k, r, gfn)
    for page in range(first, last + 1):
        if k.bmap[page] == 0:
            continue
        is_zero = k.zero[page] == 1
        entry = page if page == last else -1 - page  # a host page is placed as a whole, with its last page
        n_bytes = _put(k, r, page, channel)
        t_ns += r.zero_page_ns if is_zero else r.page_ns
        if channel == URGENT:
            _send_urgently(k, r, entry, n_bytes, is_zero, t_ns)
            continue
        _gather(k, r, entry, n_bytes, is_zero)
        if k.p[GATHERED] >= GATHERED_MAX or k.p[SMALL_BYTES] >= IO_BUFFER_BYTES:
            flush_wire(k, r, t_ns, 0)
    return t_ns


@inlined
def _next_request(k: Phase) -> int:
    """get_queued_page: the first queued request whose page is still to be sent, or -1; requests before it are dropped."""
    p = k.p
    while p[REQUEST_HEAD] < p[REQUEST_ARRIVED]:
        gfn = k.requests[p[REQUEST_HEAD] % len(k.requests), 1]
        p[REQUEST_HEAD] += 1
        if k.bmap[gfn] == 1:
            return int(gfn)
    return -1


@inlined
def _switch_channel(k: Phase, channel: int) -> None:
    """postcopy_preempt_choose_channel (7.2): the first page on the other channel carries the name of its RAMBlock."""
    if k.p[CHANNEL] != channel:
        k.p[CHANNEL], k.send[LAST_BLOCK] = channel, -1


@inlined
def _is_away(k: Phase, gfn: int) -> bool:
    """Whether the source has swapped ``gfn`` out: a thread that reads the page waits in do_swap_page."""
    return bool(len(k.backing) > 0 and k.backing[gfn] >= NOT_THERE)


@inlined
def act(k: Phase, r: Rules, started_ns: int) -> int:
    """A pass of the loop of ram_save_iterate at T_NS; return QUOTA, NOTHING_DIRTY or MAX_WAIT at its end, HORIZON before.

    k, r: as in hostsim.qemu.postcopy.guest.
    started_ns: start of ram_save_iterate [ns].
    AWAY: the thread has chosen HELD, whose page is swapped out; the pass goes on with that page once the source has it.
    """
    s, p = k.send, k.p
    gfn, channel = p[HELD], p[HELD_CHANNEL]
    if gfn < 0:
        is_spent = 0 < r.rate_limit_bytes < s[USED_BYTES]
        if is_spent and p[REQUEST_HEAD] == p[REQUEST_ARRIVED]:
            return QUOTA
        gfn, channel = _next_request(k), URGENT if r.preempt == 7 else MAIN
        if gfn < 0:
            if s[DIRTY_PAGES] == 0:
                return NOTHING_DIRTY
            gfn, channel = next_dirty(k.bmap, k.words, s[CURSOR]), MAIN
    p[HELD] = -1
    if _is_away(k, gfn):
        p[HELD], p[HELD_CHANNEL] = gfn, channel
        return AWAY
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
def arrive(k: Phase, r: Rules, now_ns: int) -> int:
    """Let the next request of ``k`` arrive at the source at ``now_ns`` (ram_save_queue_pages).

    It is queued, or the return-path thread sends the page, by the preempt of ``r``.
    Returns HORIZON; AWAY_BACK: the return-path thread reads a page that is swapped out, and the request stays until then.
    """
    p = k.p
    gfn = k.requests[p[REQUEST_ARRIVED] % len(k.requests), 1]
    # A page that the migration thread is about to send goes over the main channel (ram_save_host_page_urgent, pss_overlap).
    is_sent_here = r.preempt == 10 and gfn != p[HELD]
    if is_sent_here and k.bmap[gfn] == 1 and _is_away(k, gfn):
        return AWAY_BACK
    p[REQUEST_ARRIVED] += 1
    p[REQUESTS] += 1
    if r.preempt != 10:
        return HORIZON
    p[REQUEST_HEAD] = p[REQUEST_ARRIVED]
    before = k.send[SENT_BYTES]
    if is_sent_here and _last_dirty(k, r, gfn) >= 0:
        p[RETURN_FREE_NS] = _send_host_page(k, r, gfn, URGENT, now_ns)
        k.send[USED_BYTES] += k.send[SENT_BYTES] - before
    return HORIZON
