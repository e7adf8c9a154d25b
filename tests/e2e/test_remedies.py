"""A remedy is a promise: applied alone it lets the migration end, and well short of it does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from hostsim import load_scenario
from hostsim.verdict import Verdict
from hostsim.verdict.confirm import confirmed
from tests.helpers.remembered import remembered, run

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SHORT = 0.7
"""Share of an advised value that is not enough: values carry a margin of a tenth, floors drawn guests of some more;
in between a migration may complete by chance."""


@cache
def outcome(name: str, *changes: str) -> str:
    scenario = load_scenario(SCENARIOS / f"{name}.toml", overrides=changes)
    return run(scenario).migrations[0].status


@cache
def verdict_on(name: str) -> Verdict:
    scenario = load_scenario(SCENARIOS / f"{name}.toml")
    with remembered():
        return confirmed(scenario, run(scenario))


def advised(name: str, kind: str) -> float:
    remedy = verdict_on(name).remedy(kind)
    assert remedy is not None
    assert remedy.confirmed
    assert remedy.value is not None
    return float(remedy.value)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("never_converges", "downtime_limit", "migration.downtime_limit={:.0f}ms"),
        ("never_converges", "bandwidth", "link.bandwidth={:.0f}B/s"),
        ("auto_converge_clock_paced", "downtime_limit", "migration.downtime_limit={:.0f}ms"),
        ("auto_converge_clock_paced", "bandwidth", "migration.bandwidth={:.0f}B/s"),
    ],
)
def test_a_remedy_works_and_less_does_not(name: str, kind: str, change: str) -> None:
    value = advised(name, kind)
    assert outcome(name) == "cancelled"
    assert outcome(name, change.format(value)) == "completed"
    assert outcome(name, change.format(SHORT * value)) == "cancelled"


def test_auto_converge_is_advised_where_it_helps() -> None:
    remedy = verdict_on("never_converges").remedy("auto_converge")
    assert remedy is not None
    assert remedy.helps
    assert outcome("never_converges", "migration.auto_converge=true") == "completed"


def test_auto_converge_is_not_advised_where_it_has_throttled_in_vain() -> None:
    remedy = verdict_on("auto_converge_clock_paced").remedy("auto_converge")
    assert remedy is not None
    assert not remedy.helps
