"""Steps of a vCPU: entry and touches in the guest; request, state set and the end of an exit in the host.

All steps are compiled into one loop, so what several of them do is called at one place.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined
from hostsim.core.latency import note
from hostsim.core.rng import NEVER
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.exits import MAP, NONE, NOTHING, PML_FULL, SHARED, SPLIT, SPURIOUS, TRACK, WP
from hostsim.guest.touch import SWEEP, TRACE
from hostsim.kvm.loops.armed import flags_of, needed, sweep_sees
from hostsim.kvm.loops.backing import look_up, take_page
from hostsim.kvm.loops.cold import cold_ns
from hostsim.kvm.loops.layout import (
    AGAIN,
    DONE,
    DUE_OUT,
    ENTRY,
    EXITED,
    IN_GUEST,
    LEAVING,
    LOG,
    NO_EXIT,
    OUT,
    PFN,
    QUEUES,
    REQUEST,
    RESUME,
    RETRY,
    WAITING,
    YOUNG,
    Kvm,
)
from hostsim.kvm.loops.mapping import drain_pml, handle, note_access
from hostsim.kvm.loops.mmu_lock import is_stale, join_queue, kind_now, leave_lock, pass_wait_lock, queue_host_event
from hostsim.kvm.loops.prefetch import prefetch_sptes
from hostsim.kvm.loops.streams import choose, go_on, page_of, pass_by
from hostsim.kvm.loops.work import start_clocks, stop_clocks
from hostsim.spte_index.spte import PRESENT, STALE

PASSES, STALLS, LEAVES = range(3)
"""How an event of a vCPU in the guest ends: the guest runs on, stands still for a PML entry, or is left by the vCPU."""


@inlined
def is_write(k: Kvm, v: int) -> int:
    """Whether the access under way of vCPU ``v`` of ``k`` is a write: 1, or 0."""
    return int(k.streams[k.vcpus[v].stream].is_write)


@inlined
def drain_ns(k: Kvm, v: int) -> int:
    """Empty the PML buffer of vCPU ``v``; returns the time that this takes [ns]."""
    return int(k.costs.pml_drain_ns * drain_pml(k, v) // PML_ENTRIES)


@inlined
def _hits_tlb(k: Kvm, v: int, page: int) -> bool:
    """Whether the touch finds a STALE translation in the TLB. Drawn touches that do are no candidates."""
    if flags_of(k.sptes, page) & STALE == 0:
        return False
    stream = k.streams[k.vcpus[v].stream]
    if stream.kind not in (SWEEP, TRACE):
        return False
    return not sweep_sees(k, stream.touch_class, page, stream.is_write)


@inlined
def _touch(k: Kvm, v: int) -> int:
    """A touch that may be seen, at next_ns: it passes, is noted by the hardware, or leaves the guest for a fault.

    No stream: the vCPU has done the work that it was let in for.
    """
    vcpu = k.vcpus[v]
    if vcpu.stream < 0:  # choose found no touch before the work that the vCPU was let in for is done
        vcpu.kind, vcpu.is_kicked = NOTHING, 1
        return LEAVES
    page = page_of(k, vcpu.stream)
    # No page: fewer pages are armed than when the touch was drawn, and it fell to one that is not armed any more.
    kind = needed(k, page, is_write(k, v)) if page >= 0 else NOTHING
    if kind == YOUNG and _hits_tlb(k, v, page):
        kind = NOTHING
    vcpu.page, vcpu.kind = page, kind
    if kind == NOTHING:
        return PASSES
    if kind < LOG:
        return LEAVES
    note_access(k, page, kind)
    if kind != LOG or k.state.has_pml == 0:
        return PASSES
    k.buffers[v, vcpu.pml_entries] = page
    vcpu.pml_entries += 1
    if vcpu.pml_entries == PML_ENTRIES:
        vcpu.kind = PML_FULL
        return LEAVES
    return STALLS if k.costs.pml_ns > 0 else PASSES


@inlined
def _leave(k: Kvm, v: int) -> None:
    """Out of the guest, the PML buffer drained: for a fault, for a full buffer, or to user space."""
    vcpu = k.vcpus[v]
    kind, now_ns = vcpu.kind, vcpu.next_ns
    left_ns = now_ns + k.costs.exit_ns + drain_ns(k, v)
    if kind == PML_FULL:
        k.state.exits[PML_FULL] += 1
        vcpu.exit_kind = PML_FULL
        vcpu.next_ns, vcpu.stage = left_ns + k.costs.pml_ns, EXITED
    elif kind == NOTHING:
        vcpu.next_ns, vcpu.stage = left_ns, LEAVING
    else:
        mode = k.costs.lock_modes[kind]
        vcpu.lock_mode = mode
        if k.costs.is_cold == 1:
            left_ns += cold_ns(k, v, now_ns)
        # fast_page_fault needs no host page, so nothing is read between the exit and the cmpxchg that sets W: one step.
        alone = mode == NONE and kind in (WP, TRACK)
        vcpu.next_ns = left_ns + (k.costs.hold_ns[kind] if alone else k.costs.before_ns[kind])
        vcpu.stage = DONE if alone else REQUEST


@inlined
def _stop(k: Kvm, v: int) -> None:
    """The clocks stand still from next_ns on; touches of this instant that come before the one under way are over."""
    vcpu = k.vcpus[v]
    s = vcpu.stream
    # Before the clocks stop: a stopped clock says that nothing of this instant has been done, and those touches would come
    # again.
    pass_by(k, v, s if s >= 0 else vcpu.stream_end, vcpu.next_ns)
    stop_clocks(k, v, vcpu.next_ns)
    if s >= 0:
        k.streams[s].index = k.streams[s].found_index
    else:
        vcpu.stop_work_ns = NEVER


@inlined
def _request(k: Kvm, v: int) -> None:
    """The vCPU reads mmu_invalidate_seq, looks its host page up, and asks for the lock.

    It looks up a page, too, that was unmapped since the touch: its host page may be gone.
    """
    vcpu = k.vcpus[v]
    kind, stage, now_ns = vcpu.kind, vcpu.stage, vcpu.next_ns
    if stage == REQUEST:
        # Read before the host page is looked up: an invalidation that comes between the two has to be seen at the grant.
        vcpu.invalidate_seq = k.state.invalidate_seq
        if kind != SPLIT and flags_of(k.sptes, vcpu.page) & PRESENT == 0:
            kind = MAP
            vcpu.kind = MAP
    vcpu.stage = REQUEST
    if stage == PFN:
        take_page(k, v)
    elif kind in (MAP, SPLIT):
        look_up(k, v, now_ns)
    if vcpu.stage != REQUEST:
        return
    if vcpu.lock_mode == NONE:
        vcpu.next_ns, vcpu.stage = now_ns + k.costs.hold_ns[kind], DONE
    else:
        k.waiters[v].asked_ns = now_ns
        if vcpu.lock_mode == SHARED and k.costs.wait_lock_ns > 0 and k.state.lock_writers + k.state.lock_queued > 0:
            vcpu.next_ns, vcpu.stage = pass_wait_lock(k, now_ns), QUEUES
        else:
            _queue(k, v)


@inlined
def _queue(k: Kvm, v: int) -> None:
    """VCPU ``v`` stands in the queue of mmu_lock."""
    k.vcpus[v].stage = WAITING
    join_queue(k, v, k.vcpus[v].lock_mode)


@inlined
def _done(k: Kvm, v: int) -> None:
    """The vCPU sets the spte, logs, and drops the lock."""
    vcpu = k.vcpus[v]
    kind, mode, now_ns = vcpu.kind, vcpu.lock_mode, vcpu.next_ns
    write = is_write(k, v)
    # The spte is read again here, at the cmpxchg. Without the lock another vCPU may have set it; with the lock, exclusive as
    # well, a revocation may have: it takes effect when its flush is over, which is after its hold.
    if kind not in (SPURIOUS, RETRY):
        if kind_now(k, vcpu.page, write) != kind:
            kind = SPURIOUS
        # With the lock the grant has asked, and no invalidation begins or ends until it is dropped.
        elif mode == NONE and is_stale(k, v, kind):
            kind = RETRY
    if kind not in (SPURIOUS, RETRY):
        handle(k, v, kind, vcpu.page, write, now_ns)
        if vcpu.prefetched != 0:
            prefetch_sptes(k, v)
    vcpu.prefetched = 0
    k.state.exits[kind] += 1
    vcpu.exit_kind = kind
    log_exit(k, v, kind)
    if mode != NONE:
        leave_lock(k.state, mode)


@inlined
def log_exit(k: Kvm, v: int, kind: int) -> None:
    """Append the exit of vCPU ``v``, of ``kind``, to ``k.log`` while there is room."""
    at = k.state.logged_exits
    if at < len(k.log):
        exit_ = k.log[at]
        exit_.ns, exit_.vcpu = k.vcpus[v].next_ns, v
        exit_.page, exit_.kind = k.vcpus[v].page, kind
        exit_.since_ns, exit_.lock_mode = k.vcpus[v].away_since_ns, k.vcpus[v].lock_mode
        exit_.asked_ns, exit_.granted_ns = k.waiters[v].asked_ns, k.vcpus[v].granted_ns
        k.state.logged_exits = at + 1


@inlined
def is_full(k: Kvm, v: int) -> bool:
    """Whether the dirty ring of vCPU ``v`` is soft-full: it may not enter the guest."""
    return bool(k.state.has_rings == 1 and k.vcpus[v].ring_entries >= k.state.ring_soft_entries)


@inlined
def _note_exit(k: Kvm, v: int) -> None:
    """The exit of vCPU ``v`` is over at next_ns: its latency is counted."""
    vcpu = k.vcpus[v]
    if vcpu.exit_kind != NO_EXIT:
        note(k.latencies, vcpu.exit_kind, vcpu.next_ns - vcpu.away_since_ns)
    vcpu.exit_kind = NOTHING


@inlined
def _exit_over(k: Kvm, v: int) -> None:
    """An exit has been handled at next_ns: to user space if the vCPU is kicked or its ring is full, else to the guest."""
    vcpu = k.vcpus[v]
    leaving = vcpu.stage == LEAVING
    if not leaving and vcpu.is_kicked == 0 and not is_full(k, v):
        vcpu.next_ns, vcpu.stage = vcpu.next_ns + k.costs.entry_ns, ENTRY
        return
    vcpu.is_ring_full = 1 - vcpu.is_kicked  # kicked with a full ring: the thread asks for itself (KvmVcpu.must_reap)
    vcpu.stage = OUT
    vcpu.stall_ns += vcpu.next_ns - vcpu.away_since_ns
    _note_exit(k, v)
    queue_host_event(k, vcpu.next_ns, DUE_OUT, v)


@inlined
def _enter(k: Kvm, v: int) -> int:
    """VCPU ``v`` enters the guest at next_ns, unless it is kicked; returns how its step ends."""
    vcpu = k.vcpus[v]
    vcpu.kind = NOTHING
    if vcpu.is_kicked == 1:
        return LEAVES
    _note_exit(k, v)
    vcpu.entered_ns = vcpu.next_ns
    start_clocks(k, v, vcpu.next_ns)
    return PASSES


@inlined
def is_in_guest(stage: int) -> bool:
    """Whether the next step of a vCPU is one of the guest: it touches a page, or enters."""
    return bool(stage in (IN_GUEST, ENTRY, RESUME))


@inlined
def step_in_guest(k: Kvm, v: int) -> None:
    """A touch of vCPU ``v``, or its entry."""
    vcpu = k.vcpus[v]
    if vcpu.stage == IN_GUEST:
        end = _touch(k, v)
        if end != PASSES:
            _stop(k, v)
        # A fault keeps its candidate: the access is made again at the entry. A touch that passed, or that the hardware
        # logged, is over.
        if end != LEAVES or vcpu.kind == PML_FULL:
            go_on(k, vcpu.stream)
    else:
        end = _enter(k, v)
    if end == PASSES:
        choose(k, v)
    elif end == LEAVES:
        _leave(k, v)
    else:
        vcpu.exit_kind = NO_EXIT
        vcpu.next_ns, vcpu.stage = vcpu.next_ns + k.costs.pml_ns, RESUME


@inlined
def step_in_host(k: Kvm, v: int) -> None:
    """A step of the exit of vCPU ``v``."""
    stage = k.vcpus[v].stage
    if stage in (REQUEST, PFN, AGAIN):
        _request(k, v)
    elif stage == QUEUES:
        _queue(k, v)
    else:
        if stage == DONE:
            _done(k, v)
        _exit_over(k, v)
