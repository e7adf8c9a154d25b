from __future__ import annotations

import json

import pytest

from tests.golden.counts import PATH, counts
from tests.golden.machines import MACHINES


@pytest.mark.parametrize("name", MACHINES)
def test_a_run_costs_what_it_cost(name: str) -> None:
    assert counts(MACHINES[name]) == json.loads(PATH.read_text())[name]


def test_every_count_has_its_machine() -> None:
    assert json.loads(PATH.read_text()).keys() == MACHINES.keys()


def test_events_follow_transitions_and_not_accesses() -> None:
    """A guest that writes 20 times as fast schedules no more events than its migration takes."""
    kept = json.loads(PATH.read_text())
    for entry in kept.values():
        assert entry["simpy_events"] < entry["pages_sent"] + entry["pages_harvested"] + 20_000
