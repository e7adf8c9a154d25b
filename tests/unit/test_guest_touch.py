from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import takewhile
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.rng import NEVER
from hostsim.guest.touch import (
    FIRST_GFN,
    first_touch_index,
    next_touch,
    next_touches,
    touch_index,
    touch_time,
)
from hostsim.guest.windows import window_global, window_local
from hostsim.guest.workload import Active, TouchTrace, Workload, build_guest
from tests.twins.streams import touches

SECOND = 10**9
HORIZON_NS = 40 * SECOND


@given(st.integers(0, 50), st.integers(1, 20), st.integers(0, 20), st.integers(0, 300))
def test_window_global_inverts_window_local(start: int, length: int, pause: int, local: int) -> None:
    period = length + pause
    work = window_global(start, length, period, local)
    assert window_local(start, length, period, work) == local
    assert window_local(start, length, period, work + 1) == local + 1


@given(st.integers(0, 50), st.integers(1, 20), st.integers(0, 20), st.integers(0, 300))
def test_window_local_counts_active_instants(start: int, length: int, pause: int, work: int) -> None:
    period = length + pause
    active = sum(t >= start and (t - start) % period < length for t in range(work))
    assert window_local(start, length, period, work) == active


def test_a_single_window_ends() -> None:
    assert window_global(5, 10, 0, 9) == 14
    assert window_global(5, 10, 0, 10) == NEVER
    assert window_local(5, 10, 0, 99) == 10


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2000))
def test_touch_index_is_the_first_touch_at_or_after(num: int, den: int, after: int) -> None:
    index = touch_index(num, den, after)
    assert touch_time(num, den, index) >= after
    assert index == 0 or touch_time(num, den, index - 1) < after


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 10**6))
def test_touch_time_is_the_floor_of_the_exact_time(num: int, den: int, index: int) -> None:
    assert touch_time(num, den, index) == index * den // num


def _loads(seed: int) -> Workload:
    """A small sweep or trace, sometimes in windows."""
    rng = Random(seed)
    size = rng.randint(1, 12)
    load = Workload(
        "load", rng.choice(("sequential", "strided", "trace")), (0,), 3, size, Fraction(rng.choice((1, 2, 3, 7))),
        stride_pages=rng.randint(1, 2 * size), start_page=rng.randrange(size),
        active=rng.choice((None, Active(SECOND, SECOND, 3 * SECOND), Active(0, 5 * SECOND), Active(7, SECOND, SECOND))),
    )  # fmt: skip
    if load.pattern != "trace":
        return load
    n = rng.randint(1, 30)
    times, gfns = sorted(rng.randrange(20) * SECOND for _ in range(n)), [3 + rng.randrange(size) for _ in range(n)]
    trace = TouchTrace(np.array(times, np.int64), np.zeros(n, np.int32), np.array(gfns, np.int64), np.ones(n, np.bool_))
    return replace(load, trace=trace)


@pytest.mark.parametrize("seed", range(60))
def test_next_touch_is_the_first_of_the_plain_stream(seed: int) -> None:
    load = _loads(seed)
    plain = list(takewhile(lambda touch: touch[0] < HORIZON_NS, touches(load, 0)))
    table = build_guest([load], 1).table
    first = int(table.ints[0, FIRST_GFN])
    asked = {0, 1, *(t + d for t, _, _ in plain[:40] for d in (-1, 0, 1) if t + d >= 0)}
    for page in range(int(table.ints[0, 2])):
        for after in asked:
            expected = min((t for t, gfn, _ in plain if gfn == first + page and t >= after), default=NEVER)
            got = next_touch(table, 0, page, after)
            assert got == expected or (expected == NEVER and got >= HORIZON_NS)


@pytest.mark.parametrize("seed", range(30))
def test_first_touch_index_counts_the_touches_before(seed: int) -> None:
    load = replace(_loads(seed), pattern="sequential", trace=None)
    row = build_guest([load], 1).table.ints[0]
    plain = [t for t, _, _ in takewhile(lambda touch: touch[0] < HORIZON_NS, touches(load, 0))]
    for after in range(0, 20 * SECOND, SECOND // 3):
        assert min(first_touch_index(row, after), len(plain)) == sum(t < after for t in plain)


def test_arrays_are_answered_page_by_page() -> None:
    table = build_guest([Workload("load", "zipf", (0, 1), 0, 9, Fraction(100))], 5).table
    pages, after = np.arange(9), np.arange(9) * SECOND
    expected = [next_touch(table, 0, int(page), int(t)) for page, t in zip(pages, after, strict=True)]
    found = np.empty(len(pages), np.int64)
    next_touches(table, 0, pages, after, found)
    assert found.tolist() == expected


@given(st.integers(0, 8), st.integers(0, HORIZON_NS))
def test_drawn_touches_include_the_instant_asked_for_and_repeat(page: int, after: int) -> None:
    load = Workload("load", "uniform", (0,), 0, 9, Fraction(100), arrivals="poisson")
    table = build_guest([load], 5).table
    found = next_touch(table, 0, page, after)
    assert found >= after
    assert next_touch(table, 0, page, after) == found
