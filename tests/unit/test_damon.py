"""DAMON behind the protocol of ageing policies: its load is its regions, and it finds what is hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim import Scenario, run
from hostsim.machine.machine import Machine
from hostsim.memory.policies.damon import MAX_NR_REGIONS, ColdDamon, Damon
from hostsim.memory.policies.protocol import AgeingPolicy
from hostsim.memory.policies.registry import SAMPLES_A_PERIOD
from hostsim.scenario.build import build


def sampled(n_pages: int, hot: slice, samples: int) -> Damon:
    policy, young = Damon(n_pages), np.zeros(n_pages, np.uint8)
    policy.insert(np.arange(n_pages))
    for _ in range(samples):
        young[hot] = 1
        policy.age(young)
    return policy


def test_it_finds_a_hot_range_to_the_page() -> None:
    policy = sampled(4096, slice(1000, 1400), 60 * SAMPLES_A_PERIOD)
    assert policy.held_in_use().tolist() == list(range(1000, 1400))
    hot = policy.last > 0
    assert (policy.starts[:-1][hot].min(), policy.starts[1:][hot].max()) == (1000, 1400)
    assert policy.last[hot].tolist() == [SAMPLES_A_PERIOD] * int(hot.sum())


@given(n_pages=st.integers(1, 3000), seed=st.integers(0, 1000), share=st.floats(0.0, 1.0))
@settings(max_examples=25)
def test_regions_cover_memory_and_bound_the_load(n_pages: int, seed: int, share: float) -> None:
    policy, young, rng = Damon(n_pages, seed), np.zeros(n_pages, np.uint8), np.random.default_rng(seed)
    policy.insert(np.arange(n_pages))
    for _ in range(3 * SAMPLES_A_PERIOD):
        young[rng.random(n_pages) < share] = 1
        asked = policy.age(young).asked
        assert (policy.starts[0], policy.starts[-1]) == (0, n_pages)
        assert (np.diff(policy.starts) > 0).all()
        assert len(asked) == len(policy.starts) - 1 <= MAX_NR_REGIONS
        assert not young[asked].any()
        assert 0 <= policy.accesses.min() <= policy.accesses.max() <= SAMPLES_A_PERIOD


def test_it_evicts_what_was_never_young_and_only_that() -> None:
    policy: AgeingPolicy = sampled(2000, slice(0, 500), 60 * SAMPLES_A_PERIOD)
    gone = policy.evict(np.zeros(2000, np.uint8), 5000).evicted
    assert sorted(gone.tolist()) == list(range(500, 2000))
    assert policy.resident_pages().tolist() == list(range(500))
    assert not policy.wants_ageing()
    with pytest.raises(AssertionError):
        policy.insert(np.array([3]))


def test_draws_are_keyed() -> None:
    one, two = (sampled(1000, slice(0, 100), 400) for _ in range(2))
    assert one.starts.tolist() == two.starts.tolist()


def test_a_sample_tests_the_pages_it_cleared_before() -> None:
    """mmu_notifier_clear_young of a page a region, and mmu_notifier_test_young of the same page a sample later."""
    policy, young = Damon(4096), np.zeros(4096, np.uint8)
    policy.insert(np.arange(4096))
    before = policy.age(young)
    assert len(before.tested) == 0
    for _ in range(3 * SAMPLES_A_PERIOD):
        scan = policy.age(young)
        assert scan.tested.tolist() == before.asked.tolist()
        before = scan


def test_a_page_that_the_host_does_not_have_is_not_asked_about() -> None:
    policy, young = Damon(1000), np.ones(1000, np.uint8)
    policy.insert(np.arange(100))
    for _ in range(SAMPLES_A_PERIOD):
        scan = policy.age(young)
        assert scan.asked.max(initial=0) < 100
        assert scan.tested.max(initial=0) < 100


def test_pages_are_cold_after_so_many_idle_aggregations() -> None:
    policy, young = ColdDamon(1000, cold_scans=3), np.zeros(1000, np.uint8)
    policy.insert(np.arange(1000))
    cold = []
    for _ in range(5):
        for _ in range(SAMPLES_A_PERIOD):
            policy.age(young)
        cold.append(policy.cold_pages())
    # The first sample of all tests nothing, so an aggregation ends with the first sample of the next period.
    assert cold == [0, 0, 0, 1000, 1000]
    assert len(policy.evict(young, 1000).evicted) == 1000
    assert policy.cold_pages() == 0


GUEST: dict[str, Any] = {
    "seed": 2, "duration": "3100ms", "ageing": {"policy": "damon", "period": "100ms"},
    "vm": {"memory": "16MiB", "vcpus": 2, "dirty_tracking": "get-dirty-log", "mmu": {"era": "E6", "a_bits": False},
           "workload": [{"pattern": "uniform", "size": "4MiB", "read_rate": "1M/s", "arrivals": "poisson"}]},
}  # fmt: skip


def test_a_daemon_calls_the_notifier_for_a_page_a_region_and_sample() -> None:
    machine = Machine(build(Scenario.model_validate(GUEST)))
    machine.run()
    daemon, pages = machine.daemons[0], machine.notifiers[0].pages
    assert len(daemon.passes) == 30
    assert pages["clear_flush_young"] == 0
    assert pages["test_young"] == pages["clear_young"] - len(daemon._policy.starts) + 1  # type: ignore[union-attr]
    assert all(SAMPLES_A_PERIOD * 10 <= one.calls / 2 <= SAMPLES_A_PERIOD * MAX_NR_REGIONS for one in daemon.passes[1:])
    assert max(one.took_ns for one in daemon.passes) < 100_000_000
    held = daemon._policy.held_in_use()  # type: ignore[union-attr]
    assert 0.8 * 1024 < len(held) < 1.2 * 1024, "it finds the quarter of memory that is in use"
    assert np.count_nonzero(held < 1024) > 0.9 * len(held)


def test_a_seed_draws_its_samples() -> None:
    found = [run(Scenario.model_validate(GUEST | {"seed": seed})).host for seed in (2, 2, 3)]
    calls = [host.tables["ageing_passes"].columns["young"].tolist() for host in found if host is not None]
    assert calls[0] == calls[1] != calls[2]
