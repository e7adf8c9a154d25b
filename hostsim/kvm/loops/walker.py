"""Threads of the host that make one mmu-notifier call after the other, each under mmu_lock: ageing, among the vCPUs' events.

Linux virt/kvm/kvm_main.c::kvm_handle_hva_range, mm/vmscan.c::walk_pte_range. Their events have the host's rank, and come
after what other threads of the host do in their instant; of two walkers the one in the lower slot goes first.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit
from hostsim.core.latencies import note
from hostsim.core.rng import NEVER
from hostsim.costs.exits import NONE
from hostsim.kvm.loops.ageing import Bytes, clear_young, test_young
from hostsim.kvm.loops.host import grant_all
from hostsim.kvm.loops.layout import (
    CALL_CLEAR_FLUSH,
    CALL_END,
    CALL_FIRST,
    CALL_HOLD,
    CALL_TEST,
    DUE_WALKED,
    HOLDERS,
    HOST_IDLE,
    HOST_WAITING,
    LOCK_LENGTH,
    N_DUE,
    Q_STATE,
    REORDERED,
    W_ASKED_NS,
    W_AT,
    W_CALLS,
    W_EVENT,
    W_FLUSH_COUNT,
    W_FLUSH_NS,
    W_FLUSHES,
    W_FOUND,
    W_HOLD_NS,
    W_MODE,
    W_NS,
    W_PAGES,
    W_SINCE_NS,
    W_STAGE,
    W_TOLD,
    W_WAIT_NS,
    W_YOUNG,
    WALK_AGES,
    WALK_ASKED,
    WALK_BEGINS,
    WALK_FLUSHES,
    WALK_GRANTED,
    WALK_IDLE,
    WALK_NS,
    WALKER_CALLS,
    WALKER_WAITS,
    Kvm,
)
from hostsim.kvm.loops.mmu_lock import join_queue, leave_lock, tell_contended, tell_host
from hostsim.kvm.loops.tlb import flush_translations, judge_old


@jit
def begin_walk(k: Kvm, host: int, event: int, mode: int, flushes: bool, n_calls: int, now_ns: int) -> None:
    """The walker in slot ``host`` makes the ``n_calls`` that are in Kvm.calls, from now on."""
    walk = k.walks[host]
    walk[W_EVENT], walk[W_MODE], walk[W_FLUSHES] = event, mode, flushes
    walk[W_AT], walk[W_CALLS], walk[W_TOLD], walk[W_FOUND] = 0, n_calls, 0, 0
    walk[W_STAGE] = WALK_BEGINS
    _step(k, host, now_ns)
    k.state[WALK_NS] = k.walks[_first(k), W_NS]


@jit
def walk(k: Kvm, vcpu_ns: int, horizon_ns: int) -> int:
    """Events of walkers up to ``vcpu_ns`` and strictly below ``horizon_ns``, one at least; returns the last one's time.

    Stops early when Kvm.due gets rows, or when vCPUs have other events than before.
    """
    now_ns = k.state[WALK_NS]
    last_ns = now_ns
    while now_ns <= vcpu_ns and now_ns < horizon_ns:
        host, last_ns = _first(k), now_ns
        _step(k, host, now_ns)
        now_ns = k.walks[_first(k), W_NS]
        k.state[WALK_NS] = now_ns
        if k.state[N_DUE] > 0 or k.state[REORDERED] == 1:
            break
    return int(last_ns)


@inlined
def _first(k: Kvm) -> int:
    """The host whose walker's event comes next."""
    first = 0
    for host in range(1, len(k.walks)):
        if k.walks[host, W_NS] < k.walks[first, W_NS]:
            first = host
    return first


@jit
def _step(k: Kvm, host: int, now_ns: int) -> None:
    """One event of the walker in slot ``host``; what it asks for and gets at once is of the same event."""
    walk = k.walks[host]
    if walk[W_STAGE] == WALK_AGES and walk[W_FOUND] > 0 and walk[W_FLUSHES] == 1 and walk[W_EVENT] == CALL_CLEAR_FLUSH:
        _flush(k, host, now_ns)
    elif walk[W_STAGE] != WALK_GRANTED:
        if walk[W_STAGE] != WALK_BEGINS:
            if walk[W_EVENT] != CALL_TEST:
                _clear(k, host, now_ns)
            _end_call(k, host, now_ns)
        if walk[W_AT] < walk[W_CALLS]:
            _ask(k, host, now_ns)
        else:
            walk[W_STAGE], walk[W_NS] = WALK_IDLE, NEVER
            tell_host(k.state, now_ns, DUE_WALKED, host)
    if walk[W_STAGE] == WALK_GRANTED:
        _read(k, host, now_ns)


