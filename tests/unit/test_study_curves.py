"""The dirty curve, and the migrations that it allows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.errors import InputError
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.floor import bandwidth_needed_bytes_per_s, converges, longest_standing_pass_s
from hostsim.theory.page_classes import PageClasses
from hostsim.theory.precopy import iterate_precopy

MEASURED = DirtyCurve.from_points([1.0, 2.0, 4.0], [300.0, 500.0, 700.0], max_pages=1000.0)


@st.composite
def curves(draw: st.DrawFn) -> DirtyCurve:
    """Concave curves from the origin, some cut off, none above 1e6 pages."""
    n = draw(st.integers(2, 6))
    steps_s = draw(st.lists(st.floats(0.05, 5.0), min_size=n, max_size=n))
    slopes = sorted(draw(st.lists(st.floats(1.0, 1e4), min_size=n, max_size=n)), reverse=True)
    t_s = np.cumsum(steps_s)
    pages = np.cumsum(np.asarray(slopes) * steps_s)
    return DirtyCurve.from_points(t_s.tolist(), pages.tolist(), float(pages[-1]) * 1.5)


def test_measured_points_are_joined_by_lines() -> None:
    assert MEASURED.at([0.0, 1.0, 1.5, 4.0, 5.0, 6.99, 9.0]).tolist() == pytest.approx(
        [100.0, 300.0, 400.0, 700.0, 800.0, 999.0, 1000.0]
    )


def test_a_line_that_starts_below_zero_starts_at_zero() -> None:
    assert DirtyCurve.from_points([1.0, 2.0], [33.0, 78.0])(0.0) == 0.0


def test_inverse_finds_the_earliest_time() -> None:
    assert MEASURED.inverse([50.0, 300.0, 400.0, 900.0, 1000.0]).tolist() == pytest.approx([0, 1, 1.5, 6, 7])
    assert math.isinf(float(MEASURED.inverse(1001.0)))
    flat = DirtyCurve.sequential(100, 50.0)
    assert float(flat.inverse(100.0)) == 2.0


@given(curves(), st.floats(0.0, 1.0))
def test_inverse_inverts(curve: DirtyCurve, share: float) -> None:
    pages = share * curve.ceiling_pages
    assert curve(float(curve.inverse(pages))) == pytest.approx(max(pages, curve(0.0)), rel=1e-9, abs=1e-6)


@given(curves(), st.one_of(st.floats(0.0, 100.0), st.integers(0, 20)), st.floats(0.1, 10.0))
def test_one_time_gives_what_an_array_of_times_does(curve: DirtyCurve, place: float, run_fraction: float) -> None:
    """At knots (a whole number: the knot with that index), between and beyond them; fractions and slopes as drawn."""
    slowed = curve.slowed(run_fraction)
    seconds = float(slowed.t_s[place % len(slowed.t_s)]) if isinstance(place, int) else place
    assert slowed(seconds) == pytest.approx(float(slowed.at(seconds)), rel=1e-15, abs=0.0)
    assert isinstance(slowed(seconds), float)


@given(curves(), curves(), st.floats(0.0, 100.0))
def test_two_regions_add(one: DirtyCurve, other: DirtyCurve, seconds: float) -> None:
    assert one.plus(other)(seconds) == pytest.approx(one(seconds) + other(seconds), rel=1e-9, abs=1e-9)


@given(curves(), st.floats(0.01, 1.0), st.floats(0.0, 50.0))
def test_a_slowed_guest_dirties_later(curve: DirtyCurve, run_fraction: float, seconds: float) -> None:
    slowed = curve.slowed(run_fraction)(seconds)
    assert slowed == pytest.approx(curve(run_fraction * seconds), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("t_s", "pages", "key"),
    [
        ([1.0], [2.0], "points"),
        ([1.0, 2.0], [2.0], "points"),
        ([0.0, 1.0], [1.0, 2.0], "t_s"),
        ([2.0, 1.0], [1.0, 2.0], "t_s"),
        ([1.0, math.nan], [1.0, 2.0], "t_s"),
        ([1.0, 2.0], [3.0, 2.0], "pages"),
        ([1.0, 2.0], [-1.0, 2.0], "pages"),
    ],
)
def test_broken_points_are_refused(t_s: list[float], pages: list[float], key: str) -> None:
    with pytest.raises(InputError) as caught:
        DirtyCurve.from_points(t_s, pages, source="curve.csv")
    assert [(p.file, p.key) for p in caught.value.problems] == [("curve.csv", key)]


@pytest.mark.parametrize(
    "classes",
    [
        PageClasses.uniform(1000, 5e3),
        PageClasses.hotcold(1000, 10, 0.9, 1e4),
        PageClasses.hotcold(10, 10, 1.0, 1e4),
        PageClasses.zipf(5000, 1.0, 1e4),
        PageClasses.zipf(50, 4.0, 10.0),
    ],
)
def test_a_computed_curve_follows_its_classes(classes: PageClasses) -> None:
    curve, t_s = DirtyCurve.from_classes(classes), np.geomspace(1e-5, 1e5, 3001)
    assert curve.at(t_s) == pytest.approx(classes.mean_pages(t_s), rel=2e-5)
    assert curve.ceiling_pages == pytest.approx(classes.pages)


def test_an_idle_guest_has_a_flat_curve() -> None:
    assert DirtyCurve.uniform(100, 0.0)(1e6) == 0.0
    assert DirtyCurve.sequential(100, 0.0)(1e6) == 0.0


@pytest.mark.parametrize("exponent", [0.3, 0.99, 1.0, 2.5])
def test_grouped_zipf_ranks_lose_nothing(exponent: float) -> None:
    pages = 100_000
    grouped, rates = PageClasses.zipf(pages, exponent, 1e5), np.arange(1.0, pages + 1.0) ** -exponent
    single = PageClasses(np.ones(pages), rates / rates.sum() * 1e5)
    assert grouped.pages == pages
    assert grouped.writes_per_s == pytest.approx(1e5)
    for seconds in (0.01, 1.0, 100.0):
        assert float(grouped.mean_pages(seconds)) == pytest.approx(
            float(single.mean_pages(seconds)), rel=1e-5
        )


@given(curves(), st.floats(1e-5, 1e-1), st.floats(1e-3, 10.0))
def test_the_largest_fixed_point_decides(curve: DirtyCurve, page_s: float, limit_s: float) -> None:
    floor_s = longest_standing_pass_s(curve, page_s)
    assert curve(floor_s) * page_s == pytest.approx(floor_s, rel=1e-9, abs=1e-12)
    for scale in (0.9, 1.1):
        limit_s = scale * floor_s if floor_s else limit_s
        outcome = iterate_precopy(curve, curve.max_pages, page_s, limit_s)
        assert outcome.converged == converges(curve, page_s, limit_s)


def test_a_curve_that_outruns_the_link_for_ever_has_no_floor() -> None:
    endless = DirtyCurve.from_points([1.0, 2.0], [100.0, 200.0])
    assert math.isinf(longest_standing_pass_s(endless, 0.01))
    assert longest_standing_pass_s(endless, 0.0099) == 0.0


@given(curves(), st.floats(1e-2, 10.0))
def test_the_bandwidth_needed_is_the_edge(curve: DirtyCurve, limit_s: float) -> None:
    needed = bandwidth_needed_bytes_per_s(curve, limit_s, page_bytes=4096)
    assert converges(curve, 4096 / (needed * 1.001), limit_s)
    assert not converges(curve, 4096 / (needed * 0.999), limit_s * 0.9999)
