"""dirty-limit: sleeps at full rings by rate and quota, which writers pay, and what a sleep does to a sync."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.core.knobs import Knobs
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.pacing import work_at
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.dirty_limit import DirtyLimit, LimitChange
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.scenario import Scenario
from hostsim.simulation import run

MS, S = 1_000_000, 1_000_000_000
PAGES = 8192
WRITER = Workload("writer", "uniform", (0,), 0, 6000, Fraction(100_000))
READER = Workload("reader", "uniform", (1,), 6000, 2000, Fraction(0), Fraction(20_000))


def machine(knobs: Knobs | None = None, limits: tuple[LimitChange, ...] = (), **parameters: Any) -> Machine:
    migration = {"max_bandwidth": 40_000_000, "downtime_limit_ms": 30, "timeout_ns": 8 * S, **parameters}
    return Machine(
        MachineSpec(
            lay_out([("pc.ram", PAGES, [(0, PAGES)])]), (WRITER, READER), 2, load_sheet("generic"), duration_ns=10 * S,
            dirty_tracking="dirty-ring", mmu=MmuSpec(ring_entries=1024), link=LinkSpec(0, 0, 212_992),
            migration=MigrationParameters(**migration), inputs={"dirty_limit": limits},
        ),
        knobs,
    )  # fmt: skip


def limit_of(one: Machine) -> DirtyLimit:
    limit = one.acting["dirty_limit"]
    assert isinstance(limit, DirtyLimit)
    return limit


def throttle(one: Machine, before_us: int, quota: int, current: int) -> int:
    return limit_of(one)._throttle(before_us, quota, current)


def test_the_arithmetic_of_a_sleep() -> None:
    """A ring of 1024 entries is 4 MiB; by hand after dirtylimit_set_throttle, in whole numbers."""
    one = machine(limits=(LimitChange(0, 10),))
    assert throttle(one, 0, 10, 400) == 10_000 * 97 // 3
    assert throttle(one, 100_000, 100, 140) == 101_000, "near the quota: a tenth of 10 ms, the time at the greatest rate"
    assert throttle(one, 100_000, 140, 100) == 99_000
    assert throttle(one, 5_000, 400, 100) == 0, "never below 0"
    assert throttle(one, 980_000, 10, 400) == 990_000, "at most 99 times the time in which the ring fills"
    assert throttle(one, 70_000, 10, 0) == 0


def test_a_quota_of_1_leaves_a_hundredth_of_the_speed() -> None:
    """Sleeps are at most 99 times as long as a ring fills, and a rate within 25 MiB/s of the quota is left as it is."""
    n_pages = 1 << 17
    sweep = Workload("sweep", "sequential", (0,), 0, n_pages, Fraction(80_000))
    one = Machine(
        MachineSpec(
            lay_out([("pc.ram", n_pages, [(0, n_pages)])]), (sweep,), 1, load_sheet("generic"), duration_ns=12 * S,
            dirty_tracking="dirty-ring", mmu=MmuSpec(ring_entries=256), link=LinkSpec(0, 0, 212_992),
            inputs={"dirty_limit": (LimitChange(1 * S, 1),)},
        )
    )  # fmt: skip
    one.run()
    first, *later = limit_of(one).history
    ring_full_us = 1_000_000 // first.rates[0]
    assert first.throttle_us == (99 * ring_full_us,), "a ring of 256 entries is 1 MiB"
    assert {found.rates[0] for found in later} == {first.rates[0] // 100}, "not 1"
    assert {found.throttle_us for found in later} == {first.throttle_us}, "QEMU has done its part"


@pytest.mark.parametrize("qemu", ["7.2", "10.2"])
def test_writers_pay_and_readers_do_not(qemu: Any) -> None:
    one = machine(limits=(LimitChange(1 * S, 10),), qemu=qemu)
    one.run()
    writer, reader = one.live_vms[0].vcpus
    assert writer.held_back_ns > (one.env.now_ns - 2 * S) // 3, "the first rate is known a second after the command"
    assert reader.held_back_ns == 0
    work = [int(work_at(row, one.env.now_ns)) for row in one.vm.guest.clocks]
    assert work[0] <= one.env.now_ns - writer.held_back_ns
    assert work[1] > 0.97 * one.env.now_ns


def test_a_kick_ends_the_sleep_in_7_2_alone() -> None:
    """usleep returns at the signal of a sync; g_usleep goes on, and the sync waits for it."""
    longest = {}
    for qemu in ("7.2", "10.2"):
        one = machine(limits=(LimitChange(1 * S, 5),), qemu=qemu)
        one.run()
        assert one.migration is not None
        longest[qemu] = max(b.sync_ns - a.sync_ns for a, b in pairwise(one.migration.recorder.tallies))
    assert longest["7.2"] < 50 * MS < 200 * MS < longest["10.2"]


def test_the_capability_waits_for_two_periods_too_dirty() -> None:
    one = machine(dirty_limit=True, vcpu_dirty_limit=5, max_bandwidth=60_000_000)
    one.run()
    assert one.migration is not None
    marks = {event: t_ns for t_ns, event, _ in one.migration.recorder.marks}
    assert marks["migration_dirty_limit_guest"] >= 2 * S - 100 * MS
    assert limit_of(one).history[0].t_ns >= marks["migration_dirty_limit_guest"] + S
    assert one.migration.throttle.percent == 0
    if one.migration.state.status == "cancelled":
        assert not limit_of(one).in_service


def test_pieces_of_work_move_nothing() -> None:
    found = []
    for knobs in (Knobs(), Knobs(window_ns=700_000, send_batch_pages=11)):
        one = machine(knobs, (LimitChange(500 * MS, 10), LimitChange(5 * S, 0)))
        one.run()
        assert one.migration is not None
        slept = [vcpu.held_back_ns for vcpu in one.live_vms[0].vcpus]
        found.append((limit_of(one).history, slept, one.migration.recorder.syncs))
    assert found[0] == found[1]


def test_a_limit_without_a_migration_logs_by_itself_and_ends() -> None:
    """set-vcpu-dirty-limit switches the log on; lifting the limit switches it off, and the guest runs freely again."""
    scenario = {
        "duration": "6s",
        "vm": {
            "memory": "32MiB", "vcpus": 1, "dirty_tracking": "dirty-ring", "mmu": {"ring_entries": 1024},
            "workload": [{"pattern": "uniform", "write_rate": "100000/s", "pacing": "closed"}],
            "dirty_limit": [{"at": "1s", "quota": "5MiB/s"}, {"at": "4s", "quota": "unlimited"}],
        },
    }  # fmt: skip
    found = run(Scenario(**scenario))
    row = found.to_dict()["vcpu_dirty_limit"][0]
    assert row["limit_rate"] == 0
    assert row["held_back_ns"] > S
    work_s = float(found.guest["work_ns"][0]) / S
    assert 3.5 < work_s < 5.5, "free from 0 to 2 s, until the first rate is known, and from 4 to 6 s"


@pytest.mark.parametrize(
    ("vm", "key"),
    [
        ({"dirty_tracking": "get-dirty-log"}, r"dirty_limit\[0\]"),
        ({"dirty_limit": [{"quota": "1500kB/s"}]}, r"dirty_limit\[0\]\.quota"),
        ({"dirty_limit": [{"quota": "10MiB/s", "vcpus": [3]}]}, r"dirty_limit\[0\]\.vcpus"),
    ],
)
def test_what_makes_no_sense_is_refused(vm: dict[str, Any], key: str) -> None:
    base = {"memory": "32MiB", "dirty_tracking": "dirty-ring", "dirty_limit": [{"quota": "10MiB/s"}]}
    with pytest.raises(InputError, match=key):
        Scenario(vm=base | vm)


@pytest.mark.parametrize(
    "keys", [{"auto_converge": True}, {"qemu": "7.2"}, {"x_vcpu_dirty_limit_period": "1500us"}],
)  # fmt: skip
def test_the_capability_has_its_rules(keys: dict[str, Any]) -> None:
    vm = {"memory": "32MiB", "dirty_tracking": "dirty-ring"}
    with pytest.raises(InputError, match=r"migration\."):
        Scenario(vm=vm, migration={"dirty_limit": True, **keys})


def capability(quota: object) -> Scenario:
    vm = {"memory": "32MiB", "dirty_tracking": "dirty-ring"}
    return Scenario.model_validate({"vm": vm, "migration": {"dirty_limit": True, "vcpu_dirty_limit": quota}})


def test_the_quota_of_the_capability_is_a_number_of_mib_per_s_or_a_text_with_this_unit() -> None:
    assert [capability(quota).migration.vcpu_dirty_limit for quota in (5, "5MiB/s")] == [5, 5]  # type: ignore[union-attr]
    for wrong in ("5", "5MB/s", "5.5MiB/s", 5.5, True, "0MiB/s"):
        with pytest.raises(InputError, match=r"vcpu_dirty_limit: .*(MiB/s|at least 1)"):
            capability(wrong)