@inlined
def _clear(k: Kvm, host: int, now_ns: int) -> None:
    """What the call found young is old now; what it calls old may have been accessed unseen."""
    walk = k.walks[host]
    first, end = k.calls[host, CALL_FIRST, walk[W_AT]], k.calls[host, CALL_END, walk[W_AT]]
    k.unseen[host] += judge_old(k, first, end, now_ns)
    if walk[W_FOUND] > 0:
        young = k.found[host][walk[W_TOLD] : walk[W_TOLD] + end - first]
        walk[W_FOUND] = clear_young(k, first, end, young, now_ns, walk[W_STAGE] == WALK_FLUSHES)


@inlined
def _ask(k: Kvm, host: int, now_ns: int) -> None:
    """A call begins: mmu_lock is asked for, if it takes it."""
    walk = k.walks[host]
    walk[W_ASKED_NS], walk[W_STAGE] = now_ns, WALK_GRANTED
    if walk[W_MODE] == NONE:
        return
    walk[W_STAGE], walk[W_NS] = WALK_ASKED, NEVER
    k.queue[Q_STATE, k.vcpus.shape[1] + host] = HOST_WAITING
    join_queue(k.queue, k.state, k.vcpus.shape[1] + host, walk[W_MODE], now_ns)
    grant_all(k, now_ns)
    if k.state[LOCK_LENGTH] > 0:
        tell_contended(k, now_ns)


@inlined
def _read(k: Kvm, host: int, now_ns: int) -> None:
    """The lock is the walker's: what is young now decides whether the call clears and flushes."""
    walk = k.walks[host]
    if walk[W_MODE] != NONE:
        note(k.latencies, WALKER_WAITS, now_ns - walk[W_ASKED_NS])
        walk[W_WAIT_NS] += now_ns - walk[W_ASKED_NS]
    call = k.calls[host, :, walk[W_AT]]
    young = k.found[host][walk[W_TOLD] : walk[W_TOLD] + call[CALL_END] - call[CALL_FIRST]]
    walk[W_FOUND] = test_young(k, call[CALL_FIRST], call[CALL_END], young)
    walk[W_SINCE_NS], walk[W_STAGE], walk[W_NS] = now_ns, WALK_AGES, now_ns + call[CALL_HOLD]


@inlined
def _flush(k: Kvm, host: int, now_ns: int) -> None:
    """kvm_flush_remote_tlbs, under mmu_lock if the call has it."""
    walk = k.walks[host]
    took_ns = k.flush_ns[flush_translations(k, now_ns)]
    walk[W_FLUSH_COUNT] += 1
    walk[W_FLUSH_NS] += took_ns
    walk[W_STAGE], walk[W_NS] = WALK_FLUSHES, now_ns + took_ns
    k.state[REORDERED] = 1


@inlined
def _end_call(k: Kvm, host: int, now_ns: int) -> None:
    """The lock goes, and whom it lets in has it, before the next call asks for it."""
    walk = k.walks[host]
    pages = k.calls[host, CALL_END, walk[W_AT]] - k.calls[host, CALL_FIRST, walk[W_AT]]
    walk[W_TOLD] += pages
    walk[W_YOUNG] += walk[W_FOUND]
    walk[W_PAGES] += pages
    note(k.latencies, WALKER_CALLS + host, now_ns - walk[W_ASKED_NS])
    walk[W_AT] += 1
    if walk[W_MODE] != NONE:
        walk[W_HOLD_NS] += now_ns - walk[W_SINCE_NS]
        k.queue[Q_STATE, k.vcpus.shape[1] + host] = HOST_IDLE
        k.state[HOLDERS] -= 1
        leave_lock(k.state, walk[W_MODE])
        if k.state[LOCK_LENGTH] > 0:
            grant_all(k, now_ns)


@jit
def take_found(k: Kvm, host: int, young: Bytes) -> None:
    """young[page] is 1, too, where a call that the walker in slot ``host`` has made found the page young.

    A page may be asked for again in the series, and is old then: the answer to the first call stays.
    """
    at = 0
    for call in range(k.walks[host, W_AT]):
        first, end = k.calls[host, CALL_FIRST, call], k.calls[host, CALL_END, call]
        for page in range(first, end):
            young[page] |= k.found[host, at + page - first]
        at += end - first
