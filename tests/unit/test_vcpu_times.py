"""The time of each vCPU adds up, and the waits of the migration thread are counted apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hostsim import simulation
from hostsim.cli.errors_cli import exit_code_of
from hostsim.cli.main import build_app
from hostsim.core.errors import InvariantError
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import IN_GUEST
from hostsim.kvm.vcpu_times import check_vcpu_times, vcpu_times
from hostsim.machine.machine import Machine
from hostsim.memory.fault_waits import MIGRATION, TASK, VCPU
from hostsim.qemu.parameters import MigrationParameters
from hostsim.report.verdict_texts import verdict_texts
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from tests.helpers.host_memory import MS, host, memory_of, pages_of, touches

LOAD = {"pattern": "uniform", "write_rate": "5000/s", "read_rate": "20000/s"}
SLOW_SWAP = {
    "vm": {"memory": "4MiB", "dirty_tracking": "get-dirty-log", "workload": [LOAD]},
    "host": {"memory": {"size": "3MiB", "swap": "hdd"}, "setup_ns": 100_000, "switchover_ns": 100_000},
    "duration": "3s", "migration": {"start": "50ms", "bandwidth": "10MB/s"},
}  # fmt: skip
"""One vCPU and the migration thread wait for the same slow disk all the time."""


@cache
def ran() -> RunResult:
    return simulation.run(Scenario.model_validate(SLOW_SWAP))


def test_a_guest_is_stalled_for_no_longer_than_it_lives() -> None:
    found = ran().to_dict()
    (row,) = found["memory"]["vms"]
    assert 0.5 < row["stall_share"] == row["stall_share_max"] < 1
    assert row["migration_wait_ns"] > 0.5 * found["end_ns"], "counted as the vCPU's, both together were above 100 %"
    assert row["read_back"] > 10
    counts = {one["what"]: one["count"] for one in found["latencies"]}
    fetched = counts.get("migration_fault_major", 0) + counts.get("migration_fault_minor", 0)
    assert abs(fetched - row["read_back"]) <= 1
    assert counts["fault_major"] > 10


def test_the_table_of_times_adds_up() -> None:
    host_result = ran().host
    assert host_result is not None
    table = host_result.tables["vcpu_times"]
    assert (table["guest_ns"] + table["exit_ns"] + table["user_space_ns"] == table["elapsed_ns"]).all()
    assert (table["page_wait_ns"] <= table["exit_ns"]).all()
    assert table["page_wait_ns"].sum() == host_result.memory["vms"][0]["stall_ns"]  # type: ignore[index]
    assert 1 - table["guest_ns"][0] / table["elapsed_ns"][0] == pytest.approx(
        host_result.memory["vms"][0]["guest_slowdown"], abs=1e-9  # type: ignore[index]
    )


def test_every_line_says_whose_wait_it_is() -> None:
    text = "\n".join(verdict_texts(ran(), "text"))
    assert "Its vCPUs waited" in text
    assert "Memory: the migration thread waited" in text
    rounds = ran().migrations[0].rounds
    assert (rounds["stall_share"] <= 1 + 1e-9).all(), "a stall that reaches over a sync belongs to both rounds, in parts"
    assert (rounds["page_wait_ns"] <= rounds["stall_ns"]).all()
    assert rounds["page_wait_ns"].sum() > 0
    assert "Logging: the guest lost" not in text, "waiting for swap is no cost of logging"


def swapping(**keys: Any) -> Machine:
    machine = host(400, 512, 512, touches("uniform", 512, 20_000, 20_000), **keys)
    machine.env.run(until=10 * MS)
    check_vcpu_times(machine.live_vms[0])
    return machine


def test_closed_loop_work_is_the_time_in_guest_mode_to_the_nanosecond() -> None:
    machine = swapping()
    times = vcpu_times(machine.live_vms[0])
    assert times.guest_ns.tolist() == [machine.vm.work_ns()]
    assert times.page_wait_ns.sum() == pages_of(machine).waits[VCPU].ns > 0
    assert pages_of(machine).waits[MIGRATION].ns == pages_of(machine).waits[TASK].ns == 0


def test_throttle_and_pause_are_time_in_user_space() -> None:
    machine = swapping(migration=MigrationParameters("10.2", 20 << 20), ms=400)
    vcpu = machine.live_vms[0].vcpus[0]
    before_ns = vcpu.user_space_ns
    vcpu.throttle(3 * MS)
    machine.env.run(until=20 * MS)
    assert vcpu.user_space_ns - before_ns == 3 * MS
    machine.run()
    assert machine.migration.state.status == "completed"  # type: ignore[union-attr]
    assert vcpu.stalled_ns == 0
    check_vcpu_times(machine.live_vms[0])


def wait_of_another(machine: Machine) -> None:
    """The migration thread's wait is counted as that of a vCPU."""
    machine.live_vms[0].page_waits._waited_ns[0] += 20 * MS


