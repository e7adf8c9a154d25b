"""Guests that exit: all vCPUs of a VM advanced in exact time order, ``mmu_lock`` queue included.

One heap of vCPUs by (ns, vCPU). An exit is four steps: touch at w; request at w + exit; grant at a; state set, logged and
released at a + hold; re-entry after the entry, where the access completes or faults again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.jit import jit
from hostsim.kernels.faults import NOTHING, PML_FULL, SPURIOUS, handle, log_by_hardware, needed
from hostsim.mmu.spte import Sptes

NONE, SHARED, EXCLUSIVE = range(3)
"""How a fault takes mmu_lock."""
TOUCH, REQUEST, WAITING, DONE, ENTRY, FINISHED = range(6)
"""What comes next for a vCPU; WAITING vCPUs stand in the lock's queue, not in the heap."""
READERS, WRITERS, HEAD, LENGTH = range(4)
"""Of Lock.state."""
WAIT_NS, HOLD_NS, LOGGED = range(3)
"""Of Counts.sums."""
PML_ENTRIES = 512
"""Entries of a PML buffer (arch/x86/kvm/vmx/vmx.h)."""

Ints = NDArray[np.int64]


class Vcpus(NamedTuple):
    """int64[n_vcpus] each, in place.

    ns, stage: what comes next, and when; page: of the access under way; kind, mode: of its exit; asked_ns: when the lock was
    asked for; pml: entries in the PML buffer; completed: accesses so far. end, step, is_write, loop_ns: the rest of the
    program: accesses to page, page + step .. below end, each loop_ns after the one before completed.
    """

    ns: Ints
    stage: Ints
    page: Ints
    kind: Ints
    mode: Ints
    asked_ns: Ints
    pml: Ints
    completed: Ints
    end: Ints
    step: Ints
    is_write: Ints
    loop_ns: Ints


class Lock(NamedTuple):
    """mmu_lock. queue: int64[n_vcpus], a ring of those who wait; state: int64[4], READERS .. LENGTH. In place."""

    queue: Ints
    state: Ints


class ExitCosts(NamedTuple):
    """Nanoseconds. mode, hold_ns: int64[N_KINDS] by kind; queue_ns: int64[3, k], added to a hold in a mode with k others."""

    exit_ns: int
    entry_ns: int
    spurious_ns: int
    pml_ns: int
    pml_drain_ns: int
    mode: Ints
    hold_ns: Ints
    queue_ns: Ints


class Slot(NamedTuple):
    """How the slot is logged, and whether host memory comes in huge pages."""

    logged: bool
    pml: bool
    huge: bool


class Counts(NamedTuple):
    """In place. exits: int64[N_KINDS] by kind handled; sums: int64[3], WAIT_NS ..; log: int64[capacity, 4] gets
    (t_set, vcpu, page, kind), capacity may be 0.
    """

    exits: Ints
    sums: Ints
    log: Ints


@jit
def _before(ns: Ints, a: int, b: int) -> bool:
    return bool(ns[a] < ns[b] or (ns[a] == ns[b] and a < b))


