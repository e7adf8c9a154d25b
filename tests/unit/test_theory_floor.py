"""The floor and its inverses: against closed forms, a plain page-by-page loop, and outcomes of real migrations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.floor import (
    bandwidth_needed_pages_per_s,
    floor_pages,
    limit_needed_s,
    mean_pages,
    settle_pages,
    speed_needed,
    sweep_s,
    time_to_converge_s,
)
from tests.unit.verdict_loop import PAGE, Loop, Writer, hotcold, sequential, uniform, zipf

W = 16384


@pytest.mark.parametrize(("rho", "x"), [(1.2, 0.313698), (1.5, 0.582812), (2.0, 0.796812), (3.0, 0.940480)])
def test_remaining_settles_at_the_fixed_point_of_saturating_precopy(rho: float, x: float) -> None:
    assert settle_pages(DirtyCurve.uniform(W, rho * 8000.0), 8000.0) == pytest.approx(x * W, rel=3e-4)


@pytest.mark.parametrize("rho", [1.05, 1.2, 1.5, 3.0, 30.0])
def test_the_floor_of_uniform_writes(rho: float) -> None:
    assert floor_pages(DirtyCurve.uniform(W, rho * 8000.0), 8000.0) == pytest.approx(W * (1 - 1 / rho), rel=2e-3)


@pytest.mark.parametrize("rho", [0.3, 0.9, 0.99])
def test_a_guest_slower_than_the_link_has_no_floor(rho: float) -> None:
    curve = DirtyCurve.uniform(W, rho * 8000.0)
    assert sweep_s(curve, 8000.0) == 0.0
    assert floor_pages(curve, 8000.0) == 0.0
    assert speed_needed(curve, 8000.0, 0.3) == 1.0


@pytest.mark.parametrize("rate", [8800.0, 12288.0, 24576.0])
@pytest.mark.parametrize("limit_s", [0.05, 0.3, 1.0])
def test_the_bandwidth_uniform_writes_need(rate: float, limit_s: float) -> None:
    needed = bandwidth_needed_pages_per_s(DirtyCurve.uniform(W, rate), limit_s)
    assert needed == pytest.approx(W / (limit_s + W / rate), rel=2e-3)


def test_the_throttle_uniform_writes_need() -> None:
    speed = speed_needed(DirtyCurve.uniform(W, 24576.0), 8176.0, 0.3)
    assert speed == pytest.approx(8176.0 / (1 - 8176.0 * 0.3 / W) / 24576.0, rel=2e-3)


def test_a_sweep_saturates_at_its_pages() -> None:
    curve = DirtyCurve.sequential(4096, 16384)
    assert settle_pages(curve, 8176.0) == pytest.approx(4096)
    assert floor_pages(curve, 8176.0) == pytest.approx(4096 * (1 - 8176 / (2 * 16384)), rel=1e-6)


def test_a_guest_that_never_meets_a_page_twice_needs_its_own_rate() -> None:
    needed = bandwidth_needed_pages_per_s(DirtyCurve.sequential(10**9, 10_000), 0.3)
    assert needed == pytest.approx(10_000, rel=1e-3)


def test_the_mean_is_exact_on_a_piecewise_linear_curve() -> None:
    curve = DirtyCurve.sequential(100, 100)
    assert mean_pages(curve, 0.5) == pytest.approx(25)
    assert mean_pages(curve, 4.0) == pytest.approx((50 + 300) / 4)
    assert mean_pages(curve, 0.0) == 0.0


def test_the_time_of_geometric_rounds() -> None:
    """Sent is the start plus all that was dirtied less the rest: T = (64000 - rest) / (B - r), 0 <= rest < 4000."""
    seconds = time_to_converge_s(DirtyCurve.sequential(10**9, 4000), 8000.0, 4000.0, 64000.0)
    assert seconds is not None
    assert 15.0 <= seconds <= 16.0
    assert time_to_converge_s(DirtyCurve.uniform(W, 24576.0), 8000.0, 2400.0, 30000.0) is None


def test_pages_that_the_guest_never_writes_are_sent_once() -> None:
    """A large threshold ends the first pass before its end, and the sync finds pages that wait for their first turn."""
    loop = Loop(uniform(3000, 2000.0), 9000, 1000.0, 2.3, duration_s=60)
    assert loop.run()
    second = next(one for one in loop.answers if one["info"]["ram"]["dirty-sync-count"] == 2)
    remaining, end_s = second["info"]["ram"]["remaining"] / PAGE, loop.answers[-1]["t"]
    assert remaining > 3000
    left_s = time_to_converge_s(DirtyCurve.uniform(3000, 2000.0), 1000.0, 2300.0, remaining)
    assert left_s == pytest.approx(end_s - second["t"], rel=0.25)


@pytest.mark.parametrize("rate", [1800.0, 2000.0, 2200.0])
def test_hot_pages_that_wait_for_the_cursor_count_once(rate: float) -> None:
    """Zipf near the threshold: from each sync on, the time left is that of the loop within a tenth and three windows."""
    curve = DirtyCurve.zipf(16384, 0.99, rate)
    loop = Loop(zipf(16384, 0.99, rate), 16384, 1000.0, 1.0, duration_s=200)
    assert floor_pages(curve, 1000.0) < 1000.0
    assert loop.run()
    end_s = loop.answers[-1]["t"]
    first: dict[int, tuple[float, float]] = {}
    for answer in loop.answers[:-1]:
        ram = answer["info"]["ram"]
        first.setdefault(ram["dirty-sync-count"], (answer["t"], ram["remaining"] / PAGE))
    for t_s, remaining in list(first.values())[2:]:
        left_s = time_to_converge_s(curve, 1000.0, 1000.0, remaining)
        assert left_s == pytest.approx(end_s - t_s, rel=0.1, abs=0.3)


WRITERS = [
    (uniform(3000, 1500.0), DirtyCurve.uniform(3000, 1500.0)),
    (uniform(3000, 4000.0), DirtyCurve.uniform(3000, 4000.0)),
    (hotcold(4000, 400, 0.7, 4000.0), DirtyCurve.hotcold(4000, 400, 0.7, 4000.0)),
]


@pytest.mark.parametrize(("writer", "curve"), WRITERS, ids=["uniform1.5", "uniform4", "hotcold"])
def test_the_loop_ends_above_the_floor_and_not_below(writer: Writer, curve: DirtyCurve) -> None:
    needed_s = limit_needed_s(curve, 1000.0)
    assert Loop(writer, 5000, 1000.0, 1.08 * needed_s, duration_s=120).run()
    assert not Loop(writer, 5000, 1000.0, 0.85 * needed_s, duration_s=120).run()


def test_the_loop_ends_above_the_floor_of_a_sweep() -> None:
    needed_s = limit_needed_s(DirtyCurve.sequential(3000, 1500.0), 1000.0)
    assert Loop(sequential(3000, 1500.0), 5000, 1000.0, 1.08 * needed_s).run()


MEASURED = [
    ("rand", 16384, 12288, 0.3, False),
    ("rand", 16384, 12288, 1.0, True),
    ("rand", 16384, 8192, 0.3, True),
    ("rand", 16384, 7372, 0.05, True),
    ("hotcold", 16384, 16384, 0.3, True),
    ("seq", 16384, 9011, 0.3, False),
    ("seq", 1024, 24576, 0.3, True),
    ("seq", 4096, 16384, 0.3, False),
    ("seq", 4096, 16384, 0.6, True),
]
"""Pattern, pages, writes/s, limit and whether it converged at 32 MiB/s: QEMU 7.2.22 and 10.0.2 under TCG, three or four
repeats each, all alike."""


@pytest.mark.parametrize(("pattern", "pages", "rate", "limit_s", "converged"), MEASURED)
def test_the_floor_decides_real_outcomes(pattern: str, pages: int, rate: int, limit_s: float, converged: bool) -> None:
    sent = 33554432 / 4104
    curve = {
        "rand": lambda: DirtyCurve.uniform(pages, rate),
        "seq": lambda: DirtyCurve.sequential(pages, rate),
        "hotcold": lambda: DirtyCurve.hotcold(pages, 1638, 0.9, rate),
    }[pattern]()
    assert (floor_pages(curve, sent) < 33554432 * limit_s / 4096) is converged


def test_a_curve_without_end_is_a_slope() -> None:
    endless = DirtyCurve.from_points([1.0, 2.0], [1000.0, 2000.0])
    assert math.isinf(sweep_s(endless, 500.0))


SLOPES = st.sampled_from([0.0, 1e-3, 1.0, 50.0, 1e3])
STEPS = st.lists(st.tuples(st.floats(1e-3, 10), st.one_of(st.just(0.0), st.floats(0.1, 1e4))), min_size=2, max_size=12)


@given(STEPS, st.floats(1, 1e5), SLOPES, st.floats(0.5, 2))
def test_the_steady_sweep_is_the_last_crossing(
    steps: list[tuple[float, float]], sent: float, slope: float, ceiling: float
) -> None:
    """At P guest and link are level, and the link is ahead at every later corner of the curve."""
    t_s, pages = np.cumsum([(0.0, 0.0), *steps], axis=0).T
    curve = DirtyCurve(t_s, pages, slope, max(1.0, ceiling * float(pages[-1])))
    found = sweep_s(curve, sent)
    assert curve(found) == pytest.approx(sent * found, rel=1e-6, abs=1e-6)
    corners_s, at_corners = curve.corners
    later = corners_s > found * (1 + 1e-6)
    assert (at_corners[later] <= sent * corners_s[later] * (1 + 1e-6)).all()
