"""DAMON behind the protocol of ageing policies: its load is its regions, and it finds what is hot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.memory.policies.damon import AGGREGATION_SAMPLES, MAX_NR_REGIONS, Damon
from hostsim.memory.policies.protocol import AgeingPolicy


def sampled(n_pages: int, hot: slice, samples: int) -> Damon:
    policy, young = Damon(n_pages), np.zeros(n_pages, np.uint8)
    policy.insert(np.arange(n_pages))
    for _ in range(samples):
        young[hot] = 1
        policy.age(young)
    return policy


def test_it_finds_a_hot_range_to_the_page() -> None:
    policy = sampled(4096, slice(1000, 1400), 60 * AGGREGATION_SAMPLES)
    assert policy.working_set_pages() == 400
    hot = policy.last > 0
    assert (policy.starts[:-1][hot].min(), policy.starts[1:][hot].max()) == (1000, 1400)
    assert policy.last[hot].tolist() == [AGGREGATION_SAMPLES] * int(hot.sum())


@given(n_pages=st.integers(1, 3000), seed=st.integers(0, 1000), share=st.floats(0.0, 1.0))
@settings(max_examples=25)
def test_regions_cover_memory_and_bound_the_load(n_pages: int, seed: int, share: float) -> None:
    policy, young, rng = Damon(n_pages, seed), np.zeros(n_pages, np.uint8), np.random.default_rng(seed)
    policy.insert(np.arange(n_pages))
    for _ in range(3 * AGGREGATION_SAMPLES):
        young[rng.random(n_pages) < share] = 1
        asked = policy.age(young).asked
        assert (policy.starts[0], policy.starts[-1]) == (0, n_pages)
        assert (np.diff(policy.starts) > 0).all()
        assert len(asked) == len(policy.starts) - 1 <= MAX_NR_REGIONS
        assert not young[asked].any()
        assert 0 <= policy.accesses.min() <= policy.accesses.max() <= AGGREGATION_SAMPLES


def test_it_evicts_what_was_never_young_and_only_that() -> None:
    policy: AgeingPolicy = sampled(2000, slice(0, 500), 60 * AGGREGATION_SAMPLES)
    gone = policy.evict(np.zeros(2000, np.uint8), 5000).evicted
    assert sorted(gone.tolist()) == list(range(500, 2000))
    assert policy.resident_pages().tolist() == list(range(500))
    assert not policy.wants_ageing()
    with pytest.raises(AssertionError):
        policy.insert(np.array([3]))


def test_draws_are_keyed() -> None:
    one, two = (sampled(1000, slice(0, 100), 400) for _ in range(2))
    assert one.starts.tolist() == two.starts.tolist()
