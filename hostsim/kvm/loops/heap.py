"""A heap of vCPUs by what comes next for them: the earliest first, of equals the lowest."""

from __future__ import annotations

from hostsim.compiled.jit import jit
from hostsim.compiled.record import Records
from hostsim.kvm.loops.layout import Ints, Vcpu


@jit
def _before(vcpus: Records[Vcpu], a: int, b: int) -> bool:
    return bool(vcpus[a].next_ns < vcpus[b].next_ns or (vcpus[a].next_ns == vcpus[b].next_ns and a < b))


@jit
def push(heap: Ints, size: int, vcpus: Records[Vcpu], v: int) -> int:
    """Add vCPU ``v`` to the heap of ``size``; returns the new size."""
    at = size
    while at > 0 and _before(vcpus, v, heap[(at - 1) // 2]):
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = v
    return size + 1


@jit
def sift_top(heap: Ints, size: int, vcpus: Records[Vcpu], v: int) -> None:
    """Put ``v`` where it belongs, the place at the top being free."""
    at = 0
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and _before(vcpus, heap[below + 1], heap[below]):
            below += 1
        if not _before(vcpus, heap[below], v):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = v
