"""Closed forms of hit ratios against other ways to the same numbers."""

from __future__ import annotations

from itertools import combinations
from math import prod

import numpy as np
import pytest
from numpy.typing import NDArray

from hostsim.guest.popularity import zipf_shares
from hostsim.theory.hit_ratio import (
    clock_hit_ratio,
    fifo_hit_ratio,
    fifo_hit_ratio_exact,
    loop_hit_ratio_min,
    lru_hit_ratio,
    lru_hit_ratio_exact,
    static_hit_ratio,
)

SMALL = np.array([0.3, 0.25, 0.15, 0.1, 0.1, 0.06, 0.04])


def lru_by_integral(shares: NDArray[np.float64], frames: int) -> float:
    """Exactly: a reference hits if fewer than ``frames`` other pages were referenced since the last one to its page.

    Poisson references make pages independent: counts of distinct pages in a time t, weighted by who is not among them,
    by one convolution a page; then the integral over t.
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    end = 60.0 / shares.min() ** 0.5 / shares.max() ** 0.5
    times, weights = (nodes + 1.0) * end / 2.0, weights * end / 2.0
    count = np.zeros((len(times), frames))
    count[:, 0] = 1.0
    seen = np.zeros_like(count)
    for share in shares.tolist():
        referenced = -np.expm1(-share * times)[:, None]
        grown = seen * (1.0 - referenced)
        grown[:, 1:] += referenced * (seen[:, :-1] + share**2 * count[:, :-1])
        seen, before = grown, count
        count = before * (1.0 - referenced)
        count[:, 1:] += referenced * before[:, :-1]
    return float(weights @ (count * float(shares @ shares) - seen).sum(axis=1))


@pytest.mark.parametrize("frames", [1, 2, 4, 6])
def test_lru_exactly_two_ways(frames: int) -> None:
    assert lru_hit_ratio_exact(SMALL, frames) == pytest.approx(lru_by_integral(SMALL, frames), rel=1e-6)


def test_che_is_within_a_hundred_thousandth_of_lru() -> None:
    """The run of O15 takes Che's form for the truth; its own standard error is 2e-4."""
    shares = zipf_shares(1000, 0.8)
    assert lru_hit_ratio(shares, 100) == pytest.approx(lru_by_integral(shares, 100), abs=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 6])
def test_fifo_exactly_by_all_contents(frames: int) -> None:
    contents = list(combinations(SMALL.tolist(), frames))
    expected = sum(prod(kept) * sum(kept) for kept in contents) / sum(prod(kept) for kept in contents)
    assert fifo_hit_ratio_exact(SMALL, frames) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("frames", [1, 50, 199])
def test_pages_alike_hit_as_often_as_they_fit(frames: int) -> None:
    shares = np.full(200, 1 / 200)
    for form in (lru_hit_ratio, fifo_hit_ratio, clock_hit_ratio, static_hit_ratio, fifo_hit_ratio_exact):
        assert form(shares, frames) == pytest.approx(frames / 200, rel=1e-9)


def test_mean_field_of_fifo_nears_the_exact_form() -> None:
    """The error falls as the number of pages grows."""
    errors = []
    for pages in (100, 1000, 10_000):
        shares = zipf_shares(pages, 0.8)
        errors.append(abs(fifo_hit_ratio(shares, pages // 10) - fifo_hit_ratio_exact(shares, pages // 10)))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_a_loop_that_nearly_fits() -> None:
    assert loop_hit_ratio_min(11, 10) == 0.9
