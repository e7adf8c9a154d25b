"""Presets of a workload, work that ends after so many writes, and sleeps: what the file's keys make of them."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.scenario import Scenario
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.build import build
from hostsim.scenario.presets import PRESETS
from hostsim.simulation import run
from hostsim.study.compare.figures import figures_of
from hostsim.theory.guest_curve import guest_curve


def scenario(load: dict[str, Any], **vm: Any) -> Scenario:
    return Scenario.model_validate({"vm": {"memory": "4GiB", "vcpus": 2, **vm, "workload": [load]}})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_scenario_and_is_read_back_as_it_was_resolved(name: str) -> None:
    made = scenario({"preset": name})
    again = Scenario.model_validate(made.resolved())
    assert again.resolved() == made.resolved()
    assert build(again).workloads == build(made).workloads
    assert PRESETS[name].source or name == "idle"  # type: ignore[index]


def test_a_loop_writes_faster_with_more_vcpus_and_clients_do_not() -> None:
    rates = {n: float(scenario({"preset": "guestperf"}, vcpus=n).vm.workload[0].write_rate) for n in (1, 4)}
    assert rates[4] == pytest.approx(4 * rates[1], abs=4)
    assert rates[1] == pytest.approx((1 << 18) / 0.128, rel=0.01), "a GiB in 128 ms"
    clients = {float(scenario({"preset": "ycsb-a"}, vcpus=n).vm.workload[0].write_rate) for n in (1, 4)}
    assert clients == {10_000.0}


def test_guestperf_leaves_512_mib_alone() -> None:
    load = scenario({"preset": "guestperf"}, memory="1536MiB").vm.workload[0]
    assert (load.at, load.size) == (512 << 20, 1 << 30)


def test_keys_that_are_written_count() -> None:
    load = scenario({"preset": "ycsb-b", "operations": "1000/s", "size": "1GiB", "read_rate": "7/s"}).vm.workload[0]
    assert (load.write_rate, load.read_rate, load.size) == (50, 7, 1 << 30)


@pytest.mark.parametrize(
    ("load", "told"),
    [
        ({"preset": "ycsb-z"}, "'ycsb-a'"), ({"preset": "redis", "pattern": "zipf"}, "the pattern of preset 'redis'"),
        ({"preset": "stress-ng", "operations": "5/s"}, "preset of clients"),
        ({"pattern": "uniform", "write_rate": "5/s", "operations": "5/s"}, "preset of clients"),
        ({"pattern": "uniform", "read_rate": "5/s", "writes": 5}, "a write_rate"),
        ({"pattern": "uniform", "write_rate": "5/s", "writes": 5, "active": {"length": "1s"}}, "without `writes`"),
        ({"pattern": "uniform", "write_rate": "5/s", "pacing": "open", "think": {"work": "1s", "sleep": "1s"}}, "closed"),
        ({"preset": "redis", "operations": "many"}, "a rate per second"),
        ({"preset": "redis", "vcpus": "x"}, "vCPU numbers"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(load: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        scenario(load)
    assert told in str(caught.value)


@pytest.mark.parametrize("n", [1, 1000, 4321])
def test_a_load_ends_after_its_writes(n: int) -> None:
    load = {"pattern": "sequential", "size": "64MiB", "write_rate": "3000/s", "writes": n}
    table = {"until": "work", "vm": {"memory": "64MiB", "workload": [load]}}
    result = run(Scenario.model_validate(table))
    assert result.end_ns == pytest.approx(n / 3000 * 1e9, abs=2)
    assert float(result.guest["write_touches"].sum()) == pytest.approx(n, abs=0.01)


def test_a_task_that_thinks_is_not_slowed_by_its_sleeps() -> None:
    load = {"pattern": "uniform", "size": "16MiB", "write_rate": "4000/s", "think": {"work": "300ms", "sleep": "700ms"}}
    made = Scenario.model_validate({"duration": "20s", "vm": {"memory": "32MiB", "workload": [load]}})
    result = run(made)
    assert float(result.guest["work_ns"][0]) == pytest.approx(0.3 * 20e9)
    assert figures_of(result)["guest_slowdown_percent"] == pytest.approx(0.0, abs=1e-9)
    curve = guest_curve(build(made).workloads, 1)
    assert float(curve(0.1)) == pytest.approx(0.1 * 0.3 * 4000, rel=0.03), "by its mean rate"


def test_a_verdict_names_what_a_preset_assumes() -> None:
    table = {"vm": {"memory": "1GiB", "workload": [{"preset": "stress-ng"}]}, "migration": {}}
    told = assumptions_of(Scenario.model_validate(table))
    assert any("preset stress-ng" in text and "111 ms a GiB" in text for text in told)
    idle = {"vm": {"memory": "1GiB", "workload": [{"pattern": "idle"}]}, "migration": {}}
    assert not any("preset" in text for text in assumptions_of(Scenario.model_validate(idle)))
