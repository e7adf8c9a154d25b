"""The engine equals the per-access twin, number by number, on drawn machines."""

from __future__ import annotations

import pytest

from tests.helpers.tiers import quick_and_long
from tests.tidy.source import report
from tests.twins.compare import first_difference, twin_facts
from tests.twins.configs import drawn_spec
from tests.twins.replay import disagreement, moved_by_knobs

GROUP = 100
WINDOWS = ("socket buffer", "receive window")
DEFAULT_SEEDS, MORE_SEEDS = range(0, 200, GROUP), range(200, 1600, GROUP)
SWARM_SEEDS = range(100_000, 120_000, GROUP)


@pytest.mark.parametrize("first", quick_and_long(DEFAULT_SEEDS, DEFAULT_SEEDS[:1]))
def test_engine_equals_twin(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := disagreement(seed))])


@pytest.mark.swarm
@pytest.mark.parametrize("first", [*MORE_SEEDS, *SWARM_SEEDS])
def test_engine_equals_twin_on_many_machines(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := disagreement(seed))])


@pytest.mark.parametrize("first", quick_and_long(DEFAULT_SEEDS, DEFAULT_SEEDS[:1]))
def test_speed_knobs_move_nothing_where_touches_are_drawn(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := moved_by_knobs(seed))])


def test_drawn_machines_cover_the_model() -> None:
    specs = [drawn_spec(seed) for seed in range(200)]
    assert sum(spec.migration is not None and spec.link.stream_limit in WINDOWS for spec in specs) > 50
    facts = [twin_facts(spec) for spec in specs]
    answers = [f["counters"] for f in facts]
    assert {"completed", "cancelled", "active"} <= {answer["status"] for answer in answers}
    assert sum(answer["duplicate"] > 0 for answer in answers) > 50
    assert sum(answer["dirty_sync_count"] > 3 for answer in answers) > 50
    assert sum(any(event == "migration_throttle" for _, event, _ in f["marks"]) for f in facts) >= 10
    assert sum(bool(f["transitions"]) for f in facts) > 100


def test_a_difference_is_named() -> None:
    facts = twin_facts(drawn_spec(0))
    changed = {**facts, "end_ns": facts["end_ns"] + 1}
    assert first_difference(facts, facts) == ""
    assert first_difference(facts, changed).startswith("end_ns")
