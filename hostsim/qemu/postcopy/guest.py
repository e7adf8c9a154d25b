"""Post-copy: the guest at the destination, the userfaultfd thread, and the place of pages.

The loops of post-copy share parameters. k: Phase, records and arrays of the phase, changed in place. r: Rules, constants.
table: touch classes of the guest. now_ns: time of the event [ns]. gfn: a page; v: a vCPU.

migration/postcopy-ram.c::postcopy_ram_fault_thread, ::postcopy_place_page, ::mark_postcopy_blocktime_begin,
::mark_postcopy_blocktime_end.
"""

from __future__ import annotations

from hostsim.compiled.jit import part
from hostsim.core.latency import note
from hostsim.core.rng import NEVER, keyed_word
from hostsim.guest.clocks import class_work
from hostsim.guest.pacing import CLOSED, IS_PLAIN, MODE, T0, TICK, W0, resume, stop, work_at
from hostsim.guest.touch import CLOCK_COUNT, CLOCK_FIRST, KEY0, TouchTable
from hostsim.qemu.postcopy import streams, turns
from hostsim.qemu.postcopy.frames import fill_frame
from hostsim.qemu.postcopy.state import (
    ALL_BLOCKED_MS,
    ALL_BLOCKED_NS,
    AT,
    BEGIN_NS,
    BLOCKED_MS,
    BLOCKED_NS,
    DOWN,
    END,
    FAULT_FREE_NS,
    FAULTS,
    FLUSHED,
    HANDLE_NS,
    HAS_MORE,
    HEAD,
    IS_WAITING,
    KNOWN,
    LAST_BEGIN_NS,
    PLACED,
    REQUEST_TAIL,
    RETURN,
    RETURN_FREE_NS,
    SENDING,
    SINCE_NS,
    STALLED_NS,
    TOUCH_NS,
    WAITING,
    WAITS_FOR,
    WAKE_NS,
    Ints,
    Phase,
    Rules,
)

REQUEST_BYTES = 16
"""MIG_RP_MSG_REQ_PAGES: type, length, start, length (migration.c::migrate_send_rp_message_req_pages)."""
_stop = part(stop)
_resume = part(resume)


@part
def touch_time_of(table: TouchTable, clocks: Ints, c: int, work_ns: int, now_ns: int, limit_ns: int) -> int:
    """Host time, ``now_ns`` or later, of the touch at ``work_ns`` of class ``c``: the clocks pass it in that nanosecond.

    NEVER: not before ``limit_ns``, if no clock changes.
    """
    row = clocks[table.ints[c, CLOCK_FIRST]]
    if table.ints[c, CLOCK_COUNT] == 1 and row[MODE] == CLOSED and row[TICK] == 0 and row[IS_PLAIN] == 1:
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
    """The clock of class ``c`` that touches ``gfn`` in the nanosecond ``now_ns``: drawn by the work that each does in it."""
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
def look_ahead(k: Phase, table: TouchTable, now_ns: int, limit_ns: int) -> int:
    """Find the next touch of a missing page for each class of ``table``; return the first class without a batch, or -1.

    now_ns: the present. limit_ns: later touches are not needed [ns].
    """
    for c in range(len(k.classes)):
        row = k.classes[c]
        while row[AT] < row[END] and k.missing[k.touch_gfn[row[AT]]] == 0:
            row[AT] += 1
        row[TOUCH_NS] = NEVER
        if row[AT] == row[END]:
            if row[HAS_MORE] == 1:
                return c
            continue
        row[TOUCH_NS] = touch_time_of(table, k.clocks, c, k.touch_ns[row[AT]], now_ns, limit_ns)
    return -1


@part
def touch(k: Phase, r: Rules, table: TouchTable, c: int, now_ns: int) -> None:
    """Let a vCPU touch its next page of class ``c`` at ``now_ns``; if it is missing, the vCPU waits in handle_userfault.

    ``table`` and the clocks of ``k`` decide which vCPU it is. The message wakes the fault thread.
    """
    gfn = int(k.touch_gfn[k.classes[c, AT]])
    k.classes[c, AT] += 1
    if k.missing[gfn] == 0:  # placed since the look ahead
        return
    v = k.clock_vcpu[toucher(table, k.clocks, c, gfn, now_ns)]
    for i in range(len(k.clocks)):
        if k.clock_vcpu[i] == v:
            _stop(k.clocks[i], now_ns)
    vcpu = k.vcpus[v]
    turns.wake_fault_thread(k, r, gfn >> r.host_shift, now_ns)
    vcpu[IS_WAITING], vcpu[WAITS_FOR], vcpu[SINCE_NS], vcpu[HANDLE_NS] = 1, gfn >> r.host_shift, now_ns, k.p[FAULT_FREE_NS]
    vcpu[BEGIN_NS] = -1
    k.p[FAULTS] += 1
    k.p[WAITING] += 1


