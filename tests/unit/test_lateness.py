"""Latenesses of the host: their mean and spread, their streams, and the keys of a scenario that set them."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.core.knobs import Knobs
from hostsim.costs.host_sheet import SPREADS, load_sheet, punctual
from hostsim.qemu.lateness import Lateness
from hostsim.scenario import Scenario
from hostsim.scenario.host_schema import Host
from hostsim.simulation import run

MEAN_NS, SPREAD_NS, DRAWS = 60_000, 20_000, 20_000


def drawn(seed: int = 1, name: str = "timer", spread_ns: int = SPREAD_NS) -> list[int]:
    lateness = Lateness(seed, name, MEAN_NS, spread_ns)
    return [lateness.next_ns() for _ in range(DRAWS)]


def test_a_lateness_has_its_mean_and_its_standard_deviation() -> None:
    found = drawn()
    assert abs(statistics.mean(found) - MEAN_NS) < 5 * SPREAD_NS / DRAWS**0.5
    assert statistics.pstdev(found) == pytest.approx(SPREAD_NS, rel=0.05)
    assert min(found) >= MEAN_NS - SPREAD_NS, "no thread runs earlier than the least lateness"


def test_without_a_spread_nothing_is_drawn() -> None:
    assert set(drawn(spread_ns=0)) == {MEAN_NS}


def test_each_name_and_each_seed_has_a_stream_of_its_own() -> None:
    assert drawn() == drawn()
    assert drawn() != drawn(name="thread")
    assert drawn() != drawn(seed=2)


def test_a_sheet_has_spreads_only_if_latenesses_are_drawn() -> None:
    assert all(getattr(load_sheet("generic"), key) == 0 for key in SPREADS)
    sheet = load_sheet("generic", drawn=True)
    assert all(0 < getattr(sheet, key) <= getattr(sheet, of) for key, of in SPREADS.items())
    assert load_sheet("generic", {"throttle_timer_late_ns": 10}, drawn=True).throttle_timer_late_spread_ns == 10


def test_a_punctual_host_is_never_late() -> None:
    sheet = punctual(load_sheet("generic", drawn=True))
    assert not any(getattr(sheet, name) for pair in SPREADS.items() for name in pair)


def throttled(**host: Any) -> Scenario:
    load = {"pattern": "uniform", "size": "16MiB", "write_rate": "9000/s"}
    migration = {"bandwidth": "16MiB/s", "downtime_limit": "50ms", "auto_converge": True, "cpu_throttle_initial": 60}
    vm = {"memory": "32MiB", "vcpus": 2, "workload": [load]}
    return Scenario(duration="12s", vm=vm, migration=migration, host=host, seed=3)


def result(scenario: Scenario, knobs: Knobs | None = None) -> dict[str, Any]:
    found = run(scenario, knobs=knobs).to_dict()
    return {key: value for key, value in found.items() if key != "scenario"}


def test_drawn_latenesses_move_a_throttled_run_and_no_knob_moves_it() -> None:
    late = throttled(lateness="drawn")
    assert result(late) != result(throttled())
    assert result(late, Knobs(17, 64, 777_777)) == result(late)


def test_the_lateness_of_the_timer_is_a_key_of_its_own() -> None:
    sheet = Host(sleep_overshoot_ns=1_000, throttle_timer_late_ns=2_000).sheet()
    assert (sheet.sleep_overshoot_ns, sheet.throttle_timer_late_ns) == (1_000, 2_000)
    assert result(throttled(throttle_timer_late_ns=300_000)) != result(throttled())


def test_a_spread_beyond_its_mean_is_refused() -> None:
    with pytest.raises(InputError, match=r"throttle_overshoot_spread_ns: got 70000, wanted at most host"):
        throttled(throttle_overshoot_ns=60_000, throttle_overshoot_spread_ns=70_000)