def exit_counted_twice(machine: Machine) -> None:
    machine.live_vms[0].engine.kvm.vcpus[0].stall_ns += 1


def exit_not_counted(machine: Machine) -> None:
    machine.live_vms[0].engine.kvm.vcpus[0].stall_ns -= 1


def user_space_forgotten(machine: Machine) -> None:
    machine.live_vms[0].vcpus[0].throttle(MS)
    machine.env.run(until=machine.env.now_ns + 20 * MS)
    machine.live_vms[0].vcpus[0]._in_user_space._over_ns -= 1


BREAKS = (wait_of_another, exit_counted_twice, exit_not_counted, user_space_forgotten)


@pytest.mark.parametrize("wreck", BREAKS, ids=lambda wreck: wreck.__name__)
def test_time_that_does_not_add_up_is_found(wreck: Callable[[Machine], None]) -> None:
    machine = swapping()
    wreck(machine)
    with pytest.raises(InvariantError, match=r"vCPU 0: .* ns of work, .* add up to"):
        memory_of(machine).check()


def test_a_sleeping_task_is_no_stalled_vcpu() -> None:
    machine = swapping(async_pf=True)
    pages, vm = pages_of(machine), machine.live_vms[0]
    assert pages.waits[TASK].ns > 0
    assert pages.waits[VCPU].ns == vm.page_waits.waited_ns(machine.env.now_ns).sum()
    assert vm.page_waits.sleeps == pages.counts["async_faults"] > 0
    assert pages.waits[VCPU].latencies["major"].count == 0


def test_a_wait_under_way_counts_up_to_now() -> None:
    machine = host(400, 512, 512, touches("uniform", 512, 20_000), swap="hdd")
    vm = machine.live_vms[0]
    while not vm.page_waits.in_flight:
        machine.env.run(until=machine.env.now_ns + 50_000)
    first = vcpu_times(vm)
    assert vm.engine.kvm.vcpus[0].stage != IN_GUEST
    machine.env.run(until=machine.env.now_ns + 1000)
    second = vcpu_times(vm)
    assert (second.page_wait_ns - first.page_wait_ns).tolist() == [1000]
    assert (second.exit_ns - first.exit_ns).tolist() == [1000]
    assert vm.tally().stall_ns == second.exit_ns.sum()


def test_a_run_whose_times_do_not_add_up_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine as it was: a page that the migration thread waits for stalls vCPU 0."""
    read_back = LiveVm.read_back

    def stalls_a_vcpu(vm: LiveVm, page: int) -> Generator[Any, Any, None]:
        before_ns = vm.env.now_ns
        yield from read_back(vm, page)
        vm.page_waits._waited_ns[0] += vm.env.now_ns - before_ns

    monkeypatch.setattr(LiveVm, "read_back", stalls_a_vcpu)
    scenario = SLOW_SWAP | {"vm": SLOW_SWAP["vm"] | {"workload": [{**LOAD, "size": "1MiB"}]}}  # type: ignore[operator]
    (tmp_path / "slow.toml").write_text(_toml(scenario))
    monkeypatch.chdir(tmp_path)
    app = build_app()
    assert exit_code_of(lambda: app(["run", "slow.toml", "--out", "out", "--quiet"])) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert "vCPU 0: " in told.err
    assert "waiting for pages" in told.err
    assert not (tmp_path / "out").exists()


def _toml(table: dict[str, Any]) -> str:
    """``table`` in inline tables: JSON, but for what stands between key and value."""
    return "\n".join(f"{key} = {_inline(value)}" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(map(_inline, value)) + "]" if isinstance(value, list) else json.dumps(value)
