from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.compiled.jit import jit
from hostsim.compiled.record import Records, records
from hostsim.kvm.loops.heap import push, sift_top
from hostsim.kvm.loops.layout import Next

pytestmark = pytest.mark.quick


@jit
def add(heap: Records[Next], size: int, ns: int, vcpu: int) -> int:
    """``push``, for Python."""
    return push(heap, size, ns, vcpu)


@jit
def take(heap: Records[Next], size: int) -> int:
    """Remove and return the vCPU at the top."""
    first = heap[0].vcpu
    sift_top(heap, size - 1, heap[size - 1].ns, heap[size - 1].vcpu)
    return int(first)


@jit
def move(heap: Records[Next], size: int, ns: int) -> int:
    """Give the vCPU at the top another time, and return it."""
    first = heap[0].vcpu
    sift_top(heap, size, ns, first)
    return int(first)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_a_heap_gives_vcpus_by_time_then_by_number(times: list[int], later: list[int]) -> None:
    heap, size, left = records(Next, len(times)), 0, dict(enumerate(times))
    for v in reversed(range(len(times))):
        size = add(heap, size, times[v], v)

    def first() -> int:
        return min(left, key=lambda v: (left[v], v))

    for ns in later:
        v = first()
        assert move(heap, size, ns) == v
        left[v] = ns
    for size in range(len(times), 0, -1):
        v = first()
        assert take(heap, size) == v
        del left[v]
