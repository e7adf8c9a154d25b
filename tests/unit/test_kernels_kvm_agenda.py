from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.compiled.jit import jit
from hostsim.kvm.loops.agenda import LAST, MANY, NEAR, SPAN_NS, SPARE, VCPU_BITS, put
from hostsim.kvm.loops.layout import Ints
from tests.unit.test_host_kvm_engine import costs, guest, write

pytestmark = pytest.mark.quick


@jit
def put_in(agenda: Ints, first: int, ns: int, vcpu: int) -> int:
    """``put``, for Python; returns the vCPU of the first entry."""
    return int(put(agenda, first, (ns << VCPU_BITS) | vcpu) & ((1 << VCPU_BITS) - 1))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_an_agenda_gives_vcpus_by_time_then_by_number(times: list[int], later: list[int]) -> None:
    agenda, first, left = np.full(len(times) + SPARE, LAST, np.int64), len(times), dict(enumerate(times))

    def earliest() -> int:
        return min(left, key=lambda v: (left[v], v))

    for v in reversed(range(len(times))):
        first -= 1
        found = put_in(agenda, first, times[v], v)
    for ns in later:
        v = earliest()
        assert found == v
        left[v] = ns
        found = put_in(agenda, first, ns, v)
    for at in range(first, len(times)):
        v = earliest()
        assert agenda[at] & ((1 << VCPU_BITS) - 1) == v
        del left[v]


@given(st.lists(st.integers(0, 1 << 20), min_size=2, max_size=3 * MANY), st.integers(0, 1 << 20))
def test_an_event_passes_many_others(times: list[int], ns: int) -> None:
    entries = sorted((time << VCPU_BITS) | v for v, time in enumerate(times))
    agenda = np.array([*entries, *[LAST] * SPARE], np.int64)
    v = entries[0] & ((1 << VCPU_BITS) - 1)
    put_in(agenda, 0, ns, v)
    assert agenda.tolist() == [*sorted([*entries[1:], (ns << VCPU_BITS) | v]), *[LAST] * SPARE]


def test_both_ways_to_pass_others_are_tried() -> None:
    assert NEAR < MANY


def test_an_event_beyond_the_span_comes_in_its_time() -> None:
    engine = guest([write(0, 1000), write(5, 3 * SPAN_NS), write(9, 2 * SPAN_NS)], costs())
    assert engine.advance(4 * SPAN_NS) is None
    assert [(row["vcpu"], row["since_ns"]) for row in engine.kvm.log[: engine.kvm.state.logged_exits]] == [
        (0, 1000), (2, 2 * SPAN_NS), (1, 3 * SPAN_NS),
    ]  # fmt: skip
