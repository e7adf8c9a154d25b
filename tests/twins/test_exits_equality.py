"""Guests that exit: the engine gives what one SimPy process a vCPU gives, number by number."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.tidy.source import report
from tests.twins.exits_case import REGION_PAGES as CASE_REGION_PAGES
from tests.twins.exits_compare import REGION_PAGES as ENGINE_REGION_PAGES
from tests.twins.exits_compare import Engine, cut_difference, replay_command, whole_difference
from tests.twins.exits_configs import drawn_case, protected
from tests.twins.exits_twin import TwinExits

GROUP = 200
DEFAULT_SEEDS = range(0, 2000, GROUP)
SWARM_SEEDS = range(100_000, 120_000, GROUP)


def differences(first: int) -> list[str]:
    return [text for seed in range(first, first + GROUP) if (text := whole_difference(seed) or cut_difference(seed))]


@pytest.mark.parametrize("first", DEFAULT_SEEDS)
def test_engine_equals_twin_however_the_run_is_cut(first: int) -> None:
    report(differences(first))


@pytest.mark.swarm
@pytest.mark.parametrize("first", SWARM_SEEDS)
def test_engine_equals_twin_on_many_guests(first: int) -> None:
    report(differences(first))


@pytest.mark.parametrize("seed", range(60))
def test_the_next_event_is_where_the_engine_says(seed: int) -> None:
    """Up to it nothing is left to do; one nanosecond further is an instant's work; all instants are the whole run."""
    whole, engine = Engine(drawn_case(seed)), Engine(drawn_case(seed))
    whole.run()
    next_ns = engine.run(0)
    while next_ns != -1:
        before = [part.copy() for part in engine.vcpus]
        assert engine.run(next_ns) == next_ns, replay_command(seed)
        assert all(np.array_equal(*parts) for parts in zip(before, engine.vcpus, strict=True)), replay_command(seed)
        next_ns = engine.run(next_ns + 1)
        assert not all(np.array_equal(*parts) for parts in zip(before, engine.vcpus, strict=True)), replay_command(seed)
    assert engine.ended() == whole.ended(), replay_command(seed)


@pytest.mark.parametrize("capacity", [0, 1, 7])
def test_a_full_log_changes_nothing_else(capacity: int) -> None:
    for seed in range(40):
        short, whole = Engine(drawn_case(seed), capacity), Engine(drawn_case(seed))
        short.run()
        whole.run()
        first = whole.ended()["log"][:capacity]
        assert short.ended() == {**whole.ended(), "log": first}, replay_command(seed)


def test_drawn_guests_cover_the_model() -> None:
    assert CASE_REGION_PAGES == ENGINE_REGION_PAGES
    twins = [TwinExits(drawn_case(seed)) for seed in range(400)]
    for twin in twins:
        twin.run()
    seen = Counter(kind for twin in twins for kind in twin.exits)
    assert min(seen[kind] for kind in ("map", "track", "wp", "split", "spurious")) > 50, seen
    assert seen["pml_full"] >= 10
    assert sum(twin.wait_ns > 0 for twin in twins) > 100
    assert sum(len({ns for ns, *_ in twin.log}) < len(twin.log) for twin in twins) > 80
    assert {len(twin.vcpus) for twin in twins} == set(range(1, 7))
    assert sum(twin.case.logged and twin.case.starts_protected() for twin in twins) > 100


def test_protection_takes_what_would_hide_a_write() -> None:
    cases = [drawn_case(seed) for seed in range(100)]
    assert not all(case.starts_protected() for case in cases)
    assert all(protected(case).starts_protected() for case in cases)
