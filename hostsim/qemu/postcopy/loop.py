"""Post-copy, event by event: the source sends, the destination places, vCPUs touch missing pages.

One loop has all that happens between two events of the host's clock, in order of (time, rank): a page is placed, the fault
thread reads a message, a request arrives at the source, the migration thread sends a host page, a vCPU runs again, a vCPU
touches a missing page. Cost follows pages and faults, never touches of pages that are there.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit, part
from hostsim.core.rng import NEVER
from hostsim.guest.touch import TouchTable
from hostsim.qemu.postcopy import streams, turns
from hostsim.qemu.postcopy.frames import lacks_frame
from hostsim.qemu.postcopy.guest import handle, look_ahead, place, run_again, touch
from hostsim.qemu.postcopy.state import (
    AWAITS_ROOM,
    BROKEN,
    DRAINED,
    FLUSHED,
    FORWARD,
    GROW,
    HANDLE_NS,
    HAS_ROOM,
    HEAD,
    HORIZON,
    IS_AWAITED,
    IS_BLOCKED,
    IS_DRAINING,
    IS_KNOWN,
    MAIN,
    NEXT_NS,
    NO_FRAME,
    NOW_NS,
    READS,
    REFILL,
    REQUEST_ARRIVED,
    REQUEST_HEAD,
    REQUEST_TAIL,
    REQUESTED,
    RETURN_FREE_NS,
    ROOM,
    ROOM_BYTES,
    ROOM_NS,
    SENDING,
    TAIL,
    TOUCH_NS,
    UNREAD_BYTES,
    URGENT,
    URGENT_HEAD,
    URGENT_TAIL,
    WAITING,
    WAKE_NS,
    WOKEN,
    WOKEN_VCPU,
    Ints,
    Phase,
    Rules,
)
from hostsim.qemu.postcopy.stream import act, arrive
from hostsim.qemu.send import T_NS

WAKE_UPS = 4
"""Wake-ups between a touch and its page, each of which may wait for a core: the fault thread, the return-path thread for the
header of the request and for its body (migration.c::source_return_path_thread), the vCPU. The thread that loads the preempt
channel is one more."""
DELIVER, DELIVER_BACK, GAIN_ROOM, PLACE, PLACE_URGENT, HANDLE, ARRIVE, SEND, RUN, TOUCH = range(10)
"""Kinds of events, in the order of one instant; the first three on a link with faults only."""


@inlined
def _is_full(k: Phase, r: Rules) -> bool:
    # Between two looks one event adds the pages of one host page at most, and one request of each vCPU.
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


@part
def _sooner(t_ns: int, kind: int, best_ns: int, best: int) -> tuple[int, int]:
    """The earlier of two events; of equals the one that was found first, ``best``."""
    return (t_ns, kind) if t_ns < best_ns else (best_ns, best)


@part
def _next_of_guest(k: Phase) -> tuple[int, int, int]:
    """Times [ns] of the next message that the fault thread reads, of the next vCPU that runs again, of the next touch."""
    handle_ns = k.vcpus[_earliest(k.vcpus[:, HANDLE_NS]), HANDLE_NS]
    run_ns = k.vcpus[_earliest(k.vcpus[:, WAKE_NS]), WAKE_NS]
    touch_ns = k.classes[_earliest(k.classes[:, TOUCH_NS]), TOUCH_NS] if len(k.classes) > 0 else NEVER
    return handle_ns, run_ns, touch_ns


@part
def _next_of_link(k: Phase, r: Rules) -> tuple[int, int]:
    """Time [ns] and kind of the next event of a link with faults, DELIVER ... GAIN_ROOM."""
    now_ns, kind, groups = NEVER, TOUCH, k.streams.groups
    for group in range(len(groups)):
        if groups[group, IS_KNOWN] == 0:
            streams.look(k, r, group)
        now_ns, kind = _sooner(groups[group, NEXT_NS], DELIVER + group, now_ns, kind)
    return _sooner(groups[FORWARD, ROOM_NS], GAIN_ROOM, now_ns, kind)


@inlined
def _next_event(k: Phase, handle_ns: int, run_ns: int, touch_ns: int) -> tuple[int, int]:
    """Time [ns] and kind of the next event; of events of one instant the first in the order PLACE ... TOUCH."""
    p, s = k.p, k.send
    now_ns, kind = NEVER, TOUCH
    if p[HEAD] < p[FLUSHED]:  # pages that are gathered and not written yet have no time of arrival
        now_ns, kind = turns.place_ns(k, k.wire[p[HEAD] % len(k.wire), 2]), PLACE
    if p[URGENT_HEAD] < p[URGENT_TAIL]:
        now_ns, kind = _sooner(k.urgent[p[URGENT_HEAD] % len(k.urgent), 2], PLACE_URGENT, now_ns, kind)
    now_ns, kind = _sooner(handle_ns, HANDLE, now_ns, kind)
    if p[REQUEST_ARRIVED] < p[REQUEST_TAIL]:  # the return-path thread reads one request after the other
        arrives_ns = max(k.requests[p[REQUEST_ARRIVED] % len(k.requests), 0], p[RETURN_FREE_NS])
        now_ns, kind = _sooner(arrives_ns, ARRIVE, now_ns, kind)
    if p[SENDING] == 1 and p[IS_BLOCKED] == 0 and p[READS] == 0:
        now_ns, kind = _sooner(s[T_NS], SEND, now_ns, kind)
    now_ns, kind = _sooner(run_ns, RUN, now_ns, kind)
    return _sooner(touch_ns, TOUCH, now_ns, kind)


@inlined
def _take_main(k: Phase, r: Rules, now_ns: int) -> None:
    """The destination has read and placed the first page on the main channel; the sockets have room for more."""
    p = k.p
    turns.end_slice(k, r, now_ns)
    entry = k.wire[p[HEAD] % len(k.wire)]
    p[HEAD] += 1
    p[UNREAD_BYTES] -= entry[1]
    _unblock(k, r, now_ns)
    if p[HEAD] == p[FLUSHED]:
        turns.reschedule(k, r, now_ns)
    place(k, r, entry[0], r.busy_wake_ns, True, now_ns)


@inlined
def _unblock(k: Phase, r: Rules, now_ns: int) -> None:
    """The sockets may have room again: write() returns."""
    p = k.p
    has_room = p[UNREAD_BYTES] <= p[ROOM_BYTES] and (r.path.faults.any == 0 or k.streams.groups[FORWARD, HAS_ROOM] == 1)
    if p[IS_BLOCKED] == 1 and has_room:
        p[IS_BLOCKED] = 0
        turns.reschedule(k, r, now_ns)
        k.send[T_NS] = max(k.send[T_NS], now_ns)


@part
def _link_event(k: Phase, r: Rules, kind: int, now_ns: int) -> int:
    """An event of a link with faults, DELIVER ... GAIN_ROOM; return HORIZON, or BROKEN."""
    if kind == GAIN_ROOM:
        k.streams.groups[FORWARD, HAS_ROOM], k.streams.groups[FORWARD, ROOM_NS] = 1, NEVER
        _unblock(k, r, now_ns)
        return HORIZON
    return HORIZON if streams.deliver(k, r, kind - DELIVER, now_ns) else BROKEN


@part
def _take_urgent(k: Phase, r: Rules, now_ns: int) -> None:
    """The destination has placed the first page on the preempt channel."""
    entry = k.urgent[k.p[URGENT_HEAD] % len(k.urgent)]
    k.p[URGENT_HEAD] += 1
    place(k, r, entry[0], r.busy_wake_ns * (WAKE_UPS + 1) // WAKE_UPS, False, now_ns)


@inlined
def _take(k: Phase, r: Rules, kind: int, now_ns: int) -> int:
    """The destination places the first page on a channel, PLACE or PLACE_URGENT; return HORIZON, or NO_FRAME."""
    if lacks_frame(k, MAIN if kind == PLACE else URGENT):
        return NO_FRAME
    if kind == PLACE:
        _take_main(k, r, now_ns)
    else:
        _take_urgent(k, r, now_ns)
    return HORIZON


@inlined
def _host_event(k: Phase, r: Rules, kind: int, now_ns: int, started_ns: int) -> int:
    """An event of the host, DELIVER ... SEND; return HORIZON if the loop goes on, else its reason to return."""
    if kind < PLACE:
        return int(_link_event(k, r, kind, now_ns))
    if kind <= PLACE_URGENT:
        return int(_take(k, r, kind, now_ns))
    if kind == HANDLE:
        handle(k, r, _earliest(k.vcpus[:, HANDLE_NS]), now_ns)
    elif kind == ARRIVE:
        reason = arrive(k, r, now_ns)
        if reason != HORIZON:
            return int(reason)
        if k.p[IS_AWAITED] == 1 and r.preempt != 10:
            return REQUESTED
    else:
        return int(act(k, r, started_ns))
    return HORIZON


@part
def _guest_event(k: Phase, r: Rules, table: TouchTable, kind: int, now_ns: int, horizon_ns: int) -> int:
    """A vCPU runs again, or touches a page; return HORIZON if the loop goes on, else REFILL, or WOKEN."""
    if kind == RUN:
        v = _earliest(k.vcpus[:, WAKE_NS])
        run_again(k, v, now_ns)
        if len(k.places) > 0:
            k.p[WOKEN_VCPU] = v
            return WOKEN
    else:
        touch(k, r, table, _earliest(k.classes[:, TOUCH_NS]), now_ns)
    return REFILL if look_ahead(k, table, now_ns, horizon_ns) >= 0 else HORIZON


@jit
def upcoming_ns(k: Phase, r: Rules) -> int:
    """Time of the next event of a phase of a live destination, whose touches are the engine's [ns]. ``k``: in place."""
    if _due_at_once(k.p) != HORIZON:  # the engine must not run ahead of it
        return int(k.p[NOW_NS])
    handle_ns, run_ns, touch_ns = _next_of_guest(k)
    now_ns, _ = _next_event(k, handle_ns, run_ns, touch_ns)
    if r.path.faults.any == 1:
        now_ns = min(now_ns, _next_of_link(k, r)[0])
    return int(now_ns)


