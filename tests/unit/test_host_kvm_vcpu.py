"""Throttle, pause and hold of vCPUs that take time to leave: guest work counts what is left."""

from __future__ import annotations

import pytest

from hostsim.costs.host_sheet import punctual
from hostsim.guest.pacing import work_at
from hostsim.kvm.build import exits_of
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.qemu.cpu_throttle import CpuThrottle
from tests.helpers.live import MS, SHEET, at, live_machine, sweep, timed, vm_of


def machine(n_vcpus: int = 1, duration_ns: int = 100_000) -> Machine:
    """All memory is mapped, nothing is logged: the guest leaves by itself never."""
    return live_machine(sweep(1024, 10**6, tuple(range(n_vcpus))), n_vcpus=n_vcpus, duration_ns=duration_ns)


EXIT_NS, ENTRY_NS = exits_of(MmuSpec(), 1).exit_ns, exits_of(MmuSpec(), 1).entry_ns
BOTH_NS = EXIT_NS + ENTRY_NS


def test_a_vcpu_left_alone_stays_in_the_guest() -> None:
    one = machine()
    one.run()
    assert one.vm.work_ns() == 100_000
    assert not vm_of(one).engine.is_out(0)


def test_a_throttled_sleep_begins_when_the_vcpu_is_out() -> None:
    one = machine()
    at(one, 100, lambda: one.vm.vcpus[0].throttle(300))
    one.run()
    assert one.vm.work_ns() == 100_000 - 300 - BOTH_NS


def test_a_sleeping_vcpu_is_not_put_to_sleep_twice() -> None:
    one = machine()
    for t_ns in (100, 150, 100 + EXIT_NS + 200):
        at(one, t_ns, lambda: one.vm.vcpus[0].throttle(300))
    one.run()
    assert one.vm.work_ns() == 100_000 - 300 - BOTH_NS


def test_throttling_one_vcpu_leaves_the_others_running() -> None:
    one = machine(2)
    at(one, 100, lambda: one.vm.vcpus[1].throttle(300))
    one.run()
    assert [work_at(row, 100_000) for row in one.vm.guest.clocks] == [100_000, 99_700 - BOTH_NS]


def test_a_stop_is_over_when_all_are_out() -> None:
    one = machine(2, MS)
    ends = timed(one, 100, one.vm.stop)
    one.run()
    assert ends[0][0] == 100 + EXIT_NS + SHEET.vm_stop_ns
    assert one.vm.work_ns() == 200
    assert not one.vm.running


def test_a_stop_cuts_a_throttled_sleep_short() -> None:
    one = machine(1, MS)
    at(one, 50, lambda: one.vm.vcpus[0].throttle(10**8))
    ends = timed(one, 20_000, one.vm.stop)
    one.run()
    assert ends[0][0] == 20_000 + SHEET.vm_stop_ns
    assert one.vm.work_ns() == 50


def test_a_stop_while_the_throttled_vcpu_is_leaving_waits_for_that() -> None:
    one = machine(1, MS)
    at(one, 50, lambda: one.vm.vcpus[0].throttle(10**8))
    ends = timed(one, 51, one.vm.stop)
    one.run()
    assert ends[0][0] == 50 + EXIT_NS + SHEET.vm_stop_ns


def test_a_paused_vcpu_goes_on_where_it_was() -> None:
    one = machine()
    at(one, 100, one.vm.vcpus[0].pause)
    at(one, 60_000, one.vm.start)
    one.run()
    assert one.vm.work_ns() == 100 + 40_000 - ENTRY_NS
    assert one.vm.running


def test_a_work_item_waits_for_a_sleeping_vcpu() -> None:
    one = machine(2)
    at(one, 100, lambda: one.vm.vcpus[1].throttle(300))
    early, late = (timed(one, t_ns, one.vm.run_on_cpus) for t_ns in (50, 200))
    one.run()
    assert (early[0][0], late[0][0]) == (50, 400 + EXIT_NS)


def test_held_vcpus_are_out_until_the_last_lets_them_go() -> None:
    one = machine(2)
    vm = vm_of(one)
    ends = timed(one, 100, vm.hold_all), timed(one, 9_000, vm.hold_all)
    for t_ns in (10_000, 20_000):
        at(one, t_ns, vm.release_all)
    one.run()
    assert (ends[0][0][0], ends[1][0][0]) == (100 + EXIT_NS, 9_000)
    assert vm.work_ns() == 2 * (100 + 80_000 - ENTRY_NS)


@pytest.mark.parametrize(("throttled_ns", "work_ns"), [(50, 50), (200, 100)])
def test_a_hold_does_not_wake_a_sleeping_vcpu(throttled_ns: int, work_ns: int) -> None:
    """Put to sleep before it is held, or while: either way it enters when the sleep is over, not when it is let go."""
    one = machine()
    vm = vm_of(one)
    timed(one, 100, vm.hold_all)
    at(one, throttled_ns, lambda: vm.vcpus[0].throttle(50_000))
    at(one, 5_000, vm.release_all)
    one.run()
    out_ns = max(throttled_ns, min(throttled_ns, 100) + EXIT_NS)
    assert vm.work_ns() == work_ns + 100_000 - out_ns - 50_000 - ENTRY_NS


def test_a_pause_is_told_although_the_vcpu_is_held() -> None:
    one = machine(1, MS)
    vm = vm_of(one)
    timed(one, 100, vm.hold_all)
    ends = timed(one, 10_000, vm.stop)
    at(one, 500_000, vm.release_all)
    one.run()
    assert ends[0][0] == 10_000 + SHEET.vm_stop_ns
    assert vm.work_ns() == 100


def test_cpu_throttle_takes_its_share() -> None:
    """50 %: 10 ms of sleep each 20 ms; leaving and entering comes on top."""
    one = machine(1, 200 * MS)
    CpuThrottle(one.env, one.vm, punctual(SHEET), 1).set(50)
    one.run()
    assert one.vm.work_ns() == 10 * (10 * MS - BOTH_NS)
    assert vm_of(one).tally().stall_ns == pytest.approx(10 * BOTH_NS, abs=BOTH_NS)
