from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.qemu.auto_converge import dirty_rate_is_high, next_percent
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.state import MigrationState

P = MigrationParameters(auto_converge=True)


def test_every_second_high_period_is_a_step() -> None:
    m = MigrationState()
    assert [dirty_rate_is_high(m, P, 51, 100) for _ in range(5)] == [False, True, False, True, False]


def test_a_low_period_does_not_reset_the_count() -> None:
    m = MigrationState()
    assert [dirty_rate_is_high(m, P, dirty, 100) for dirty in (51, 50, 0, 51)] == [False, False, False, True]


@pytest.mark.parametrize(("dirty", "high"), [(49, 0), (50, 0), (51, 1)])
def test_the_threshold_itself_is_not_high(dirty: int, high: int) -> None:
    m = MigrationState()
    dirty_rate_is_high(m, P, dirty, 101)
    assert m.dirty_rate_high_cnt == high


def test_steps_of_the_defaults() -> None:
    percent, steps = 0, []
    for _ in range(11):
        percent = next_percent(percent, P, 100, 10)
        steps.append(percent)
    assert steps == [20, 30, 40, 50, 60, 70, 80, 90, 99, 99, 99]


def test_tailslow_steps_no_further_than_the_ideal() -> None:
    """A guest that runs 80 % and dirties 2 pages for each one allowed needs 40 %; 3 for 2: 54 %, a step of 26."""
    tail = MigrationParameters(auto_converge=True, cpu_throttle_tailslow=True, cpu_throttle_increment=99)
    assert next_percent(20, tail, 200, 200) == 60
    assert next_percent(20, tail, 150, 200) == 47


@given(st.integers(1, 99), st.integers(1, 10**9), st.integers(0, 10**9), st.booleans())
def test_the_percentage_never_falls(percent: int, dirty: int, xfer: int, tailslow: bool) -> None:
    p = MigrationParameters(auto_converge=True, cpu_throttle_tailslow=tailslow)
    if dirty > xfer * p.throttle_trigger_threshold // 100:
        assert percent <= next_percent(percent, p, dirty, xfer) <= p.max_cpu_throttle
