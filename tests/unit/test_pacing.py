from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.rng import NEVER
from hostsim.guest.pacing import W0, Pacing, clock_row, last_tick_before, resume, stop, work_at
from hostsim.kvm.loops.work import touch_ns
from tests.twins.clock import TwinClock

Windows = tuple[int, int, int]
"""Start, length and period of windows of the host's clock."""
ticks_ns = st.sampled_from([0, 1, 7, 10, 64])
speeds = st.builds(Fraction, st.integers(1, 40), st.integers(1, 7)).filter(lambda speed: speed >= 1)
closed = st.builds(lambda tick, late: Pacing(tick_ns=tick, tick_late_ns=late * tick), ticks_ns, st.sampled_from([0, 1, 3]))
open_loop = st.builds(lambda speed, tick: Pacing(True, speed, tick_ns=tick), speeds, ticks_ns)
thinking = st.builds(lambda burst, think: Pacing(burst_ns=burst, think_ns=think), st.integers(1, 60), st.integers(1, 90))
forgetful = st.builds(lambda speed, gap: Pacing(True, speed, gap_ns=gap), speeds, st.sampled_from([1, 7, 40]))
pacings = st.one_of(closed, open_loop, thinking, forgetful)
windows = st.one_of(
    st.just((0, 0, 0)),
    st.tuples(st.integers(-30, 60), st.integers(1, 50), st.just(0)),
    st.builds(lambda at, on, rest: (at, on, on + rest), st.integers(-30, 60), st.integers(1, 50), st.integers(0, 40)),
)
instants = st.lists(st.integers(0, 400), max_size=12).map(sorted)


def run_row(pacing: Pacing, switches: list[int], windows: Windows = (0, 0, 0)) -> np.ndarray:
    """A clock that enters the guest at 0 and leaves and enters it in turn at ``switches``."""
    row = clock_row(pacing, windows)
    resume(row, 0)
    for i, t_ns in enumerate(switches):
        (stop, resume)[i % 2](row, t_ns)
    return row


def run_twin(pacing: Pacing, switches: list[int], windows: Windows = (0, 0, 0)) -> TwinClock:
    twin = TwinClock(pacing, windows)
    twin.enter(0)
    for i, t_ns in enumerate(switches):
        (twin.leave, twin.enter)[i % 2](t_ns)
    return twin


@given(pacings, instants, st.integers(0, 400), windows)
def test_work_is_the_twins(pacing: Pacing, switches: list[int], later: int, hours: Windows) -> None:
    last = switches[-1] if switches else 0
    row, twin = run_row(pacing, switches, hours), run_twin(pacing, switches, hours)
    assert work_at(row, last + later) == twin.work_before(last + later)


@given(pacings, instants, windows)
def test_work_never_goes_back(pacing: Pacing, switches: list[int], hours: Windows) -> None:
    row = run_row(pacing, switches, hours)
    start = switches[-1] if switches else 0
    work = [work_at(row, start + t) for t in range(150)]
    assert all(a <= b for a, b in pairwise(work))


@given(pacings, instants, st.integers(0, 400), windows)
def test_work_is_never_ahead_of_time(pacing: Pacing, switches: list[int], later: int, hours: Windows) -> None:
    last = switches[-1] if switches else 0
    assert 0 <= work_at(run_row(pacing, switches, hours), last + later) <= last + later


@given(closed, instants, st.integers(1, 400))
def test_leaving_and_entering_at_once_changes_no_closed_loop_work(pacing: Pacing, splits: list[int], later: int) -> None:
    end = (splits[-1] if splits else 0) + later
    whole = run_row(pacing, [])
    split = run_row(pacing, [t for t in splits for _ in range(2)])
    assert work_at(split, end) == work_at(whole, end)


@given(speeds, instants, st.integers(1, 400))
def test_leaving_and_entering_at_once_changes_no_open_loop_work(
    speed: Fraction, splits: list[int], later: int
) -> None:
    """Without a backlog: work arrives with time and is done as it arrives."""
    end = (splits[-1] if splits else 0) + later
    assert work_at(run_row(Pacing(True, speed), [t for t in splits for _ in range(2)]), end) == end


