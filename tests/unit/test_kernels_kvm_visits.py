"""The tree of visits against a set."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.compiled.record import one
from hostsim.guest import touch
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.loops.layout import TouchClass
from hostsim.kvm.loops.visits import clear_visit, level_sizes, next_visit, set_visit, visit_of

pytestmark = pytest.mark.quick


def tree(n_visits: int) -> tuple[np.ndarray, TouchClass]:
    """(words, record of the class) of an empty tree that begins at word 3."""
    sizes = level_sizes(n_visits)
    row = one(TouchClass)
    row.n_levels = len(sizes)
    row.level_at[: len(sizes) + 1] = 3 + np.concatenate([[0], np.cumsum(sizes)])
    return np.zeros(3 + sum(sizes), np.int64), row


@given(st.integers(1, 40_000), st.data())
def test_the_tree_is_a_set(n_visits: int, data: st.DataObject) -> None:
    words, row = tree(n_visits)
    kept: set[int] = set()
    visits = st.integers(0, n_visits - 1)
    for visit, is_set in data.draw(st.lists(st.tuples(visits, st.booleans()), max_size=60)):
        (set_visit if is_set else clear_visit)(words, row, visit)
        (kept.add if is_set else kept.discard)(visit)
    asked = data.draw(visits)
    assert next_visit(words, row, asked) == min((visit for visit in kept if visit >= asked), default=-1)


def test_an_empty_tree_is_all_zeros_again() -> None:
    words, row = tree(100_000)
    for visit in (0, 31, 32, 99_999, 50_000):
        set_visit(words, row, visit)
    for visit in (50_000, 0, 31, 99_999, 32):
        clear_visit(words, row, visit)
    assert not words.any()


@pytest.mark.parametrize("stride", [1, 3, 6, 10])
def test_a_visit_is_the_number_of_a_touch_in_its_cycle(stride: int) -> None:
    load = Workload("w", "strided", (0,), 0, 60, Fraction(10**6), stride_pages=stride, start_page=7)
    row = build_guest([load], 1).table.ints[0]
    cycle = int(row[touch.CYCLE])
    visited = [(7 + i * stride) % 60 for i in range(cycle)]
    assert [visit_of(row, page) for page in visited] == list(range(cycle))
    assert {visit_of(row, page) for page in set(range(60)) - set(visited)} <= {-1}
