"""Distinct pages: limits, identities and brute force on small cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.theory.distinct import (
    all_dirty_mean_writes,
    all_dirty_sd_writes,
    distinct_mean_pages,
    distinct_variance_pages,
    poisson_distinct_mean_pages,
    poisson_distinct_variance_pages,
    sweep_distinct_pages,
)


@pytest.mark.parametrize(("pages", "writes"), [(1, 3), (2, 1), (2, 5), (3, 4), (4, 3), (5, 5)])
def test_moments_equal_enumeration(pages: int, writes: int) -> None:
    counts = [len(set(gfns)) for gfns in itertools.product(range(pages), repeat=writes)]
    assert distinct_mean_pages(pages, writes) == pytest.approx(np.mean(counts), rel=1e-12)
    assert distinct_variance_pages(pages, writes) == pytest.approx(np.var(counts), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("pages", [1, 2, 1000, 10**9])
def test_no_write_dirties_nothing(pages: int) -> None:
    assert distinct_mean_pages(pages, 0) == 0.0
    assert distinct_variance_pages(pages, 0) == 0.0


def test_variance_survives_a_huge_region() -> None:
    """A thousand writes to 2^40 pages: all but certainly distinct, variance about k^2 / 2W."""
    assert distinct_variance_pages(2**40, 1000) == pytest.approx(1000 * 999 / 2 / 2**40, rel=0.01)


@given(st.integers(2, 10**7), st.integers(1, 10**7))
def test_mean_is_between_one_and_both_bounds(pages: int, writes: int) -> None:
    mean = distinct_mean_pages(pages, writes)
    assert 1.0 - 1e-9 <= mean <= min(pages, writes) * (1.0 + 1e-9)


def test_poisson_and_fixed_count_agree_to_half_a_page() -> None:
    pages, writes = 10_000, 15_000
    poisson = float(poisson_distinct_mean_pages([pages], [writes / pages], 1.0))
    assert abs(poisson - distinct_mean_pages(pages, writes)) < 0.5


def test_poisson_moments_of_two_classes_add() -> None:
    mean = poisson_distinct_mean_pages([10, 1], [0.5, 3.0], np.array([[0.0, 1.0], [2.0, 1e9]]))
    assert mean.shape == (2, 2)
    assert mean[0, 1] == pytest.approx(10 * (1 - math.exp(-0.5)) + 1 - math.exp(-3.0))
    assert mean[1, 1] == 11.0
    half = math.log(2.0)
    assert float(poisson_distinct_variance_pages([8], [half], 1.0)) == pytest.approx(8 / 4)


def test_a_sweep_is_straight_then_flat() -> None:
    assert sweep_distinct_pages(100, 50.0, [0.0, 1.0, 2.0, 9.0]).tolist() == [0.0, 50.0, 100.0, 100.0]


def test_two_coupons() -> None:
    """Two pages: one write, then a geometric number with mean 2 and variance 2."""
    assert all_dirty_mean_writes(2) == 3.0
    assert all_dirty_sd_writes(2) == pytest.approx(math.sqrt(2.0))
