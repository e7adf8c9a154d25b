"""Fits of synthetic rounds: the guest behind them is found."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.fitting.estimate import estimate_points
from hostsim.fitting.expected import swept, written_independently
from hostsim.fitting.inputs import point
from hostsim.fitting.layout import regions_of
from hostsim.fitting.mixture import Classes, Sweep
from hostsim.fitting.points import Visit
from hostsim.theory.distinct import poisson_distinct_mean_pages


@settings(max_examples=15, deadline=None)
@given(st.integers(1000, 100_000), st.floats(0.1, 2.0), st.integers(0, 1000), st.floats(20.0, 60.0))
def test_the_curve_of_two_classes_is_found(cold: int, rate: float, hot: int, hot_rate: float) -> None:
    times = np.geomspace(0.05, 10.0, 12)
    pages = poisson_distinct_mean_pages([cold, hot], [rate, hot_rate], times)
    found = estimate_points([point(s, n, 0.02) for s, n in zip(times, pages, strict=True)], 1e6, 1, 0)
    assert np.allclose(found.classes.curve().at(times), pages, rtol=0.05)


@settings(max_examples=15, deadline=None)
@given(st.integers(2000, 100_000), st.floats(0.2, 2.0))
def test_a_sweep_is_told_from_independent_writes(pages: int, sweeps_per_s: float) -> None:
    times = np.geomspace(0.2, 10.0, 14) / sweeps_per_s
    dirty = np.minimum(1.0, times * sweeps_per_s) * pages
    found = estimate_points([point(s, n, 0.02) for s, n in zip(times, dirty, strict=True)], 1e6, 1, 0).classes
    assert found.sweep is not None
    assert abs(found.sweep.pages / pages - 1) < 0.05


@given(st.floats(0.01, 20.0), st.floats(0.05, 20.0), st.floats(0.0, 1.0))
def test_no_class_is_found_dirty_more_often_than_it_has_pages(rate: float, seconds: float, left: float) -> None:
    kept = np.array([left])
    rounds = [Visit(seconds, seconds, left, np.zeros(1), np.ones(1), 0.0, is_first=i == 0, kept=kept) for i in range(4)]
    points = [point(seconds, 1.0, 0.1).__class__((visit,), 1.0, 1.0, 0.0) for visit in rounds]
    for expected in (written_independently(points, np.array([rate])), swept(points, np.array([rate]))):
        assert np.all(expected >= 0)
        assert np.all(expected <= 1 + 1e-12)


@given(st.lists(st.integers(1, 500), max_size=4), st.integers(0, 500), st.integers(1, 8), st.integers(300, 400))
def test_classes_get_their_pages_and_share_none(counts: list[int], sweep: int, ranges: int, each: int) -> None:
    space = [(1000 * i, each) for i in range(ranges)]
    classes = Classes(tuple((float(n), 1.0) for n in counts), Sweep(sweep, 1.0) if sweep else None, np.zeros(0), 0.0)
    regions = regions_of(classes, space)
    taken = [page for r in regions for page in range(r.first_page, r.first_page + r.pages)]
    assert len(taken) == len(set(taken)) == min(sum(counts) + sweep, ranges * each)
    assert all(page % 1000 < each for page in taken)


CURVE_S = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
CURVE_NOISE = 0.03
CLASSES = st.lists(st.tuples(st.floats(300.0, 1e5), st.floats(0.003, 10.0)), min_size=1, max_size=4)
SWEEPS = st.none() | st.tuples(st.floats(1000.0, 1e5), st.floats(0.03, 5.0))


@settings(max_examples=20, deadline=None)
@given(CLASSES, SWEEPS, st.integers(0, 1 << 30))
def test_a_drawn_curve_is_met_within_its_noise_and_concave_between(
    drawn: list[tuple[float, float]], swept_region: tuple[float, float] | None, seed: int
) -> None:
    """Independent classes, and at times a sweep; each point off by 3 %."""
    times = np.array(CURVE_S)
    pages = poisson_distinct_mean_pages([n for n, _ in drawn], [rate for _, rate in drawn], times)
    if swept_region is not None:
        pages = pages + swept_region[0] * np.minimum(1.0, times * swept_region[1])
    noise = np.random.default_rng(seed).standard_normal(len(times))
    seen = np.maximum.accumulate(pages * np.maximum(1 + CURVE_NOISE * noise, 0.5))
    points = [point(s, n, CURVE_NOISE) for s, n in zip(times, seen, strict=True)]
    found = estimate_points(points, 2e6, 1, 0)
    off = (found.classes.expected - seen) / np.array([p.off_pages for p in points])
    assert np.sqrt(np.mean(off**2)) < 2.0
    dense = np.linspace(0.0, 60.0, 400)
    steps = np.diff(found.classes.curve().at(dense))
    assert np.all(steps >= -1e-6)
    assert np.all(np.diff(steps) <= 1e-3 * pages[-1] / len(dense))