@jit
def push(heap: Ints, size: int, ns: Ints, v: int) -> int:
    """Add vCPU ``v`` to the heap of ``size``; returns the new size."""
    at = size
    while at > 0 and _before(ns, v, heap[(at - 1) // 2]):
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = v
    return size + 1


@jit
def sift_top(heap: Ints, size: int, ns: Ints, v: int) -> None:
    """Put ``v`` where it belongs, the place at the top being free."""
    at = 0
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and _before(ns, heap[below + 1], heap[below]):
            below += 1
        if not _before(ns, heap[below], v):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = v


@jit
def _needs(sptes: Sptes, vcpus: Vcpus, v: int) -> int:
    return needed(sptes, vcpus.page[v], vcpus.is_write[v] == 1)


@jit
def _access(sptes: Sptes, vcpus: Vcpus, slot: Slot, costs: ExitCosts, counts: Counts, v: int) -> None:
    """An access at ns[v]: completes, or leaves for its exit."""
    kind = _needs(sptes, vcpus, v)
    if kind == NOTHING:
        _complete(vcpus, v, _logged_ns(sptes, vcpus, slot, costs, counts, v))
        return
    asked_ns = vcpus.ns[v] + costs.exit_ns + costs.pml_drain_ns * vcpus.pml[v] // PML_ENTRIES
    vcpus.pml[v] = 0
    vcpus.kind[v], vcpus.mode[v] = kind, costs.mode[kind]
    if costs.mode[kind] == NONE:
        vcpus.ns[v], vcpus.stage[v] = asked_ns + costs.hold_ns[kind], DONE
    else:
        vcpus.ns[v], vcpus.stage[v] = asked_ns, REQUEST


@jit
def _logged_ns(sptes: Sptes, vcpus: Vcpus, slot: Slot, costs: ExitCosts, counts: Counts, v: int) -> int:
    """When an access without a fault completes: PML may log it, and its buffer may be full."""
    now_ns = vcpus.ns[v]
    if not (slot.pml and slot.logged and vcpus.is_write[v] == 1 and log_by_hardware(sptes, vcpus.page[v])):
        return int(now_ns)
    vcpus.pml[v] += 1
    if vcpus.pml[v] < PML_ENTRIES:
        return int(now_ns + costs.pml_ns)
    vcpus.pml[v] = 0
    counts.exits[PML_FULL] += 1
    return int(now_ns + costs.pml_ns + costs.exit_ns + costs.pml_drain_ns + costs.entry_ns)


@jit
def _complete(vcpus: Vcpus, v: int, now_ns: int) -> None:
    """The access is over: the next one, or the end of the program."""
    vcpus.completed[v] += 1
    vcpus.page[v] += vcpus.step[v]
    ended = vcpus.page[v] >= vcpus.end[v]
    vcpus.ns[v] = now_ns if ended else now_ns + vcpus.loop_ns[v]
    vcpus.stage[v] = FINISHED if ended else TOUCH


@jit
def _ask(vcpus: Vcpus, lock: Lock, v: int) -> None:
    """Join the queue of mmu_lock."""
    vcpus.asked_ns[v], vcpus.stage[v] = vcpus.ns[v], WAITING
    lock.queue[(lock.state[HEAD] + lock.state[LENGTH]) % len(lock.queue)] = v
    lock.state[LENGTH] += 1


@jit
def _done(sptes: Sptes, vcpus: Vcpus, lock: Lock, slot: Slot, costs: ExitCosts, counts: Counts, v: int) -> None:
    """State is set and logged, the lock released. Without the lock to oneself it is read again here, at the cmpxchg."""
    kind = vcpus.kind[v]
    if vcpus.mode[v] != EXCLUSIVE and kind != SPURIOUS and _needs(sptes, vcpus, v) != kind:
        kind = SPURIOUS
    if kind != SPURIOUS:
        handle(sptes, kind, vcpus.page[v], vcpus.is_write[v] == 1, slot.logged, slot.huge)
    counts.exits[kind] += 1
    _log(vcpus, counts, v, kind)
    if vcpus.mode[v] != NONE:
        lock.state[READERS if vcpus.mode[v] == SHARED else WRITERS] -= 1
    vcpus.ns[v], vcpus.stage[v] = vcpus.ns[v] + costs.entry_ns, ENTRY


@jit
def _log(vcpus: Vcpus, counts: Counts, v: int, kind: int) -> None:
    at = counts.sums[LOGGED]
    if at < len(counts.log):
        counts.log[at, 0], counts.log[at, 1] = vcpus.ns[v], v
        counts.log[at, 2], counts.log[at, 3] = vcpus.page[v], kind
        counts.sums[LOGGED] += 1


@jit
def _may_enter(lock: Lock, mode: int) -> bool:
    return bool(lock.state[WRITERS] == 0 and (mode == SHARED or lock.state[READERS] == 0))


@jit
def _grant(sptes: Sptes, vcpus: Vcpus, lock: Lock, costs: ExitCosts, counts: Counts, v: int, now_ns: int) -> None:
    """The lock is vCPU ``v``'s from ``now_ns`` on: read the state, hold as long as that takes."""
    mode, kind = vcpus.mode[v], _needs(sptes, vcpus, v)
    others = lock.state[LENGTH] + lock.state[READERS] + lock.state[WRITERS]
    lock.state[READERS if mode == SHARED else WRITERS] += 1
    hold_ns = costs.spurious_ns
    if kind != NOTHING:
        hold_ns = costs.hold_ns[kind] + costs.queue_ns[mode, min(others, costs.queue_ns.shape[1] - 1)]
    vcpus.kind[v] = SPURIOUS if kind == NOTHING else kind
    counts.sums[WAIT_NS] += now_ns - vcpus.asked_ns[v]
    counts.sums[HOLD_NS] += hold_ns
    vcpus.ns[v], vcpus.stage[v] = now_ns + hold_ns, DONE


@jit
def run_vcpus(
    sptes: Sptes, vcpus: Vcpus, lock: Lock, heap: Ints, slot: Slot, costs: ExitCosts, counts: Counts, horizon_ns: int
) -> int:
    """Advance all vCPUs up to (strictly below) ``horizon_ns``; returns the next event's time, -1 if all have finished.

    heap: int64[n_vcpus], scratch; everything else as its class says, in place.
    """
    ns, size = vcpus.ns, 0
    for v in range(len(ns)):
        if vcpus.stage[v] != FINISHED and vcpus.stage[v] != WAITING:
            size = push(heap, size, ns, v)
    while size > 0:
        v = heap[0]
        now_ns, stage = ns[v], vcpus.stage[v]
        if now_ns >= horizon_ns:
            return int(now_ns)
        if stage == REQUEST:
            _ask(vcpus, lock, v)
        elif stage == DONE:
            _done(sptes, vcpus, lock, slot, costs, counts, v)
        else:
            _access(sptes, vcpus, slot, costs, counts, v)
        if vcpus.stage[v] == FINISHED or vcpus.stage[v] == WAITING:
            size -= 1
            v = heap[size]
        if size > 0:
            sift_top(heap, size, ns, v)
        while lock.state[LENGTH] > 0 and _may_enter(lock, vcpus.mode[lock.queue[lock.state[HEAD]]]):
            first = lock.queue[lock.state[HEAD]]
            lock.state[HEAD] = (lock.state[HEAD] + 1) % len(lock.queue)
            lock.state[LENGTH] -= 1
            _grant(sptes, vcpus, lock, costs, counts, first, now_ns)
            size = push(heap, size, ns, first)
    return -1
