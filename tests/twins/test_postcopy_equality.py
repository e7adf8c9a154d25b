"""Post-copy in the engine is post-copy in the per-access twin, number by number, on drawn machines."""

from __future__ import annotations

import pytest

from hostsim.qemu.link import LinkSpec
from hostsim.qemu.tcp_row import Path
from tests.helpers.tiers import quick_and_long
from tests.tidy.source import report
from tests.twins.destination import short_disagreement, short_facts, shortage_of
from tests.twins.postcopy_away import away_disagreement
from tests.twins.postcopy_compare import disagreement, drawn_faulty, drawn_postcopy, moved_by_knobs, twin_facts

FAULTY, FAULTY_SWARM = (*range(52), *range(58, 120)), range(200_000, 200_400, 100)
"""The twin takes half a minute for the seeds in between."""
SEEDS, SWARM_SEEDS = range(60), range(100_000, 100_400, 100)


@pytest.mark.parametrize("first", quick_and_long((0, 30), (0,)))
def test_engine_equals_twin(first: int) -> None:
    report([text for seed in SEEDS[first : first + 30] if (text := disagreement(seed))])


@pytest.mark.parametrize("first", quick_and_long((0, 30, 60), (0,)))
def test_engine_equals_twin_on_a_link_that_fails(first: int) -> None:
    report([text for seed in FAULTY[first : first + 30] if (text := disagreement(seed, drawn_faulty(seed)))])


@pytest.mark.parametrize("first", quick_and_long((0, 20), (0,)))
def test_engine_equals_twin_where_the_source_has_swapped(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    report([text for seed in range(first, first + 20) if (text := away_disagreement(seed, monkeypatch.setattr))])


def _without_outages(spec: LinkSpec) -> Path:
    there = spec.path.faults
    return spec.path._replace(faults=there._replace(outages=there.outages[:0], loss_gap=0))


def test_requests_that_pass_an_outage_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinkSpec, "path_back", property(_without_outages))
    assert any(disagreement(seed, drawn_faulty(seed)) for seed in FAULTY[:30])


@pytest.mark.swarm
@pytest.mark.parametrize("first", FAULTY_SWARM)
def test_engine_equals_twin_on_many_links_that_fail(first: int) -> None:
    report([text for seed in range(first, first + 100) if (text := disagreement(seed, drawn_faulty(seed)))])


@pytest.mark.long
def test_drawn_links_fail_in_the_phase() -> None:
    facts = [twin_facts(drawn_faulty(seed)) for seed in FAULTY[:50]]
    counts = [f["counts"] for f in facts if f["switched"]]
    assert sum(timeouts > 0 for timeouts, _, _ in counts) > 7
    assert sum(again > 0 for _, again, _ in counts) > 15
    assert sum(losses > 0 for _, _, losses in counts) > 12
    assert any(f["switched"] and f["lost"] for f in facts)


@pytest.mark.swarm
@pytest.mark.parametrize("first", SWARM_SEEDS)
def test_engine_equals_twin_on_many_machines(first: int) -> None:
    report([text for seed in range(first, first + 100) if (text := disagreement(seed))])


def test_speed_knobs_move_nothing_where_touches_are_drawn() -> None:
    report([text for seed in range(30) if (text := moved_by_knobs(seed))])
    report([text for seed in range(15) if (text := moved_by_knobs(seed, drawn_faulty))])


@pytest.mark.long
def test_drawn_machines_cover_the_phase() -> None:
    specs = [drawn_postcopy(seed) for seed in SEEDS]
    facts = [twin_facts(spec) for spec in specs]
    switched = [(spec, f) for spec, f in zip(specs, facts, strict=True) if f["switched"]]
    assert len(switched) > 25
    assert sum(f["requests"] > 3 for _, f in switched) > 10
    assert sum(spec.migration.postcopy_preempt and f["requests"] > 0 for spec, f in switched) > 4
    assert any(spec.migration.host_page_bytes > 4096 and f["requests"] for spec, f in switched)
    assert any(f["lost"] for _, f in switched)
    assert {"completed", "postcopy-paused"} <= {f["counters"]["status"] for _, f in switched}


@pytest.mark.parametrize("first", quick_and_long((0, 20), (0,)))
def test_live_destination_equals_twin_where_its_memory_is_short(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    report([text for seed in range(first, first + 20) if (text := short_disagreement(seed, monkeypatch.setattr))])


def test_drawn_destinations_swap_and_wait_for_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [short_facts(seed, monkeypatch.setattr) for seed in range(40)]
    switched = [(seed, facts["swap_ins"]) for seed, facts in enumerate(figures) if facts["switched"]]
    assert sum(swap_ins > 3 for _, (swap_ins, _, _) in switched) > 4
    assert sum(any(shortage_of(seed, 64).allocation_ns) for seed, (_, _, asked) in switched if asked > 2) > 4