@given(speeds, st.lists(st.integers(0, 100), max_size=8).map(sorted))
def test_leaving_with_a_backlog_costs_less_than_a_nanosecond_of_work_each_time(
    speed: Fraction, splits: list[int]
) -> None:
    """Work is kept in whole nanoseconds when the vCPU leaves."""
    away_from_ns, back_ns, end = 0, 1000, 1100
    whole = run_row(Pacing(True, speed), [away_from_ns, back_ns])
    split = run_row(Pacing(True, speed), [away_from_ns, back_ns, *[back_ns + t for t in splits for _ in range(2)]])
    assert 0 <= work_at(whole, end) - work_at(split, end) <= len(splits)


@given(speeds, st.integers(1, 200), st.integers(1, 200))
def test_a_backlog_is_caught_up_with_at_full_speed(speed: Fraction, away_ns: int, back_ns: int) -> None:
    row = run_row(Pacing(True, speed), [50, 50 + away_ns])
    able = 50 + back_ns * speed.numerator // speed.denominator
    assert work_at(row, 50 + away_ns + back_ns) == min(50 + away_ns + back_ns, able)


def test_work_of_a_long_gap_is_left_and_of_a_short_one_made_up() -> None:
    pacing = Pacing(True, Fraction(10), gap_ns=20)
    assert work_at(run_row(pacing, [50, 70]), 80) == 80
    assert work_at(run_row(pacing, [50, 71]), 80) == 59
    assert work_at(run_row(pacing, [50, 70, 75, 90]), 100) == 100


@given(st.integers(1, 20), st.integers(0, 400))
def test_the_tick_of_an_instant_comes_after_its_host_events(tick_ns: int, t_ns: int) -> None:
    expected = max((t for t in range(0, t_ns, tick_ns)), default=0)
    assert last_tick_before(tick_ns, t_ns) == expected


def test_a_missed_tick_fires_at_entry_after_the_host_events_of_that_instant() -> None:
    row = run_row(Pacing(tick_ns=10), [5, 25])
    assert [work_at(row, t) for t in (25, 26, 30, 31)] == [0, 25, 25, 30]


def test_a_tick_too_late_earns_nothing() -> None:
    row = run_row(Pacing(tick_ns=10, tick_late_ns=20), [5, 25])
    assert [work_at(row, t) for t in (26, 31)] == [0, 5]


@given(st.one_of(st.just(Pacing()), thinking, forgetful), instants, st.integers(0, 300), windows)
def test_a_touch_of_a_task_that_thinks_rests_or_leaves_gaps_comes_when_its_work_passes_it(
    pacing: Pacing, switches: list[int], ahead: int, hours: Windows
) -> None:
    """Under KVM the loop asks when; where the clock is read, work by then: one is the inverse of the other."""
    back = switches[: len(switches) // 2 * 2]
    row, twin = run_row(pacing, back, hours), run_twin(pacing, back, hours)
    touch_work = int(row[W0]) + ahead
    at = touch_ns(row, touch_work)
    assert at == twin.when(touch_work)
    assert at == NEVER or work_at(row, at) <= touch_work < work_at(row, at + 1)


@given(st.integers(1, 60), st.integers(1, 90), st.integers(1, 20))
def test_a_task_that_thinks_works_its_share_of_the_time(burst: int, think: int, cycles: int) -> None:
    pacing = Pacing(burst_ns=burst, think_ns=think)
    end = cycles * (burst + think)
    assert work_at(run_row(pacing, []), end) == cycles * burst == end * pacing.duty


def test_a_window_of_the_hosts_clock_ends_while_the_vcpu_is_out_of_the_guest() -> None:
    """Work from 10 to 30 and from 50 to 70: out of the guest from 20 to 40, closed-loop work loses 10."""
    rows = [run_row(pacing, [20, 40], (10, 20, 40)) for pacing in (Pacing(), Pacing(True, Fraction(10)))]
    assert [[work_at(row, t) for t in (40, 50, 60, 90)] for row in rows] == [[10, 10, 20, 30], [10, 20, 30, 40]]


def test_a_sleep_goes_on_while_the_vcpu_is_out_of_the_guest() -> None:
    """Burst until 10, asleep until 40: a vCPU that is out from 15 to 35 loses nothing, one out until 50 loses 10."""
    pacing = Pacing(burst_ns=10, think_ns=30)
    assert work_at(run_row(pacing, [15, 35]), 45) == 15
    assert work_at(run_row(pacing, [15, 50]), 55) == 15
    assert work_at(run_row(pacing, [5, 20]), 60) == 15
