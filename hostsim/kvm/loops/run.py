"""All vCPUs of a VM, and walkers, advanced in exact time order up to a horizon or to the first event for the host."""

from __future__ import annotations

from hostsim.compiled.by_address import Code, call
from hostsim.compiled.jit import inlined, jit, part
from hostsim.core.rng import NEVER
from hostsim.kvm.loops.heap import push, sift_top
from hostsim.kvm.loops.layout import FAULTS, OUT, WAITING, Kvm
from hostsim.kvm.loops.mmu_lock import grant_next, queue_contended
from hostsim.kvm.loops.vcpu import step
from hostsim.kvm.loops.walker import walk


@inlined
def has_event(stage: int) -> bool:
    """Whether a vCPU goes on by itself."""
    return bool(stage not in (WAITING, OUT, FAULTS))


@part
def _heap(k: Kvm) -> int:
    """Put all vCPUs that have something to do into the heap; returns its size."""
    heap, size = k.heap, 0
    for v in range(len(k.vcpus)):
        if has_event(k.vcpus[v].stage):
            size = push(heap, size, k.vcpus[v].next_ns, v)
    k.state.is_reordered = 0
    return size


@jit
def run_vcpus(k: Kvm, horizon_ns: int, anew: bool) -> int:
    """Handle events of vCPUs strictly below ``horizon_ns`` and before the next event of a walker.

    anew: build the heap of ``k`` first.
    Returns the time of the event that comes next [ns], or NEVER. Stops early when ``k.due`` gets rows; the events that are
    left in that instant come with the next call.
    """
    heap = k.heap
    size = _heap(k) if anew else k.state.heap_size
    now_ns = NEVER
    while size > 0:
        v, now_ns = heap[0].vcpu, heap[0].ns
        # Strictly below: events of the host come before those of vCPUs in the same instant, and walkers are of the host.
        if now_ns >= horizon_ns or now_ns >= k.state.walk_ns:
            break
        step(k, v)
        if has_event(k.vcpus[v].stage):
            sift_top(heap, size, k.vcpus[v].next_ns, v)
        else:
            size -= 1
            sift_top(heap, size, heap[size].ns, heap[size].vcpu)
        # A grant is part of the event that releases or asks for the lock, so the queue is looked at after each event.
        who = 0
        while who >= 0:
            who = grant_next(k, now_ns)
            if 0 <= who < len(k.vcpus):
                size = push(heap, size, k.vcpus[who].next_ns, who)
        queue_contended(k, now_ns)
        # A split or an unmapping has armed pages for other vCPUs: their next touches moved, and the heap does not know.
        if k.state.is_reordered == 1:
            size = _heap(k)
        # The host process that an event wakes runs before the guest events that are left in this instant.
        if k.state.n_due > 0:
            break
        if size == 0:
            now_ns = NEVER
    k.state.heap_size = size
    return int(now_ns)


@jit
def run_with_walkers(k: Kvm, horizon_ns: int, run: Code) -> int:
    """``run_vcpus`` of ``k`` up to ``horizon_ns`` with the walkers' events, which come first in an instant.

    run: code of ``run_vcpus``. It is called, not inlined: it takes longest of all loops to compile, and most guests are not
    aged.
    """
    now_ns = call(run, k, horizon_ns, True)
    while True:
        if k.state.n_due > 0 or now_ns < k.state.walk_ns or k.state.walk_ns >= horizon_ns:
            return int(min(now_ns, k.state.walk_ns))
        now_ns = walk(k, now_ns, horizon_ns)
        if k.state.n_due > 0:
            return int(now_ns)
        now_ns = call(run, k, horizon_ns, k.state.is_reordered == 1)
