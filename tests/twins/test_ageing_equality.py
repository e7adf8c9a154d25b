"""Ageing over arrays asks for and evicts the same pages as the plain lists, step by step, on drawn histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.memory.policies.generations import MAX_NR_GENS, Generations
from hostsim.memory.policies.idle import IdlePages
from hostsim.memory.policies.lists import pages_of
from hostsim.memory.policies.two_list import TwoList
from tests.helpers.evaluate import told_both_ways
from tests.twins.ageing import GenerationsTwin, IdleTwin, TwoListTwin

Pair = tuple[Any, Any]
PAIRS: dict[str, Callable[[int], Pair]] = {
    "two-list": lambda n: (TwoList(n), TwoListTwin(second_chance=True)),
    "two-list before v5.9": lambda n: (TwoList(n, second_chance=False), TwoListTwin(second_chance=False)),
    "mglru": lambda n: (Generations(n), GenerationsTwin(n)),
    "mglru before 6.13": lambda n: (Generations(n, walks=False), GenerationsTwin(n, walks=False)),
    "idle": lambda n: (IdlePages(n, 2), IdleTwin(2)),
}
OPERATIONS = ["insert", *["touch"] * 3, *["age"] * 2, *["evict"] * 5]
STEPS = 150


def state_of(policy: Any, n_pages: int) -> object:
    if isinstance(policy, TwoList):
        return tuple(pages_of(n_pages + which, policy._links[0]) for which in range(2))
    if isinstance(policy, Generations):
        first, last = policy._seqs.tolist()
        lists = [pages_of(n_pages + seq % MAX_NR_GENS, policy._links[0]) for seq in range(first, last + 1)]
        return lists, {page: int(policy._generation[page]) for page in policy.resident_pages().tolist()}
    ages = policy.idle_scans()
    return {page: int(ages[page]) for page in policy.resident_pages().tolist()}, policy.promoted_pages


def step(policy: Any, twin: Any, rng: np.random.Generator, young: np.ndarray, bits: set[int]) -> None:
    what, resident = str(rng.choice(OPERATIONS)), policy.resident_pages()
    if what == "insert":
        absent = np.setdiff1d(np.arange(len(young)), resident)
        pages = rng.permutation(absent)[: rng.integers(0, len(absent) + 1)]
        policy.insert(pages)
        for page in pages.tolist():
            twin.insert(page)
    elif what == "touch":
        touched = resident[rng.random(len(resident)) < rng.random()]
        young[touched] = 1
        bits |= set(touched.tolist())
    else:
        more = () if what == "age" else (int(rng.integers(1, 100)),)
        scan, told = getattr(policy, what)(young, *more), getattr(twin, what)(bits, *more)
        assert (scan.asked.tolist(), scan.evicted.tolist()) == told


@pytest.mark.parametrize("name", sorted(PAIRS))
@given(n_pages=st.integers(1, 1100), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_equal_step_by_step(name: str, n_pages: int, seed: int) -> None:
    policy, twin = PAIRS[name](n_pages)
    young, bits, rng = np.zeros(n_pages, np.uint8), set[int](), np.random.default_rng(seed)
    for _ in range(STEPS):
        step(policy, twin, rng, young, bits)
        assert set(np.flatnonzero(young).tolist()) == bits
    assert state_of(policy, n_pages) == twin.state()


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_idle_pages_go_and_touched_ones_stay(name: str) -> None:
    """A quarter is touched before every step; the rest is evicted to the last page, the quarter stays whole."""
    policy, _ = PAIRS[name](800)
    policy.insert(np.arange(800))
    young, hot = np.zeros(800, np.uint8), np.arange(0, 800, 4)
    for _ in range(200):
        young[hot] = 1
        policy.age(young)
        young[hot] = 1
        policy.evict(young, 64)
    assert policy.resident_pages().tolist() == hot.tolist()


PLAIN = """
import numpy as np
from tests.twins.test_ageing_equality import PAIRS, state_of, step
for name in sorted(PAIRS):
    policy, twin = PAIRS[name](700)
    young, bits, rng = np.zeros(700, np.uint8), set(), np.random.default_rng(5)
    for _ in range(60):
        step(policy, twin, rng, young, bits)
    print(name, state_of(policy, 700))
"""


def test_compiled_equals_plain_python() -> None:
    plain, compiled = told_both_ways(PLAIN)
    assert plain == compiled
    assert len(plain.splitlines()) == len(PAIRS)
