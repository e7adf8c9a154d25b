"""Threads of the host that make one mmu-notifier call after the other, each under mmu_lock: ageing, among the vCPUs' events.

Linux virt/kvm/kvm_main.c::kvm_handle_hva_range, mm/vmscan.c::walk_pte_range. Their events have the host's rank, and come
after those of other threads of the host in the same instant; of two walkers the one in the lower slot goes first.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit, part
from hostsim.core.latency import note
from hostsim.core.rng import NEVER
from hostsim.costs.exits import NONE
from hostsim.kvm.loops.ageing import Bytes, clear_young, test_young
from hostsim.kvm.loops.host import grant_all
from hostsim.kvm.loops.layout import (
    CALL_CLEAR_FLUSH,
    CALL_TEST,
    DUE_WALKED,
    HOST_IDLE,
    HOST_WAITING,
    WALK_AGES,
    WALK_ASKED,
    WALK_BEGINS,
    WALK_FLUSHES,
    WALK_GRANTED,
    WALK_IDLE,
    WALKER_CALLS,
    WALKER_WAITS,
    Kvm,
)
from hostsim.kvm.loops.mmu_lock import join_queue, leave_lock, queue_contended, queue_host_event
from hostsim.kvm.loops.tlb import flush_translations, judge_old


@jit
def begin_walk(k: Kvm, host: int, event: int, mode: int, flushes: bool, n_calls: int, now_ns: int) -> None:
    """Let the walker in slot ``host`` make calls [0, n_calls) of ``k.calls[host]``, one after the other, from ``now_ns`` on.

    event: CALL_CLEAR_FLUSH, CALL_CLEAR or CALL_TEST.
    mode: how the kernel takes mmu_lock for ageing: SHARED, EXCLUSIVE or NONE.
    flushes: CALL_CLEAR_FLUSH flushes young pages.
    """
    walk = k.walks[host]
    walk.event, walk.lock_mode, walk.does_flush = event, mode, flushes
    walk.call, walk.n_calls, walk.found_bytes, walk.found = 0, n_calls, 0, 0
    walk.stage = WALK_BEGINS
    _step(k, host, now_ns)
    k.state.walk_ns = k.walks[_first(k)].next_ns


@part
def walk(k: Kvm, vcpu_ns: int, horizon_ns: int) -> int:
    """Events of walkers up to ``vcpu_ns`` and strictly below ``horizon_ns``, one at least; returns the last one's time.

    Stops early when Kvm.due gets rows, or when the next events of vCPUs have changed: they may come before a walker's.
    """
    now_ns = k.state.walk_ns
    last_ns = now_ns
    while now_ns <= vcpu_ns and now_ns < horizon_ns:
        host, last_ns = _first(k), now_ns
        _step(k, host, now_ns)
        now_ns = k.walks[_first(k)].next_ns
        k.state.walk_ns = now_ns
        if k.state.n_due > 0 or k.state.is_reordered == 1:
            break
    return int(last_ns)


@inlined
def _first(k: Kvm) -> int:
    """The host whose walker's event comes next."""
    first = 0
    for host in range(1, len(k.walks)):
        if k.walks[host].next_ns < k.walks[first].next_ns:
            first = host
    return first


@part
def _step(k: Kvm, host: int, now_ns: int) -> None:
    """One event of the walker in slot ``host``; a lock that it asks for and is granted at once is part of the event."""
    walk = k.walks[host]
    if walk.stage == WALK_AGES and walk.found > 0 and walk.does_flush == 1 and walk.event == CALL_CLEAR_FLUSH:
        _flush(k, host, now_ns)
    elif walk.stage != WALK_GRANTED:
        if walk.stage != WALK_BEGINS:
            if walk.event != CALL_TEST:
                _clear(k, host, now_ns)
            _end_call(k, host, now_ns)
        if walk.call < walk.n_calls:
            _ask(k, host, now_ns)
        else:
            walk.stage, walk.next_ns = WALK_IDLE, NEVER
            queue_host_event(k, now_ns, DUE_WALKED, host)
    if walk.stage == WALK_GRANTED and walk.next_ns <= now_ns:
        _read(k, host, now_ns)


