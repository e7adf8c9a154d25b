from __future__ import annotations

from collections.abc import Callable, Generator
from fractions import Fraction

import simpy

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.pacing import work_at
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec


def machine(n_vcpus: int = 1, duration_ns: int = 1000) -> Machine:
    load = Workload("load", "sequential", tuple(range(n_vcpus)), 0, 16, Fraction(10**8))
    return Machine(MachineSpec(lay_out([("pc.ram", 16, [])]), (load,), n_vcpus, load_sheet("generic"), 1, duration_ns))


def at(one: Machine, t_ns: int, call: Callable[[], object]) -> None:
    one.env.timeout(t_ns).callbacks.append(lambda _: call())


def stopped_at(one: Machine, request_ns: int) -> list[int]:
    """A list that gets the time at which a stop requested at ``request_ns`` is over."""
    times: list[int] = []

    def stop() -> Generator[simpy.Event, object, None]:
        yield one.env.timeout(request_ns)
        yield from one.vm.stop()
        times.append(one.env.now)

    one.env.process(stop())
    return times


def test_a_vcpu_left_alone_stays_in_the_guest() -> None:
    one = machine()
    one.run()
    assert one.vm.vcpus[0].in_guest
    assert one.vm.work_ns() == 1000


def test_a_throttled_vcpu_sleeps_and_comes_back() -> None:
    one = machine()
    at(one, 100, lambda: one.vm.vcpus[0].throttle(300))
    one.run()
    assert one.vm.work_ns() == 700


def test_a_sleeping_vcpu_is_not_put_to_sleep_twice() -> None:
    one = machine()
    for t_ns in (100, 250):
        at(one, t_ns, lambda: one.vm.vcpus[0].throttle(300))
    one.run()
    assert one.vm.work_ns() == 700


def test_throttling_one_vcpu_leaves_the_others_running() -> None:
    one = machine(2)
    at(one, 100, lambda: one.vm.vcpus[1].throttle(300))
    one.run()
    assert [work_at(row, 1000) for row in one.vm.guest.clocks] == [1000, 700]


def test_a_stop_takes_its_time_once_all_are_out() -> None:
    one = machine(2, 10**9)
    times = stopped_at(one, 100)
    one.run()
    assert times == [100 + load_sheet("generic").vm_stop_ns]
    assert one.vm.work_ns() == 200


def test_a_stop_cuts_a_throttled_sleep_short() -> None:
    one = machine(1, 10**9)
    at(one, 50, lambda: one.vm.vcpus[0].throttle(10**8))
    times = stopped_at(one, 100)
    one.run()
    assert times == [100 + load_sheet("generic").vm_stop_ns]
    assert one.vm.work_ns() == 50


def test_a_paused_vcpu_goes_on_where_it_was() -> None:
    one = machine()
    at(one, 100, one.vm.vcpus[0].pause)
    at(one, 600, one.vm.start)
    one.run()
    assert one.vm.work_ns() == 500
    assert one.vm.running


def work_item_times(one: Machine, request_ns: int) -> list[int]:
    times: list[int] = []

    def ask() -> Generator[simpy.Event, object, None]:
        yield one.env.timeout(request_ns)
        yield from one.vm.run_on_cpus()
        times.append(one.env.now)

    one.env.process(ask())
    return times


def test_a_work_item_waits_for_a_sleeping_vcpu() -> None:
    one = machine(2)
    at(one, 100, lambda: one.vm.vcpus[1].throttle(300))
    early, late = work_item_times(one, 50), work_item_times(one, 200)
    one.run()
    assert (early, late) == ([50], [400])


def test_a_work_item_queued_right_behind_the_throttles_waits_too() -> None:
    one = machine()
    at(one, 100, lambda: one.vm.vcpus[0].throttle(300))
    times = work_item_times(one, 100)
    one.run()
    assert times == [400]
