"""The speed of a guest that rests between windows of the host's clock: its work is that of its windows."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim import Scenario
from hostsim.simulation import run
from hostsim.study.compare.figures import figures_of

BATCH: dict[str, Any] = {"pattern": "sequential", "vcpus": [1], "write_rate": "2000/s",
                         "active": {"start": "300ms", "length": "1s", "period": "3s"}}  # fmt: skip
SERVICE: dict[str, Any] = {"name": "service", "pattern": "uniform", "vcpus": [0], "write_rate": "500/s"}


def scenario(clock: str, **more: Any) -> Scenario:
    batch = BATCH | {"active": BATCH["active"] | {"clock": clock}}
    vm = {"memory": "64MiB", "vcpus": 2, "workload": [SERVICE, batch]}
    return Scenario.model_validate({"duration": "4s", "vm": vm, **more})


@pytest.mark.parametrize("clock", ["host", "work"])
@pytest.mark.parametrize("start", ["0s", "700ms", "2s"])
def test_a_guest_under_tcg_is_as_fast_as_without_a_migration(clock: str, start: str) -> None:
    """Windows are those of the host's time, wherever in them the migration starts."""
    migration = {"start": start, "downtime_limit": "30ms"}
    result = run(scenario(clock, migration=migration, link={"bandwidth": "500Mbit/s"}))
    (one,) = result.migrations
    series = one.series
    running = series["status"] == "active"
    assert running.sum() > 8
    assert series["guest_speed"][running][1:-2] == pytest.approx(1.0)
    assert figures_of(result)["guest_slowdown_percent"] == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("clock", ["host", "work"])
def test_a_guest_that_rests_is_not_slowed_down(clock: str) -> None:
    assert figures_of(run(scenario(clock)))["guest_slowdown_percent"] == pytest.approx(0.0, abs=1e-9)