@inlined
def _due_at_once(p: Ints) -> int:
    """DRAINED or ROOM where the migration thread waits for it and need not; else HORIZON."""
    if p[IS_DRAINING] == 1 and p[HEAD] == p[TAIL] and p[URGENT_HEAD] == p[URGENT_TAIL]:
        return DRAINED
    return ROOM if p[AWAITS_ROOM] == 1 and p[IS_BLOCKED] == 0 else HORIZON


@jit
def run_phase(k: Phase, r: Rules, table: TouchTable, horizon_ns: int, started_ns: int) -> int:
    """Let everything happen that happens before ``horizon_ns``; return a reason, HORIZON ... GROW.

    k, r, table: as in hostsim.qemu.postcopy.guest.
    horizon_ns: at most 2^42 ns ahead. started_ns: start of ram_save_iterate.
    At equal times bytes arrive first (to the destination, then to the source), and a send buffer gains room; then a page is
    placed (main channel, then preempt channel), and then come the fault thread, the return path, the migration thread, vCPUs
    that run again, and touches, each by number.
    """
    p = k.p
    if look_ahead(k, table, p[NOW_NS], horizon_ns) >= 0:
        return REFILL
    handle_ns, run_ns, touch_ns = _next_of_guest(k)
    while True:
        if _is_full(k, r):
            return GROW
        due = _due_at_once(p)
        if due != HORIZON:
            return due
        now_ns, kind = _next_event(k, handle_ns, run_ns, touch_ns)
        if r.path.faults.any == 1:
            link_ns, link_kind = _next_of_link(k, r)
            if link_ns <= now_ns:
                now_ns, kind = link_ns, link_kind
        if now_ns >= horizon_ns:
            p[NOW_NS] = max(p[NOW_NS], horizon_ns)
            return HORIZON
        p[NOW_NS] = now_ns
        was_waiting = p[WAITING] > 0
        if kind <= SEND:
            reason = _host_event(k, r, kind, now_ns, started_ns)
        else:
            reason = _guest_event(k, r, table, kind, now_ns, horizon_ns)
        if reason != HORIZON:
            return reason
        if kind > SEND or (was_waiting and kind != SEND):  # nothing else moves an event of the guest
            handle_ns, run_ns, touch_ns = _next_of_guest(k)
