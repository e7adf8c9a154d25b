"""mmu_lock: first come, first served; readers at the head of the queue enter together.

vCPUs and threads of the host stand in one queue.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, part
from hostsim.core.latencies import note
from hostsim.costs.exits import MAP, NOTHING, SHARED, SPLIT, SPURIOUS
from hostsim.guest.touch import IS_WRITE
from hostsim.kvm.loops.armed import needed
from hostsim.kvm.loops.hptes import at_cap
from hostsim.kvm.loops.layout import (
    COST,
    DONE,
    DUE,
    DUE_CONTENDED,
    DUE_GRANTED,
    HOLD_NS,
    HOLD_OF,
    HOLDERS,
    HOST_HOLDS,
    IN_PROGRESS,
    LOCK_HEAD,
    LOCK_HOLDS,
    LOCK_LENGTH,
    LOCK_READERS,
    LOCK_WAITS,
    LOCK_WRITERS,
    LOG,
    N_DUE,
    Q_ASKED,
    Q_MODE,
    Q_STATE,
    Q_WATCH,
    Q_WHO,
    QUEUE_LENGTH,
    QUEUE_OF,
    RANGE_END,
    RANGE_FIRST,
    RETRY,
    S_CLASS,
    SEQ,
    SPURIOUS_NS,
    UNMAP_ALL_NS,
    V_KIND,
    V_MODE,
    V_NS,
    V_PAGE,
    V_SEQ,
    V_STAGE,
    V_STREAM,
    W_NS,
    W_STAGE,
    WAIT_NS,
    WALK_ASKED,
    WALK_GRANTED,
    WALK_NS,
    Ints,
    Kvm,
)
from hostsim.spte_index.spte import Sptes


@inlined
def tell_host(state: Ints, now_ns: int, what: int, who: int) -> None:
    """Something comes up for the host."""
    at = DUE + 3 * state[N_DUE]
    state[at], state[at + 1], state[at + 2] = now_ns, what, who
    state[N_DUE] += 1


@inlined
def join_queue(queue: Ints, state: Ints, who: int, mode: int, now_ns: int) -> None:
    """``who`` (a vCPU, or n_vcpus + a host) waits for the lock; hosts that want to know are told."""
    queue[Q_MODE, who], queue[Q_ASKED, who] = mode, now_ns
    at = state[LOCK_HEAD] + state[LOCK_LENGTH]
    queue[Q_WHO, at - queue.shape[1] if at >= queue.shape[1] else at] = who
    state[LOCK_LENGTH] += 1


@part
def tell_contended(k: Kvm, now_ns: int) -> None:
    """Hosts that hold the lock and watch it are told once that somebody waits."""
    if k.state[LOCK_LENGTH] == 0 or k.state[HOLDERS] == 0:
        return
    for host in range(k.queue.shape[1] - k.vcpus.shape[1]):
        at = k.vcpus.shape[1] + host
        if k.queue[Q_WATCH, at] == 1 and k.queue[Q_STATE, at] == HOST_HOLDS:
            k.queue[Q_WATCH, at] = 0
            tell_host(k.state, now_ns, DUE_CONTENDED, host)


@inlined
def leave_lock(state: Ints, mode: int) -> None:
    """A holder lets go."""
    state[LOCK_READERS if mode == SHARED else LOCK_WRITERS] -= 1


@inlined
def grant_next(k: Kvm, now_ns: int) -> int:
    """Let the head of the queue in, if it may; returns who, or -1."""
    if k.state[LOCK_LENGTH] == 0:
        return -1
    who = k.queue[Q_WHO, k.state[LOCK_HEAD]]
    mode = k.queue[Q_MODE, who]
    if k.state[LOCK_WRITERS] > 0 or (mode != SHARED and k.state[LOCK_READERS] > 0):
        return -1
    head = k.state[LOCK_HEAD] + 1
    k.state[LOCK_HEAD] = head if head < k.queue.shape[1] else 0
    k.state[LOCK_LENGTH] -= 1
    others = k.state[LOCK_LENGTH] + k.state[LOCK_READERS] + k.state[LOCK_WRITERS]
    k.state[LOCK_READERS if mode == SHARED else LOCK_WRITERS] += 1
    if who < k.vcpus.shape[1]:
        _begin_hold(k, who, mode, others, now_ns)
    else:
        host = who - k.vcpus.shape[1]
        k.queue[Q_STATE, k.vcpus.shape[1] + host] = HOST_HOLDS
        k.state[HOLDERS] += 1
        if k.walks[host, W_STAGE] == WALK_ASKED:
            k.walks[host, W_STAGE], k.walks[host, W_NS] = WALK_GRANTED, now_ns
            k.state[WALK_NS] = now_ns
        else:
            tell_host(k.state, now_ns, DUE_GRANTED, host)
    return int(who)


@inlined
def is_stale(state: Ints, vcpus: Ints, v: int, kind: int) -> bool:
    """mmu_invalidate_retry_gfn: whether an invalidation has gone, or goes, over the page that a fault looked up."""
    if kind not in (MAP, SPLIT):
        return False
    page = vcpus[V_PAGE, v]
    if state[IN_PROGRESS] > 0 and state[RANGE_FIRST] <= page < state[RANGE_END]:
        return True
    return bool(state[SEQ] != vcpus[V_SEQ, v])


@inlined
def kind_now(sptes: Sptes, state: Ints, page: int, is_write: bool) -> int:
    """What an access that faulted needs now; SPURIOUS if no fault any more."""
    kind = needed(sptes, state, page, is_write)
    return SPURIOUS if kind == NOTHING or kind >= LOG else kind


@inlined
def _begin_hold(k: Kvm, v: int, mode: int, others: int, now_ns: int) -> None:
    """The lock is vCPU ``v``'s: read the state, hold as long as that takes."""
    is_write = k.ints[k.streams[k.vcpus[V_STREAM, v], S_CLASS], IS_WRITE] == 1
    kind = kind_now(k.sptes, k.state, k.vcpus[V_PAGE, v], is_write)
    hold_ns = k.costs[COST, SPURIOUS_NS]
    if is_stale(k.state, k.vcpus, v, kind):
        kind = RETRY
    elif kind != SPURIOUS:
        hold_ns = k.costs[HOLD_OF, kind] + k.costs[QUEUE_OF + mode, min(others, k.costs[COST, QUEUE_LENGTH] - 1)]
        if at_cap(k.state, kind):
            hold_ns += k.costs[COST, UNMAP_ALL_NS]
    k.state[WAIT_NS] += now_ns - k.queue[Q_ASKED, v]
    k.state[HOLD_NS] += hold_ns
    note(k.latencies, LOCK_WAITS, now_ns - k.queue[Q_ASKED, v])
    note(k.latencies, LOCK_HOLDS, hold_ns)
    k.vcpus[V_KIND, v], k.vcpus[V_MODE, v] = kind, mode
    k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = now_ns + hold_ns, DONE
