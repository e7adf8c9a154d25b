"""The work of a run before it runs, beside the work that the run counts."""

from __future__ import annotations

import pytest

from hostsim.study.compare.work import work_of
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.guest import Guest, scenario_of
from hostsim.study.predict.replications import pilots
from hostsim.study.predict.work_ahead import computed_work


@pytest.mark.parametrize(("ram", "written", "rate"), [("1GiB", "128MiB", "1GB/s"), ("1GiB", "512MiB", "2GB/s")])
def test_the_rounds_of_a_throttled_guest_are_counted_ahead(ram: str, written: str, rate: str) -> None:
    """Each step of the throttle sends the dirty pages again; by the greatest throttle alone it was a tenth of the work."""
    scenario, _ = scenario_of(Guest(ram, "2Gbit", rate, written, "300ms", mode="auto-converge"))
    (figures,) = Bench(1).figures([scenario])
    assert figures["status"] == "completed"
    assert 1 / 3 < computed_work(scenario) / work_of(figures, scenario) < 3


def test_a_large_throttled_guest_runs_once() -> None:
    scenario, _ = scenario_of(Guest("1TiB", "25Gbit", "2GB/s", "64GiB", "300ms", mode="auto-converge"))
    assert pilots(scenario) == 1
    assert computed_work(scenario) > 900_000_000
