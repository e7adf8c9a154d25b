"""The engine's walkers make the calls that processes of the host make: same locks, flushes, times and young pages."""

from __future__ import annotations

import pytest

from hostsim.kvm.mmu_notifier import EVENTS
from tests.helpers.plain import plain_output
from tests.helpers.tiers import quick_and_long
from tests.tidy.source import report
from tests.twins.kvm_mutate import WALKER_MUTATIONS
from tests.twins.kvm_walks import certain_walks, difference
from tests.twins.mutation_seeds import first_seed_that_shows

GROUP = 40
DEFAULT_SEEDS, MORE_SEEDS = range(0, 80, GROUP), range(80, 120, GROUP)
SWARM_SEEDS = range(100_000, 104_000, GROUP)
FOUND = (100_482, 100_515)
"""Two walkers ask about the same pages at a time; each once reported the pages that the other had found."""
PLAIN_SEEDS = ("0", "7", "11", "23")


@pytest.mark.parametrize("first", quick_and_long(DEFAULT_SEEDS, DEFAULT_SEEDS[::2]))
def test_walkers_equal_processes_however_the_run_is_cut(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := difference(seed))])


@pytest.mark.parametrize("seed", FOUND)
def test_what_the_swarm_found_is_equal(seed: int) -> None:
    assert difference(seed) == ""


@pytest.mark.swarm
@pytest.mark.parametrize("first", [*MORE_SEEDS, *SWARM_SEEDS])
def test_walkers_equal_processes_on_many_hosts(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := difference(seed))])


def test_walkers_equal_processes_in_plain_python() -> None:
    assert plain_output("tests.twins.kvm_walks", *PLAIN_SEEDS) == "equal\n"


@pytest.mark.parametrize("name", WALKER_MUTATIONS)
def test_a_broken_walker_is_caught(name: str) -> None:
    assert first_seed_that_shows("kvm_mutate", name, 60) >= 0


def test_drawn_walks_cover_the_model() -> None:
    runs = [certain_walks(seed) for seed in range(60)]
    facts = [run.facts() for run in runs]
    calls = {event: sum(one["calls"][event][0] for one in facts) for event in EVENTS[:3]}
    assert min(calls.values()) > 500, calls
    assert sum(one["flushes"] > 2 for one in facts) > 10
    assert sum(one["host_waits"][1] > 0 for one in facts) > 20, "walkers wait"
    assert sum(one["latencies"].get("wait", [0, 0])[1] > 0 for one in facts) > 10, "and vCPUs"
    assert sum(one["young"] > 0 for one in facts) > 25
    assert sum(len(one["told"]) for one in facts) > 20, "walks end"
    assert sum(len(run.walks) > 1 and one["young"] > 0 for run, one in zip(runs, facts, strict=True)) > 5, "several walk"
