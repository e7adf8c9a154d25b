from __future__ import annotations

from fractions import Fraction

import pytest

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.cpu_throttle import CpuThrottle, Step, dirty_sync_timer, period_ns, sleep_ns

MS = 1_000_000
SECOND = 1_000 * MS


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_vcpu_runs_ten_ms_a_period(percent: int) -> None:
    assert period_ns(percent) - sleep_ns(percent) == 10 * MS
    assert abs(sleep_ns(percent) / period_ns(percent) - percent / 100) < 1e-6


@pytest.mark.parametrize(("percent", "sleep_ms"), [(99, 990), (50, 10), (20, 2.5)])
def test_sleeps_are_those_of_qemu(percent: int, sleep_ms: float) -> None:
    assert sleep_ns(percent) == sleep_ms * MS


def work_of(percent: int, overshoot_ns: int = 0, late_ns: int = 0, stop_at_ns: int = 10 * SECOND) -> int:
    load = Workload("load", "sequential", (0,), 0, 16, Fraction(1000))
    spec = MachineSpec(lay_out([("pc.ram", 16, [])]), (load,), 1, load_sheet("generic"), 1, 2 * SECOND)
    machine = Machine(spec)
    sheet = load_sheet("generic", {"throttle_overshoot_ns": overshoot_ns, "throttle_timer_late_ns": late_ns})
    throttle = CpuThrottle(machine.env, machine.vm, sheet, 1)
    throttle.set(percent)
    machine.env.timeout(stop_at_ns).callbacks.append(lambda _: throttle.stop())
    machine.run()
    return machine.vm.work_ns()


@pytest.mark.parametrize("percent", [20, 50, 80, 99])
def test_a_throttled_guest_does_its_share_of_the_work(percent: int) -> None:
    assert abs(work_of(percent) / (2 * SECOND) - (1 - percent / 100)) <= 10 * MS / (2 * SECOND)


def test_sleeps_that_last_longer_cost_work_and_late_timers_give_it_back() -> None:
    assert work_of(50, overshoot_ns=MS) == pytest.approx(SECOND * 0.9, rel=0.02)
    assert work_of(50, late_ns=5 * MS) == pytest.approx(2 * SECOND * 15 / 25, rel=0.02)


def test_a_throttle_that_is_stopped_ticks_no_more() -> None:
    assert work_of(50, stop_at_ns=SECOND) == pytest.approx(1.5 * SECOND, abs=20 * MS)


def synced_by_the_timer(others_at_s: tuple[float, ...], sync_takes_ns: int = 0) -> list[int]:
    """Seconds within 31 s at which the timer syncs, where the thread syncs at ``others_at_s``."""
    env, syncs, times = Clock(), [], []
    for at_s in others_at_s:
        env.timeout(int(at_s * SECOND)).callbacks.append(syncs.append)

    def sync() -> Step:
        syncs.append(None)
        times.append(env.now // SECOND)
        yield env.timeout(sync_takes_ns)

    env.process(dirty_sync_timer(env, lambda: len(syncs), sync, lambda: True))
    env.run(until=31 * SECOND)
    return times


@pytest.mark.parametrize(
    ("others_at_s", "synced_at_s"),
    [
        ((0,), []),
        ((0, 1), [10, 15, 20, 25, 30]),
        ((0, 1, 7, 14, 18), [25, 30]),
        ((0, 12), [20, 25, 30]),
    ],
)
def test_the_timer_syncs_each_five_quiet_seconds(others_at_s: tuple[float, ...], synced_at_s: list[int]) -> None:
    assert synced_by_the_timer(others_at_s) == synced_at_s


def test_the_timer_is_set_again_when_its_sync_is_over() -> None:
    assert synced_by_the_timer((0, 1), 2 * SECOND) == [10, 17, 24]


def test_the_timer_ends_with_the_migration() -> None:
    env = Clock()
    env.process(dirty_sync_timer(env, lambda: 5, lambda: iter(()), lambda: False))
    env.run()
    assert env.now == 5 * SECOND
