"""The switchover and its end by force: acknowledged, paused, cancelled in each state, with other parameters, tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hostsim.core.knobs import Knobs
from hostsim.guest.workload import Active
from hostsim.machine.machine import Machine
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import ParameterChange
from hostsim.results.collect import migration_result
from tests.unit.test_migration_thread import MS, machine

PAUSED = {"pause_before_switchover": True, "continue_after_ns": 7 * MS}
BUSY = 50_000
"""Writes a second: more than 32 MiB/s carry."""


def statuses(one: Machine, attempt: int = 0) -> list[tuple[int, str]]:
    """(time [us], status) of each change of status."""
    marks = one.attempts.every[attempt].recorder.marks
    return [(t // 1000, event.split()[1]) for t, event, _ in marks if event.startswith("migrate_set_state")]


def names(one: Machine, attempt: int = 0) -> list[str]:
    return [status for _, status in statuses(one, attempt)]


def moment(one: Machine, name: str) -> int:
    """Time [ns] of the first event that ends with ``name``."""
    return next(t for t, event, _ in one.migration.recorder.marks if event.endswith(name))


@pytest.mark.parametrize("qemu", ["7.2", "10.0", "10.2"])
def test_a_paused_guest_waits_for_migrate_continue(qemu: str) -> None:
    """7.2 shows "device" only behind pre-switchover; the pause is in the downtime, with 1 ms for stale posts."""
    plain, paused = machine(rate=5000, qemu=qemu), machine(rate=5000, qemu=qemu, **PAUSED)
    plain.run()
    paused.run()
    assert names(paused) == ["setup", "active", "pre-switchover", "device", "completed"]
    at = {status: t_us for t_us, status in statuses(paused)}
    assert at["device"] - at["pre-switchover"] == 7_000
    assert paused.migration.state.downtime_ms - plain.migration.state.downtime_ms == 8


def test_without_migrate_continue_the_guest_stands_still_until_the_cancel() -> None:
    one = machine(rate=5000, pause_before_switchover=True, timeout_ns=5_000 * MS)
    one.run()
    assert statuses(one)[-2:] == [(5_000_000, "cancelling"), (5_000_000, "cancelled")]
    series = migration_result(one, one.migration, "qemu").series
    still = series["t_ns"][1:][series["guest_speed"][1:] == 0.0]
    assert still[-1] - still[0] > 4_000 * MS
    assert one.vm.running


@pytest.mark.parametrize(("qemu", "ends_us"), [("7.2", 1_000), ("10.0", 500), ("10.2", 500)])
def test_a_cancel_while_connecting(qemu: str, ends_us: int) -> None:
    """7.2 ends it when the connection is made, 10.x at once."""
    one = machine(rate=5000, qemu=qemu, timeout_ns=MS // 2)
    one.run()
    assert statuses(one) == [(0, "setup"), (500, "cancelling"), (ends_us, "cancelled")]
    assert one.migration.ram.normal_pages == 0


def test_a_cancel_waits_for_the_window_of_a_thread_that_sleeps() -> None:
    one = machine(rate=BUSY, timeout_ns=1_970 * MS)
    one.run()
    assert names(one) == ["setup", "active", "cancelling", "cancelled"]
    (asked_us, _), (ended_us, _) = statuses(one)[-2:]
    assert asked_us == 1_970_000
    assert 0 < ended_us - asked_us <= 101_000


def test_a_cancel_while_the_device_state_is_sent_comes_too_late() -> None:
    """The migration thread holds the big lock from the stop to the end; then the migration is completed."""
    one = machine(rate=5000)
    one.run()
    (device_us, _), (end_us, _) = statuses(one)[-2:]
    late = machine(rate=5000, timeout_ns=(device_us + end_us) // 2 * 1000)
    late.run()
    assert statuses(late) == statuses(one)


def test_a_cancel_while_the_destination_loads_lets_the_guest_run_on() -> None:
    link = LinkSpec(10**9, 20 * MS, 1 << 20)
    one = machine(rate=100, pages_written=2, link=link, return_path=True)
    one.run()
    early = machine(rate=100, pages_written=2, link=link, return_path=True, timeout_ns=one.migration.state.end_ns - 10 * MS)
    early.run()
    assert names(one)[-2:] == ["device", "completed"]
    assert names(early)[-3:] == ["device", "cancelling", "cancelled"]
    assert early.vm.running


def test_a_switchover_waits_for_the_acknowledgement() -> None:
    """It comes a round trip of 2 s after setup: until then the thread sends on, below its threshold."""
    link = LinkSpec(0, 1_000 * MS, 1 << 22)
    options = {"n_pages": 100, "filled": 0, "link": link, "return_path": True, "max_bandwidth": 0}
    plain, acked = machine(**options), machine(**options, switchover_ack=True)
    plain.run()
    acked.run()
    ack = moment(acked, "switchover_acked")
    assert moment(plain, "low_pending") < 10 * MS
    assert 2_000 * MS < ack <= moment(acked, "low_pending") < ack + 5 * MS


@pytest.mark.parametrize(
    ("change", "within_ms"),
    [
        (ParameterChange(3_000 * MS, 0, (("downtime_limit_ms", 2_000),)), 200),
        (ParameterChange(3_000 * MS, 0, (("max_bandwidth", 0),)), 200),
    ],
)
def test_an_operator_forces_the_switchover(change: ParameterChange, within_ms: int) -> None:
    never, forced = machine(rate=BUSY), machine(rate=BUSY, changes=(change,))
    never.run()
    forced.run()
    assert never.migration.state.status == "active"
    assert forced.migration.state.status == "completed"
    assert 3_000 <= forced.migration.state.total_time_ms <= 3_000 + within_ms


def test_a_change_may_come_with_a_sync() -> None:
    one = machine(rate=BUSY, changes=(ParameterChange(0, 3, (("max_bandwidth", 0),)),))
    one.run()
    third = one.migration.recorder.syncs[2]
    assert ("migrate_set_parameter max_bandwidth", 0) in [
        (event, value) for t, event, value in one.migration.recorder.marks if t == third.t_ns
    ]
    assert one.migration.state.status == "completed"


def test_a_suspended_guest_dirties_nothing_and_is_migrated() -> None:
    one = machine(rate=BUSY, suspend_after_ns=3_000 * MS)
    one.run()
    assert one.migration.state.status == "completed"
    assert 3_000 <= one.migration.state.total_time_ms <= 3_700


def test_a_suspended_guest_runs_on_after_a_cancel() -> None:
    one = machine(rate=BUSY, suspend_after_ns=3_000 * MS, timeout_ns=3_100 * MS)
    one.run()
    assert one.migration.state.status == "cancelled"
    assert one.vm.running


def test_a_retry_begins_with_all_pages_and_an_empty_destination() -> None:
    """Two attempts are cancelled; for the third one the operator has more bandwidth, and its content is verified."""
    more = ParameterChange(1_500 * MS, 0, (("max_bandwidth", 0),))
    one = machine(rate=BUSY, timeout_ns=1_000 * MS, retries=2, retry_after_ns=250 * MS)
    one.run()
    assert [m.state.status for m in one.attempts.every] == ["cancelled"] * 3
    first, second, _ = one.attempts.every
    assert second.state.start_ns == first.state.end_ns + 250 * MS
    assert second.recorder.syncs[0].remaining_bytes == one.vm.memory.n_bytes
    assert second.ram.normal_pages > 4000
    again = machine(rate=BUSY, timeout_ns=2_000 * MS, retries=1, changes=(more,), max_bandwidth=1 << 20, filled=0)
    again.run()
    assert again.migration.state.status == "completed"


def test_a_retry_completes_with_verified_content() -> None:
    """The guest pauses after 3 s: the first attempt is cancelled before, the second one completes."""
    spec = machine(rate=BUSY, timeout_ns=1_200 * MS, retries=5, retry_after_ns=100 * MS).spec
    loads = tuple(replace(load, active=Active(0, 3_000 * MS, 0)) for load in spec.workloads)
    one = Machine(replace(spec, workloads=loads))
    one.run()
    assert [m.state.status for m in one.attempts.every] == ["cancelled", "cancelled", "completed"]
    assert (one.migration.ram.copied == one.vm.memory.version).all()


@pytest.mark.parametrize("knobs", [Knobs(1, 64, 0), Knobs(17, 1 << 22, 3 * MS)])
def test_speed_knobs_move_nothing(knobs: Knobs) -> None:
    options = {"rate": 20_000, "timeout_ns": 3_000 * MS, "retries": 1, "retry_after_ns": 10 * MS, **PAUSED}
    changes = (ParameterChange(1_111 * MS, 0, (("max_bandwidth", 50 << 20),)),)
    one = machine(**options, changes=changes)
    other = Machine(one.spec, knobs)
    one.run()
    other.run()
    for mine, yours in zip(one.attempts.every, other.attempts.every, strict=True):
        assert mine.recorder.marks == yours.recorder.marks
        assert mine.recorder.samples == yours.recorder.samples
