"""A heap of vCPUs by the time of their next event: the earliest first, of equals the lowest vCPU."""

from __future__ import annotations

from hostsim.compiled.jit import inlined
from hostsim.compiled.record import Records
from hostsim.kvm.loops.layout import Next


@inlined
def _before(a: Next, ns: int, vcpu: int) -> bool:
    return bool(a.ns < ns or (a.ns == ns and a.vcpu < vcpu))


@inlined
def push(heap: Records[Next], size: int, ns: int, vcpu: int) -> int:
    """Add ``vcpu``, whose next event comes at ``ns``, to the heap of ``size``; returns the new size."""
    at = size
    while at > 0:
        above = heap[(at - 1) >> 1]
        if _before(above, ns, vcpu):
            break
        heap[at].ns, heap[at].vcpu = above.ns, above.vcpu
        at = (at - 1) >> 1
    heap[at].ns, heap[at].vcpu = ns, vcpu
    return size + 1


@inlined
def sift_top(heap: Records[Next], size: int, ns: int, vcpu: int) -> None:
    """Put (ns, vcpu) into ``heap`` of ``size`` entries in place of its top, which has been taken."""
    at, below = 0, 1
    while below < size:
        if below + 1 < size and _before(heap[below + 1], heap[below].ns, heap[below].vcpu):
            below += 1
        if not _before(heap[below], ns, vcpu):
            break
        heap[at].ns, heap[at].vcpu = heap[below].ns, heap[below].vcpu
        at, below = below, 2 * below + 1
    heap[at].ns, heap[at].vcpu = ns, vcpu
