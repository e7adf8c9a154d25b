"""Pre-copy as a map, throttle arithmetic and bytes on the wire."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.precopy import (
    Caps,
    geometric_precopy,
    iterate_precopy,
    never_completes_above_pages,
    page_seconds,
    predict_precopy,
    saturating_curve,
    saturating_fixed_point,
    throughput_mbps,
    transferred_bytes,
)
from hostsim.theory.throttle import increments_needed, run_fraction, sleep_ns, steps_needed, throttle_needed


@given(st.integers(1, 10**6), st.floats(0.0, 0.99), st.floats(1e-4, 2.0))
def test_the_closed_form_is_the_map(pages: int, ratio: float, limit_share: float) -> None:
    page_s = 1e-5
    closed = geometric_precopy(pages, ratio / page_s, page_s, limit_share * pages * page_s)
    walked = iterate_precopy(lambda t: ratio / page_s * t, pages, page_s, limit_share * pages * page_s)
    assert closed.converged
    assert abs(closed.passes - walked.passes) <= 1  # a limit met to the last bit may fall on either side
    if closed.passes == walked.passes:
        assert closed.total_s == pytest.approx(walked.total_s)
        assert closed.pages_sent == pytest.approx(walked.pages_sent)
        assert closed.last_pass_s == pytest.approx(walked.last_pass_s)


def test_memory_that_fits_into_the_limit_is_sent_at_once() -> None:
    outcome = geometric_precopy(100, 1e9, 0.001, 0.1)
    assert (outcome.converged, outcome.passes, outcome.pages_sent) == (True, 1, 100)


@pytest.mark.parametrize(("rate", "limit_s"), [(1000.0, 0.01), (2000.0, 0.01), (1.0, 0.0)])
def test_what_never_gets_short_enough(rate: float, limit_s: float) -> None:
    assert not geometric_precopy(100, rate, 0.001, limit_s).converged


def test_an_idle_guest_needs_one_empty_pass_more() -> None:
    outcome = geometric_precopy(100, 0.0, 0.001, 0.01)
    assert (outcome.passes, outcome.last_pass_s, outcome.pages_sent) == (2, 0.0, 100)


@given(st.floats(1.001, 50.0))
def test_the_fixed_point_is_lambert_w(rho: float) -> None:
    """W0(-rho e^-rho) = rho (x - 1) solves w e^w = -rho e^-rho on the branch above -1."""
    x = saturating_fixed_point(rho)
    w = rho * (x - 1.0)
    assert w >= -1.0
    assert x == pytest.approx(-math.expm1(-rho * x), rel=1e-9)
    assert w * math.exp(w) == pytest.approx(-rho * math.exp(-rho), rel=1e-9)


@pytest.mark.parametrize("excess", [3e-16, 1e-15, 1e-12, 1e-9, 1e-6])
def test_just_above_one_the_fixed_point_is_small(excess: float) -> None:
    assert 0.0 < saturating_fixed_point(1.0 + excess) <= 2.5 * excess + 1e-7


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
def test_below_one_every_pass_shrinks_to_nothing(rho: float) -> None:
    assert saturating_fixed_point(rho) == 0.0
    assert math.isinf(never_completes_above_pages(rho, 1.0, 1.0))


@given(st.floats(1.01, 5.0), st.floats(0.01, 10.0))
def test_the_critical_working_set_is_the_edge(rho: float, limit_s: float) -> None:
    page_s = 1e-5
    pages = never_completes_above_pages(rho / page_s, page_s, limit_s)
    for scale in (0.98, 1.02):
        curve = saturating_curve(scale * pages, rho / page_s)
        assert iterate_precopy(curve, 10 * pages, page_s, limit_s).converged == (scale < 1.0)


@pytest.mark.parametrize("rho", [0.5, 1.05, 1.5, 3.0])
@pytest.mark.parametrize("caps", [Caps(), Caps(5, 3.0), Caps(29, 1.5), Caps(1, 99.0)])
def test_a_cap_bounds_time_and_downtime(rho: float, caps: Caps) -> None:
    pages, page_s = 10_000, 1e-4
    outcome = iterate_precopy(saturating_curve(pages, rho / page_s), pages, page_s, 0.001, caps=caps)
    assert outcome.passes <= caps.live_passes + 1
    assert pages * page_s <= outcome.total_s < caps.time_bound_s(pages, page_s)
    assert outcome.last_pass_s <= caps.downtime_bound_s(pages, page_s)
    assert outcome.capped == (outcome.last_pass_s > 0.001)


def test_zero_pages_cost_their_header_once() -> None:
    curve = DirtyCurve.sequential(1000, 100.0)
    outcome = predict_precopy(curve, 1000, 500, 1e6, 0.5, page_bytes=4104, zero_page_bytes=8)
    first_s = (1000 * 4104 + 500 * 8) / 1e6
    assert outcome.passes == 4
    assert outcome.total_s == pytest.approx(first_s * (1.0 + 0.4104 + 0.4104**2 + 0.4104**3))


def test_a_forecast_gives_up() -> None:
    curve = saturating_curve(10_000, 99_000.0)
    assert iterate_precopy(curve, 10_000, 1e-5, 1e-6, give_up_s=0.5).total_s > 0.5
    assert not iterate_precopy(curve, 10_000, 1e-5, 1e-6, give_up_s=0.5).converged
    assert iterate_precopy(curve, 10_000, 1e-5, 1e-6).converged


@given(st.integers(0, 99))
def test_a_throttled_vcpu_runs_the_rest(percent: int) -> None:
    assert run_fraction(percent) == Fraction(100 - percent, 100)


@pytest.mark.parametrize(("percent", "sleep_ms"), [(20, 2.5), (50, 10), (99, 990)])
def test_sleeps_between_timeslices(percent: int, sleep_ms: float) -> None:
    assert float(sleep_ns(percent)) == sleep_ms * 1e6


def throttle_schedule(initial_percent: int, increment_percent: int) -> list[int]:
    """Every percentage that auto-converge passes through (mig_throttle_guest_down)."""
    steps = [initial_percent]
    while steps[-1] < 99:
        steps.append(min(steps[-1] + increment_percent, 99))
    return steps


@given(st.floats(0.0, 0.99), st.integers(1, 99), st.integers(1, 99))
def test_steps_are_counted_along_the_schedule(needed: float, initial: int, increment: int) -> None:
    enough = [
        i + 1 for i, p in enumerate(throttle_schedule(initial, increment)) if p >= 100.0 * needed - 1e-7
    ]
    assert steps_needed(needed, initial, increment) == (enough[0] if needed > 0 else 0)


def test_what_no_throttle_reaches() -> None:
    assert throttle_needed(1.0, 2.0) == 0.0
    assert throttle_needed(4.0, 1.0) == 0.75
    assert increments_needed(0.75) == 6
    assert steps_needed(0.95, max_percent=90) is None


def test_wire_arithmetic() -> None:
    assert page_seconds(4104.0) == 1.0
    assert transferred_bytes(10, 30, 20) - transferred_bytes(0, 0) == 10 * 4104 + 10 * 9
    assert throughput_mbps(1_000_000, 1010, 10) == 8.0