@part
def run_again(k: Phase, v: int, now_ns: int) -> None:
    """Let vCPU ``v`` enter the guest at ``now_ns``; its clocks go on, and its wait is counted."""
    vcpu = k.vcpus[v]
    vcpu[WAKE_NS] = NEVER
    if vcpu[IS_WAITING] == 1:
        k.p[WAITING] -= 1
        vcpu[STALLED_NS] += now_ns - vcpu[SINCE_NS]
        note(k.latencies, 1, now_ns - vcpu[SINCE_NS])
    vcpu[IS_WAITING], vcpu[WAITS_FOR] = 0, -1
    for i in range(len(k.clocks)):
        if k.clock_vcpu[i] == v:
            _resume(k.clocks[i], now_ns)


@part
def ask(k: Phase, r: Rules, gfn: int, now_ns: int) -> None:
    """Write a request of the destination for the host page that begins at ``gfn``, at ``now_ns``.

    A connection that is gone takes none.
    """
    p, at, sent_ns = k.p, k.p[REQUEST_TAIL] % len(k.requests), now_ns + r.request_ns
    k.requests[at, 0], k.requests[at, 1] = sent_ns + r.latency_ns, gfn
    p[REQUEST_TAIL] += 1
    if r.path.faults.any == 1:
        k.requests[at, 0], k.requests[at, 2] = NEVER, k.streams.written[RETURN] + REQUEST_BYTES
        if p[RETURN_FREE_NS] != NEVER:
            streams.write(k.streams, r.path_back, RETURN, sent_ns, REQUEST_BYTES)


@part
def handle(k: Phase, r: Rules, v: int, now_ns: int) -> None:
    """Let the fault thread read the message of vCPU ``v`` at ``now_ns`` and ask the source for the missing page."""
    vcpu, p = k.vcpus[v], k.p
    vcpu[HANDLE_NS], vcpu[BEGIN_NS], p[LAST_BEGIN_NS] = NEVER, now_ns, now_ns
    p[DOWN] += 1
    ask(k, r, vcpu[WAITS_FOR] << r.host_shift, now_ns)


@part
def place(k: Phase, r: Rules, entry: int, busy_ns: int, is_on_main: bool, now_ns: int) -> None:
    """Place, at ``now_ns``, the host page of ``k`` whose last page is ``entry``; wake the vCPUs that wait for it.

    busy_ns: wait of a vCPU, if it waits for a core. is_on_main: it comes over the main channel.
    """
    p = k.p
    if entry < 0:  # more pages of this host page are to come
        return
    first = (entry >> r.host_shift) << r.host_shift
    last = min(first + (1 << r.host_shift), len(k.missing))
    for gfn in range(first, last):
        # a page that is placed twice would overwrite later writes of the guest
        p[PLACED] += 1 if k.missing[gfn] == 1 else len(k.missing)
        k.missing[gfn] = 0
        k.copied[gfn] = k.version[gfn]
        if len(k.places) > 0:
            fill_frame(k, gfn)
    if p[WAITING] == 0:
        return
    known, were_down = 0, p[DOWN]
    is_busy = p[SENDING] == 1 and p[HEAD] < p[FLUSHED]
    takes_core = is_on_main and turns.preempts(k, r, now_ns)
    wake_ns = now_ns + r.wake_ns + (busy_ns if is_busy and not takes_core else 0)
    for v in range(len(k.vcpus)):
        vcpu = k.vcpus[v]
        if vcpu[IS_WAITING] == 0 or vcpu[WAITS_FOR] != entry >> r.host_shift or vcpu[WAKE_NS] != NEVER:
            continue
        vcpu[WAKE_NS], vcpu[HANDLE_NS] = wake_ns, NEVER
        if takes_core:
            vcpu[WAKE_NS], takes_core = turns.take_core(k, v, now_ns) + r.wake_ns, False
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
