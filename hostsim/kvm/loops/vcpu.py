"""Steps of a vCPU: touch, request, state set, entry.

Each step ends in one of a few ways (``step``); that each is written once matters: it is compiled into one loop.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined
from hostsim.core.latencies import note
from hostsim.core.rng import NEVER
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.exits import MAP, NONE, NOTHING, PML_FULL, SPLIT, SPURIOUS, TRACK, WP
from hostsim.guest.touch import IS_WRITE, KIND, SWEEP, TRACE
from hostsim.kvm.loops.armed import flags_of, needed, sweep_sees
from hostsim.kvm.loops.backing import look_up, take_page
from hostsim.kvm.loops.layout import (
    AGAIN,
    COST,
    DONE,
    DUE_OUT,
    ENTRY,
    ENTRY_NS,
    EXIT_NS,
    EXITED,
    EXITS,
    HOLD_OF,
    IN_GUEST,
    LEAVING,
    LOG,
    LOGGED_EXITS,
    MODE_OF,
    NO_EXIT,
    OUT,
    PFN,
    PML,
    PML_DRAIN_NS,
    PML_NS,
    REQUEST,
    RESUME,
    RETRY,
    RING,
    RING_SOFT,
    S_CLASS,
    S_FOUND,
    S_INDEX,
    SEQ,
    V_AWAY_NS,
    V_END,
    V_EXIT,
    V_FULL,
    V_KICKED,
    V_KIND,
    V_MODE,
    V_NS,
    V_PAGE,
    V_PML,
    V_RING,
    V_SEQ,
    V_STAGE,
    V_STALL_NS,
    V_STOP,
    V_STREAM,
    WAITING,
    YOUNG,
    Ints,
    Kvm,
)
from hostsim.kvm.loops.mapping import drain_pml, handle, note_access
from hostsim.kvm.loops.mmu_lock import is_stale, join_queue, kind_now, leave_lock, tell_host
from hostsim.kvm.loops.streams import choose, go_on, page_of, pass_by
from hostsim.kvm.loops.work import start_clocks, stop_clocks
from hostsim.spte_index.spte import PRESENT, STALE

PASSES, STALLS, LEAVES, EXIT_OVER, RUNS, WAITS = range(6)
"""How a step ends: the access is over and the guest runs on; .. and the vCPU stands still for a PML entry; the vCPU leaves
the guest; its exit has been handled; it runs; it waits for what comes next.
"""


@inlined
def is_write(ints: Ints, streams: Ints, vcpus: Ints, v: int) -> bool:
    """Whether the access under way is a write."""
    return bool(ints[streams[vcpus[V_STREAM, v], S_CLASS], IS_WRITE] == 1)


@inlined
def drain_ns(k: Kvm, v: int) -> int:
    """Empty the PML buffer of vCPU ``v``; returns what it takes."""
    return int(k.costs[COST, PML_DRAIN_NS] * drain_pml(k.sptes, k.vcpus, k.buffers, k.state, v) // PML_ENTRIES)


@inlined
def _hits_tlb(k: Kvm, v: int, page: int) -> bool:
    """Whether the touch finds a STALE translation in the TLB. Drawn touches that do are no candidates."""
    if flags_of(k.sptes, page) & STALE == 0:
        return False
    row = k.ints[k.streams[k.vcpus[V_STREAM, v], S_CLASS]]
    if row[KIND] != SWEEP and row[KIND] != TRACE:
        return False
    return not sweep_sees(k, k.streams[k.vcpus[V_STREAM, v], S_CLASS], page, row[IS_WRITE])


@inlined
def _touch(k: Kvm, v: int) -> int:
    """A touch that may be seen, at V_NS: passes, is noted by the hardware, or leaves the guest for a fault.

    No stream: the vCPU has done the work that it was let in for.
    """
    if k.vcpus[V_STREAM, v] < 0:
        k.vcpus[V_KIND, v], k.vcpus[V_KICKED, v] = NOTHING, 1
        return LEAVES
    page = page_of(k, k.vcpus[V_STREAM, v])
    kind = needed(k.sptes, k.state, page, is_write(k.ints, k.streams, k.vcpus, v)) if page >= 0 else NOTHING
    if kind == YOUNG and _hits_tlb(k, v, page):
        kind = NOTHING
    k.vcpus[V_PAGE, v], k.vcpus[V_KIND, v] = page, kind
    if kind == NOTHING:
        return PASSES
    if kind < LOG:
        return LEAVES
    note_access(k, page, kind)
    if kind != LOG or k.state[PML] == 0:
        return PASSES
    k.buffers[v, k.vcpus[V_PML, v]] = page
    k.vcpus[V_PML, v] += 1
    if k.vcpus[V_PML, v] == PML_ENTRIES:
        k.vcpus[V_KIND, v] = PML_FULL
        return LEAVES
    return STALLS if k.costs[COST, PML_NS] > 0 else PASSES


@inlined
def _leave(k: Kvm, v: int) -> None:
    """Out of the guest, the PML buffer drained: for a fault, for a full buffer, or to user space."""
    kind, now_ns = k.vcpus[V_KIND, v], k.vcpus[V_NS, v]
    left_ns = now_ns + k.costs[COST, EXIT_NS] + drain_ns(k, v)
    if kind == PML_FULL:
        k.state[EXITS + PML_FULL] += 1
        k.vcpus[V_EXIT, v] = PML_FULL
        k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = left_ns + k.costs[COST, PML_NS], EXITED
    elif kind == NOTHING:
        k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = left_ns, LEAVING
    else:
        mode = k.costs[MODE_OF, kind]
        k.vcpus[V_MODE, v] = mode
        alone = mode == NONE and kind in (WP, TRACK)
        k.vcpus[V_NS, v] = left_ns + (k.costs[HOLD_OF, kind] if alone else 0)
        k.vcpus[V_STAGE, v] = DONE if alone else REQUEST


@inlined
def _stop(k: Kvm, v: int) -> None:
    """The clocks stand still from V_NS on; touches of this instant that come before the one under way are over."""
    s = k.vcpus[V_STREAM, v]
    pass_by(k, v, s if s >= 0 else k.vcpus[V_END, v], k.vcpus[V_NS, v])
    stop_clocks(k.vcpus, k.clocks, k.state, v, k.vcpus[V_NS, v])
    if s >= 0:
        k.streams[s, S_INDEX] = k.streams[s, S_FOUND]
    else:
        k.vcpus[V_STOP, v] = NEVER


@inlined
def _request(k: Kvm, v: int) -> None:
    """mmu_invalidate_seq is read, the host page looked up, the lock asked for.

    A page that was unmapped since the touch is looked up, too: its host page may be gone.
    """
    kind, stage, now_ns = k.vcpus[V_KIND, v], k.vcpus[V_STAGE, v], k.vcpus[V_NS, v]
    if stage == REQUEST:
        k.vcpus[V_SEQ, v] = k.state[SEQ]
        if kind != SPLIT and flags_of(k.sptes, k.vcpus[V_PAGE, v]) & PRESENT == 0:
            kind = MAP
            k.vcpus[V_KIND, v] = MAP
    k.vcpus[V_STAGE, v] = REQUEST
    if stage == PFN:
        take_page(k, v)
    elif kind in (MAP, SPLIT):
        look_up(k, v, now_ns)
    if k.vcpus[V_STAGE, v] != REQUEST:
        return
    if k.vcpus[V_MODE, v] == NONE:
        k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = now_ns + k.costs[HOLD_OF, kind], DONE
    else:
        k.vcpus[V_STAGE, v] = WAITING
        join_queue(k.queue, k.state, v, k.vcpus[V_MODE, v], now_ns)


@inlined
def _done(k: Kvm, v: int) -> None:
    """State is set and logged, the lock released.

    It is read again here, at the cmpxchg: others may have set it, and revocations take effect when their flush is over,
    which is after their hold.
    """
    kind, mode, now_ns = k.vcpus[V_KIND, v], k.vcpus[V_MODE, v], k.vcpus[V_NS, v]
    write = is_write(k.ints, k.streams, k.vcpus, v)
    if kind not in (SPURIOUS, RETRY):
        if kind_now(k.sptes, k.state, k.vcpus[V_PAGE, v], write) != kind:
            kind = SPURIOUS
        elif mode == NONE and is_stale(k.state, k.vcpus, v, kind):
            kind = RETRY
    if kind not in (SPURIOUS, RETRY):
        handle(k, v, kind, k.vcpus[V_PAGE, v], write, now_ns)
    k.state[EXITS + kind] += 1
    k.vcpus[V_EXIT, v] = kind
    _log(k.log, k.state, k.vcpus, v, kind)
    if mode != NONE:
        leave_lock(k.state, mode)


@inlined
def _log(log: Ints, state: Ints, vcpus: Ints, v: int, kind: int) -> None:
    at = state[LOGGED_EXITS]
    if at < len(log):
        log[at, 0], log[at, 1] = vcpus[V_NS, v], v
        log[at, 2], log[at, 3] = vcpus[V_PAGE, v], kind
        state[LOGGED_EXITS] = at + 1


@inlined
def is_full(vcpus: Ints, state: Ints, v: int) -> bool:
    """Whether the dirty ring of vCPU ``v`` is soft-full: it may not enter the guest."""
    return bool(state[RING] == 1 and vcpus[V_RING, v] >= state[RING_SOFT])


@inlined
def _note_exit(k: Kvm, v: int) -> None:
    """What vCPU ``v`` was out of the guest for is over at V_NS."""
    if k.vcpus[V_EXIT, v] != NO_EXIT:
        note(k.latencies, k.vcpus[V_EXIT, v], k.vcpus[V_NS, v] - k.vcpus[V_AWAY_NS, v])
    k.vcpus[V_EXIT, v] = NOTHING


@inlined
def _exit_over(k: Kvm, v: int) -> None:
    """An exit has been handled at V_NS: to user space if it is asked for there, else to the guest."""
    leaving = k.vcpus[V_STAGE, v] == LEAVING
    if not leaving and k.vcpus[V_KICKED, v] == 0 and not is_full(k.vcpus, k.state, v):
        k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = k.vcpus[V_NS, v] + k.costs[COST, ENTRY_NS], ENTRY
        return
    k.vcpus[V_FULL, v] = 1 - k.vcpus[V_KICKED, v]
    k.vcpus[V_STAGE, v] = OUT
    k.vcpus[V_STALL_NS, v] += k.vcpus[V_NS, v] - k.vcpus[V_AWAY_NS, v]
    _note_exit(k, v)
    tell_host(k.state, k.vcpus[V_NS, v], DUE_OUT, v)


@inlined
def _begin(k: Kvm, v: int) -> int:
    """The event of vCPU ``v`` that is due; returns how its step ends."""
    stage = k.vcpus[V_STAGE, v]
    if stage == IN_GUEST:
        return _touch(k, v)
    if stage in (ENTRY, RESUME):
        k.vcpus[V_KIND, v] = NOTHING
        return LEAVES if k.vcpus[V_KICKED, v] == 1 else RUNS
    if stage in (REQUEST, PFN, AGAIN):
        _request(k, v)
        return WAITS
    if stage == DONE:
        _done(k, v)
    return EXIT_OVER


@inlined
def step(k: Kvm, v: int) -> None:
    """One event of vCPU ``v``."""
    in_guest = k.vcpus[V_STAGE, v] == IN_GUEST
    end = _begin(k, v)
    if end == RUNS:
        _note_exit(k, v)
        start_clocks(k.vcpus, k.clocks, k.state, v, k.vcpus[V_NS, v])
    if in_guest and end != PASSES:
        _stop(k, v)
    if end in (PASSES, STALLS) or (in_guest and k.vcpus[V_KIND, v] == PML_FULL):
        go_on(k, k.vcpus[V_STREAM, v])
    if end == STALLS:
        k.vcpus[V_EXIT, v] = NO_EXIT
        k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = k.vcpus[V_NS, v] + k.costs[COST, PML_NS], RESUME
    elif end == LEAVES:
        _leave(k, v)
    elif end == EXIT_OVER:
        _exit_over(k, v)
    elif end != WAITS:
        choose(k.vcpus, k.streams, k.clocks, k.state, v)
