"""Ends of a run: its duration, the end of the work, so many passes over its memory."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim import Scenario
from hostsim.core.errors import InputError
from hostsim.machine.machine import Machine
from hostsim.scenario.build import build

SWEEP: dict[str, Any] = {"pattern": "sequential", "write_rate": "1M/s", "active": {"length": "5ms"}}
AGEING: dict[str, Any] = {"policy": "idle", "period": "20ms", "passes": 3}


def scenario(*loads: dict[str, Any], **more: Any) -> Scenario:
    vm = {"memory": "16MiB", "vcpus": 2, "filled": "none", "dirty_tracking": "get-dirty-log", "workload": loads or [SWEEP]}
    return Scenario.model_validate({"duration": "1s", "vm": vm, **more})


def ran(found: Scenario) -> Machine:
    machine = Machine(build(found))
    machine.run()
    return machine


def test_a_run_ends_with_its_work() -> None:
    """5 ms of work take longer: pages are populated meanwhile."""
    machine = ran(scenario(until="work"))
    assert machine.work_done_ns == machine.env.now_ns
    assert 5_000_000 < machine.env.now_ns < 50_000_000
    assert machine.vm.work_ns() >= 2 * 5_000_000
    assert ran(scenario()).work_done_ns is None


def test_a_window_of_the_hosts_clock_ends_with_it() -> None:
    """Pages are populated meanwhile: less than 5 ms of work is done in 5 ms."""
    machine = ran(scenario(SWEEP | {"active": {"length": "5ms", "clock": "host"}}, until="work"))
    assert machine.work_done_ns == machine.env.now_ns == 5_000_000
    assert machine.vm.work_ns() < 2 * 5_000_000


def test_windows_with_a_period_are_of_the_hosts_clock_and_a_job_is_of_its_own() -> None:
    windows = ({"length": "5ms"}, {"length": "5ms", "period": "1s"}, {"length": "5ms", "period": "1s", "clock": "work"})
    counted = {key: value for key, value in SWEEP.items() if key != "active"} | {"writes": 9}
    loads = build(scenario(*[SWEEP | {"active": window} for window in windows], counted)).workloads
    assert [load.active.is_of_host for load in loads if load.active] == [False, True, False, False]


def test_work_that_is_not_done_in_time_is_cut_by_the_duration() -> None:
    assert ran(scenario(until="work", duration="2ms")).env.now_ns == 2_000_000


def test_a_run_waits_for_its_passes_and_the_begin_of_the_next() -> None:
    machine = ran(scenario(ageing=AGEING))
    assert (machine.env.now_ns, len(machine.daemons[0].passes)) == (4 * 20_000_000, 3)


def test_a_run_waits_for_all_that_it_is_to_wait_for() -> None:
    machine = ran(scenario(until="work", ageing=AGEING | {"passes": 1}))
    assert machine.work_done_ns is not None
    assert machine.work_done_ns < machine.env.now_ns == 2 * 20_000_000


def test_pages_come_under_the_policy_as_the_host_gets_them() -> None:
    machine = ran(scenario(until="work", ageing={"policy": "mglru-walk", "period": "1ms", "passes": 1}))
    new = [done.new for done in machine.daemons[0].passes]
    assert min(new[:3]) > 0
    assert sum(new) <= machine.live_vms[0].tally().map_faults


def test_listeners_are_told_of_each_pass() -> None:
    machine = Machine(build(scenario(ageing=AGEING | {"policy": "two-list"})))
    told: list[tuple[int, int]] = []
    machine.daemons[0].listen(lambda done, held: told.append((done.asked, len(held))))
    machine.run()
    assert [asked for asked, _ in told] == [done.asked for done in machine.daemons[0].passes[: len(told)]]
    assert all(asked + held <= 4096 for asked, held in told)


@pytest.mark.parametrize(
    ("loads", "said"),
    [
        ([{"pattern": "idle"}], r"until: got 'work' without a workload that works"),
        ([{k: v for k, v in SWEEP.items() if k != "active"}], r"vm\.workload\[0\]\.active: got nothing, wanted one window"),
        ([SWEEP, SWEEP | {"active": {"length": "5ms", "period": "1s"}}], r"workload\[1\]\.active: got windows without end"),
    ],
)
def test_work_without_end_is_refused(loads: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        scenario(*loads, until="work")


def test_how_ageing_takes_the_lock_can_be_said() -> None:
    held = {how: ran(scenario(ageing=AGEING | {"mmu_lock": how})).live_vms[0].lock.hold_ns for how in ("era", "lockless")}
    assert held["lockless"] == 0 < held["era"]
