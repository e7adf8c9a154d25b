"""mmu_lock: first come, first served; readers at the head of the queue enter together.

vCPUs and threads of the host stand in one queue.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, part
from hostsim.core.latency import note
from hostsim.costs.exits import EXCLUSIVE, MAP, NOTHING, SHARED, SPLIT, SPURIOUS
from hostsim.kvm.loops.armed import needed
from hostsim.kvm.loops.hptes import at_cap
from hostsim.kvm.loops.layout import (
    DONE,
    DUE_CONTENDED,
    DUE_GRANTED,
    HOST_HOLDS,
    LOCK_HOLDS,
    LOCK_WAITS,
    LOG,
    NO_PREFETCH,
    RETRY,
    WALK_ASKED,
    WALK_GRANTED,
    Kvm,
    State,
)
from hostsim.kvm.loops.prefetch import count_bits, prefetched


@inlined
def queue_host_event(k: Kvm, now_ns: int, what: int, who: int) -> None:
    """Append a row to ``k.due``: an event that the host has to handle.

    now_ns: its time.
    what: DUE_GRANTED ... DUE_WALKED.
    who: the vCPU or the host slot, by ``what``.
    """
    due = k.due[k.state.n_due]
    due.ns, due.what, due.who = now_ns, what, who
    k.state.n_due += 1


@inlined
def join_queue(k: Kvm, who: int, mode: int) -> None:
    """Queue ``who``, a vCPU or n_vcpus + a host slot, for the lock; mode: SHARED or EXCLUSIVE."""
    k.waiters[who].lock_mode = mode
    at = k.state.lock_head + k.state.lock_queued
    # A comparison and no remainder: a division costs more than the rest of a request.
    k.lock_ring[at - len(k.lock_ring) if at >= len(k.lock_ring) else at] = who
    k.state.lock_queued += 1


@inlined
def pass_wait_lock(k: Kvm, now_ns: int) -> int:
    """When a reader that meets a writer at ``now_ns`` is in the queue [ns]; kernel/locking/qrwlock.c, its slow path.

    The reader takes its count back, takes wait_lock, and counts again. wait_lock lies in the line of the lock word, and
    has one owner at a time. A writer may take the lock again meanwhile.
    """
    k.state.wait_lock_ns = max(k.state.wait_lock_ns, now_ns) + k.costs.wait_lock_ns
    return int(k.state.wait_lock_ns)


@part
def queue_contended(k: Kvm, now_ns: int) -> None:
    """Report to each host that holds the lock of ``k`` and watches it, once, that a waiter is queued at ``now_ns``."""
    # After each step of an exit: hosts hold the lock rarely, and the loop over them is left out then.
    if k.state.lock_queued == 0 or k.state.host_holders == 0:
        return
    for host in range(len(k.waiters) - len(k.vcpus)):
        at = len(k.vcpus) + host
        if k.waiters[at].is_watched == 1 and k.waiters[at].state == HOST_HOLDS:
            k.waiters[at].is_watched = 0
            queue_host_event(k, now_ns, DUE_CONTENDED, host)


@inlined
def leave_lock(state: State, mode: int) -> None:
    """Take one holder of ``mode``, SHARED or EXCLUSIVE, off the counts in ``state``."""
    if mode == SHARED:
        state.lock_readers -= 1
    else:
        state.lock_writers -= 1


@inlined
def grant_next(k: Kvm, now_ns: int) -> int:
    """Grant the lock of ``k`` to the head of the queue at ``now_ns``, if it can be granted; returns the head, or -1."""
    if k.state.lock_queued == 0 or k.state.lock_writers > 0:
        return -1
    who = k.lock_ring[k.state.lock_head]
    mode = k.waiters[who].lock_mode
    # The head alone is looked at: a reader behind a writer waits, or readers could starve the writer (queued rwlock).
    if mode != SHARED and k.state.lock_readers > 0:
        return -1
    head = k.state.lock_head + 1
    k.state.lock_head = head if head < len(k.waiters) else 0
    k.state.lock_queued -= 1
    # Those that spin on the lock, or share it, slow the holder down: counted before the new holder is.
    others = k.state.lock_queued + k.state.lock_readers + k.state.lock_writers
    # The lock word and what the lock protects lie in the cache of the last holder, whether or not another waits.
    if others == 0 and mode == EXCLUSIVE and k.state.lock_last != 1 + who:
        others = min(1, k.state.lock_last)
    word_ns = k.costs.word_ns if 0 < k.state.lock_last <= len(k.vcpus) else 0
    k.state.lock_last = 1 + who
    if mode == SHARED:
        k.state.lock_readers += 1
    else:
        k.state.lock_writers += 1
    if who < len(k.vcpus):
        _begin_hold(k, who, mode, others, now_ns)
    else:
        host = who - len(k.vcpus)
        k.waiters[who].state = HOST_HOLDS
        k.waiters[who].word_ns = word_ns
        k.state.host_holders += 1
        # A walker goes on among the events of the vCPUs; a host process is woken on SimPy's clock.
        if k.walks[host].stage == WALK_ASKED:
            k.walks[host].stage, k.walks[host].next_ns = WALK_GRANTED, now_ns + word_ns
            k.state.walk_ns = min(k.state.walk_ns, now_ns + word_ns)
        else:
            queue_host_event(k, now_ns, DUE_GRANTED, host)
    return int(who)


@inlined
def is_stale(k: Kvm, v: int, kind: int) -> bool:
    """mmu_invalidate_retry_gfn: whether an invalidation went, or goes, over the page that vCPU ``v`` looked up.

    kind: of the fault; only MAP and SPLIT use the host page.
    """
    if kind not in (MAP, SPLIT):
        return False
    state, page = k.state, k.vcpus[v].page
    if state.invalidate_in_progress > 0 and state.invalidate_first <= page < state.invalidate_end:
        return True
    return bool(state.invalidate_seq != k.vcpus[v].invalidate_seq)


@inlined
def kind_now(k: Kvm, page: int, is_write: int) -> int:
    """Kind of fault that an access to ``page`` needs now; SPURIOUS if it needs none any more.

    ``k`` is read only.
    is_write: the access writes.
    """
    kind = needed(k, page, is_write)
    return SPURIOUS if kind == NOTHING or kind >= LOG else kind


@inlined
def _let_in(k: Kvm, now_ns: int) -> int:
    """Time until a reader that has waited in the queue is let in [ns]: each gets wait_lock from the one before."""
    in_ns = max(k.state.entered_ns, now_ns)
    k.state.entered_ns = in_ns + k.costs.word_ns
    return int(in_ns - now_ns)


@inlined
def _begin_hold(k: Kvm, v: int, mode: int, others: int, now_ns: int) -> None:
    """VCPU ``v`` has the lock: read the spte, and hold the lock for as long as the fault takes."""
    vcpu = k.vcpus[v]
    kind = kind_now(k, vcpu.page, k.streams[vcpu.stream].is_write)
    hold_ns = k.costs.spurious_ns
    if is_stale(k, v, kind):
        kind = RETRY
    elif kind != SPURIOUS:
        hold_ns = k.costs.hold_ns[kind] + k.queue_ns[mode, min(others, k.costs.queue_length - 1)]
        if at_cap(k.state, kind):
            hold_ns += k.costs.unmap_all_ns
        if k.state.prefetches != NO_PREFETCH:
            vcpu.prefetched = prefetched(k, kind, vcpu.page)
            hold_ns += k.costs.prefetch_ns * count_bits(vcpu.prefetched)
    if mode == SHARED and k.waiters[v].asked_ns < now_ns:
        hold_ns += _let_in(k, now_ns)
    k.state.wait_ns += now_ns - k.waiters[v].asked_ns
    k.state.hold_ns += hold_ns
    note(k.latencies, LOCK_WAITS, now_ns - k.waiters[v].asked_ns)
    note(k.latencies, LOCK_HOLDS, hold_ns)
    vcpu.kind, vcpu.lock_mode = kind, mode
    vcpu.granted_ns = now_ns
    vcpu.next_ns, vcpu.stage = now_ns + hold_ns, DONE
