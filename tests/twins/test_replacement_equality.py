"""The compiled policies evict the same pages as the plain ones, reference by reference, on drawn strings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.theory.replacement import POLICIES, dense_pages
from tests.helpers.evaluate import told_both_ways
from tests.twins.replacement import TWINS

N_PAGES = 12
STRINGS = st.lists(st.integers(0, N_PAGES - 1), max_size=120)


@pytest.mark.parametrize("name", ["fifo", "clock", "lru"])
@given(pages=STRINGS, capacity=st.integers(1, N_PAGES + 1))
def test_hits_and_victims_equal_the_twin(name: str, pages: list[int], capacity: int) -> None:
    replay = POLICIES[name](capacity, N_PAGES).replay(np.array(pages, np.int64))
    assert (replay.hits.tolist(), replay.victims.tolist()) == TWINS[name](pages, capacity)


@given(pages=STRINGS, capacity=st.integers(1, N_PAGES + 1))
def test_min_hits_as_its_twin(pages: list[int], capacity: int) -> None:
    """Which of several pages that never come again leaves is a matter of taste; hits are not."""
    replay = POLICIES["min"](capacity, N_PAGES).replay(np.array(pages, np.int64))
    hits, victims = TWINS["min"](pages, capacity)
    assert replay.hits.tolist() == hits
    again = [(page, i) for i, page in enumerate(victims) if page in pages[i:]]
    assert [(page, i) for i, page in enumerate(replay.victims.tolist()) if page in pages[i:]] == again


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(pages=STRINGS, capacity=st.integers(1, N_PAGES))
def test_pages_are_conserved(name: str, pages: list[int], capacity: int) -> None:
    policy, resident = POLICIES[name](capacity, N_PAGES), set[int]()
    replay = policy.replay(np.array(pages, np.int64))
    for page, hit, victim in zip(pages, replay.hits, replay.victims, strict=True):
        assert hit == (page in resident)
        resident = (resident - {int(victim)}) | {page}
        assert len(resident) <= capacity
    assert policy.resident_pages().tolist() == sorted(resident)


@pytest.mark.parametrize("name", ["fifo", "clock", "lru"])
@given(pages=STRINGS, cut=st.integers(0, 120), capacity=st.integers(1, N_PAGES))
def test_a_cut_moves_nothing(name: str, pages: list[int], cut: int, capacity: int) -> None:
    whole = POLICIES[name](capacity, N_PAGES).replay(np.array(pages, np.int64))
    policy = POLICIES[name](capacity, N_PAGES)
    parts = [policy.replay(np.array(part, np.int64)) for part in (pages[:cut], pages[cut:])]
    assert np.concatenate([part.victims for part in parts]).tolist() == whole.victims.tolist()


@given(before=STRINGS, pages=STRINGS, capacity=st.integers(1, N_PAGES))
def test_min_goes_on_from_what_is_resident(before: list[int], pages: list[int], capacity: int) -> None:
    """As the twin that first loads those pages, one after the other, each into a free frame."""
    policy = POLICIES["min"](capacity, N_PAGES)
    policy.replay(np.array(before, np.int64))
    loaded = policy.resident_pages().tolist()
    hits, _ = TWINS["min"]([*loaded, *pages], capacity)
    assert policy.replay(np.array(pages, np.int64)).hits.tolist() == hits[len(loaded) :]


@given(pages=STRINGS, capacity=st.integers(1, N_PAGES - 1))
def test_stack_algorithms_hit_no_less_with_more_memory(pages: list[int], capacity: int) -> None:
    for name in ("lru", "min"):
        less, more = (POLICIES[name](c, N_PAGES).replay(np.array(pages, np.int64)) for c in (capacity, capacity + 1))
        assert less.hits.sum() <= more.hits.sum()


def test_dense_pages_keep_the_order_of_addresses() -> None:
    dense, n_pages = dense_pages(np.array([70_000, 5, 1 << 36, 5]))
    assert (dense.tolist(), n_pages) == ([1, 0, 2, 0], 3)


PLAIN = """
import numpy as np
from hostsim.theory.replacement import POLICIES
pages = np.random.default_rng(3).integers(0, 9, 400)
for name in sorted(POLICIES):
    print(name, *POLICIES[name](5, 9).replay(pages).victims)
"""


def test_compiled_equals_plain_python() -> None:
    plain, compiled = told_both_ways(PLAIN)
    assert plain == compiled
    assert len(plain.splitlines()) == len(POLICIES)
