"""mmu_lock of host processes, on the queue of an engine whose guest leaves it alone."""

from __future__ import annotations

import pytest

from hostsim.costs.exits import EXCLUSIVE, SHARED
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from tests.helpers.live import live_machine, sweep, timed, vm_of


def held(one: Machine, t_ns: int, hold_ns: int, unit_ns: int = 0, mode: int = EXCLUSIVE) -> list[tuple[int, None]]:
    """Gets the time at which a hold asked for at ``t_ns`` is over."""
    return timed(one, t_ns, lambda: vm_of(one).lock.hold(mode, hold_ns, unit_ns))


def ends_of(one: Machine, *holds: tuple[int, ...]) -> list[int]:
    ends = [held(one, *hold) for hold in holds]
    one.run()
    return [found[0][0] for found in ends]


def test_a_free_lock_is_had_at_once() -> None:
    one = live_machine()
    assert ends_of(one, (100, 50)) == [150]
    assert (vm_of(one).lock.wait_ns, vm_of(one).lock.hold_ns) == (0, 50)


def test_first_come_first_served() -> None:
    one = live_machine()
    assert ends_of(one, (100, 50), (120, 30), (110, 5)) == [150, 185, 155]
    assert (vm_of(one).lock.wait_ns, vm_of(one).lock.hold_ns) == (40 + 35, 85)


def test_readers_enter_together_and_a_writer_keeps_others_out() -> None:
    one = live_machine()
    ends = ends_of(
        one, (100, 50, 0, SHARED), (110, 50, 0, SHARED), (120, 10, 0, EXCLUSIVE), (130, 10, 0, SHARED), (131, 20, 0, SHARED)
    )
    assert ends == [150, 160, 170, 180, 190]


@pytest.mark.parametrize(
    ("asked_ns", "yields_ns"), [(130, 140), (140, 140), (141, 160), (100, 120), (101, 120), (181, 200), (195, 200)]
)
def test_a_long_hold_yields_at_the_next_look(asked_ns: int, yields_ns: int) -> None:
    """Units of 20 from 100 on, 100 in all: who asks gets the lock at a multiple, and the rest of the hold comes after."""
    one = live_machine()
    long, short = ends_of(one, (100, 100, 20), (asked_ns, 7))
    assert short == yields_ns + 7
    assert long == (207 if yields_ns < 200 else 200)


def test_without_a_unit_a_hold_is_not_interrupted() -> None:
    assert ends_of(live_machine(), (100, 100), (130, 7)) == [200, 207]


def test_two_holds_that_yield_take_turns() -> None:
    """Each unit ends with the other one waiting."""
    one = live_machine()
    assert ends_of(one, (100, 40, 10), (105, 40, 10)) == [170, 180]
    assert vm_of(one).lock.hold_ns == 80


def test_how_long_is_asked_at_the_first_grant_alone() -> None:
    one, asked = live_machine(), []

    def hold_ns() -> int:
        asked.append(one.env.now_ns)
        return 40

    first = held(one, 100, 30)
    second = timed(one, 110, lambda: vm_of(one).lock.hold(EXCLUSIVE, hold_ns, 10))
    third = held(one, 135, 5)
    one.run()
    assert asked == [130]
    assert (first[0][0], second[0][0], third[0][0]) == (130, 175, 145)


def test_vcpus_stand_in_the_same_queue() -> None:
    """A guest that maps page after page under the exclusive lock gets in where a long hold yields."""
    loads = sweep(512, 1_000_000)
    shadow = MmuSpec(era="E4", mmu="shadow")
    polite, rude = (live_machine(loads, filled=0, mmu=shadow, duration_ns=3_000_000) for _ in range(2))
    ends = ends_of(polite, (10_000, 500_000, 1000)), ends_of(rude, (10_000, 500_000, 0))
    assert ends[0][0] > ends[1][0] + 40_000
    waited = [vm_of(one).tally().wait_ns for one in (polite, rude)]
    assert 0 < waited[0] < waited[1]
    assert waited[1] > 400_000
    assert vm_of(polite).lock.wait_ns > 0
