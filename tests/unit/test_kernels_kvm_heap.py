from __future__ import annotations

import numpy as np
import pytest

from hostsim.compiled.record import records
from hostsim.kvm.loops.heap import push, sift_top
from hostsim.kvm.loops.layout import Vcpu

pytestmark = pytest.mark.quick


def test_a_heap_gives_vcpus_by_time_then_by_number() -> None:
    vcpus = records(Vcpu, 7)
    vcpus["next_ns"] = [7, 3, 7, 1, 3, 9, 1]
    heap, size = np.zeros(7, np.int64), 0
    for v in range(6, -1, -1):
        size = push(heap, size, vcpus, v)
    order = []
    while size:
        order.append(int(heap[0]))
        size -= 1
        if size:
            sift_top(heap, size, vcpus, heap[size])
    assert order == [3, 6, 1, 4, 0, 2, 5]