@inlined
def _clear(k: Kvm, host: int, now_ns: int) -> None:
    """Make the pages that the call found young old; count those that it calls old although they were accessed."""
    walk = k.walks[host]
    first, end = k.calls[host, walk.call].first, k.calls[host, walk.call].end
    # Before they are cleared: clearing begins their time unseen anew.
    k.unseen[host] += judge_old(k, first, end, now_ns)
    if walk.found > 0:
        young = k.found[host][walk.found_bytes : walk.found_bytes + end - first]
        walk.found = clear_young(k, first, end, young, now_ns, walk.stage == WALK_FLUSHES)


@inlined
def _ask(k: Kvm, host: int, now_ns: int) -> None:
    """A call begins, and asks for mmu_lock if the kernel takes it for ageing."""
    walk = k.walks[host]
    walk.asked_ns, walk.stage, walk.next_ns = now_ns, WALK_GRANTED, now_ns
    if walk.lock_mode == NONE:
        return
    walk.stage, walk.next_ns = WALK_ASKED, NEVER
    k.waiters[len(k.vcpus) + host].state = HOST_WAITING
    join_queue(k, len(k.vcpus) + host, walk.lock_mode)
    grant_all(k, now_ns)
    if k.state.lock_queued > 0:
        queue_contended(k, now_ns)


@inlined
def _read(k: Kvm, host: int, now_ns: int) -> None:
    """The walker has the lock and its word. Pages that are young now decide whether the call clears and flushes."""
    walk = k.walks[host]
    if walk.lock_mode != NONE:
        waited_ns = now_ns - k.waiters[len(k.vcpus) + host].word_ns - walk.asked_ns
        note(k.latencies, WALKER_WAITS, waited_ns)
        walk.wait_ns += waited_ns
    call = k.calls[host, walk.call]
    young = k.found[host][walk.found_bytes : walk.found_bytes + call.end - call.first]
    walk.found = test_young(k, call.first, call.end, young)
    walk.since_ns, walk.stage, walk.next_ns = now_ns, WALK_AGES, now_ns + call.hold_ns


@inlined
def _flush(k: Kvm, host: int, now_ns: int) -> None:
    """kvm_flush_remote_tlbs, with mmu_lock held if the call has it."""
    walk = k.walks[host]
    took_ns = k.flush_ns[flush_translations(k, now_ns)]
    walk.flushes += 1
    walk.flush_ns += took_ns
    walk.stage, walk.next_ns = WALK_FLUSHES, now_ns + took_ns
    k.state.is_reordered = 1  # the IPI took vCPUs out of the guest


@inlined
def _end_call(k: Kvm, host: int, now_ns: int) -> None:
    """Count the call and drop the lock."""
    walk = k.walks[host]
    pages = k.calls[host, walk.call].end - k.calls[host, walk.call].first
    walk.found_bytes += pages
    walk.young += walk.found
    walk.pages += pages
    note(k.latencies, WALKER_CALLS + host, now_ns - walk.asked_ns)
    walk.call += 1
    if walk.lock_mode != NONE:
        walk.hold_ns += now_ns - walk.since_ns
        k.waiters[len(k.vcpus) + host].state = HOST_IDLE
        k.state.host_holders -= 1
        leave_lock(k.state, walk.lock_mode)
        # The head of the queue is granted the lock now. The walker's next call asks for it in the same instant, behind it.
        if k.state.lock_queued > 0:
            grant_all(k, now_ns)


@jit
def take_found(k: Kvm, host: int, young: Bytes) -> None:
    """Set ``young`` to 1 where a call of the walker in slot ``host`` found the page young; other pages stay as they are.

    A page may be asked for again in the series, and is old then: the answer to the first call stays.
    """
    at = 0
    for call in range(k.walks[host].call):
        first, end = k.calls[host, call].first, k.calls[host, call].end
        for page in range(first, end):
            young[page] |= k.found[host, at + page - first]
        at += end - first
