"""Distinct pages that a stream of writes dirties: mean and variance in closed form.

Units: ``pages`` and ``writes`` are counts, ``rate_*_per_s`` per second, ``seconds`` seconds. Results are
expectations, so they are floats even where they count pages.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def distinct_mean_pages(pages: int, writes: float) -> float:
    """Mean distinct pages after ``writes`` uniform writes to ``pages`` pages: W (1 - (1-1/W)^k).

    Source: classical occupancy (Feller, An Introduction to Probability Theory, vol. 1, IV.2).
    """
    return -pages * math.expm1(_log_missed(pages, writes))


def distinct_variance_pages(pages: int, writes: float) -> float:
    """Variance [pages^2] of the count of distinct_mean_pages: W q (1-q) + W (W-1) (q2 - q^2), q = (1-1/W)^k, q2 = (1-2/W)^k.

    The covariance is taken as q^2 ((q2/q^2) - 1), since W^2 (q2 - q^2) would cancel away for large W.
    Source: classical occupancy (Feller, vol. 1, IV.2).
    """
    if pages == 1 or writes == 0:
        return 0.0
    log_q = _log_missed(pages, writes)
    q = math.exp(log_q)
    ratio = math.expm1(writes * math.log1p(-1.0 / (pages - 1) ** 2)) if pages > 2 else -1.0
    return max(0.0, pages * q * -math.expm1(log_q) + pages * (pages - 1) * q * q * ratio)


def _log_missed(pages: int, writes: float) -> float:
    """Natural logarithm of the probability that one page is missed by every write."""
    if writes == 0:
        return 0.0
    return writes * math.log1p(-1.0 / pages) if pages > 1 else -math.inf


def poisson_distinct_mean_pages(counts: ArrayLike, rates_per_s: ArrayLike, seconds: ArrayLike) -> Floats:
    """Mean distinct pages written in ``seconds``: sum over classes of n_i (1 - e^(-r_i t)).

    counts: float64[c], pages of each class.
    rates_per_s: float64[c], writes to one page of the class.
    seconds: float64[...].
    Returns float64 of the shape of ``seconds``. Holds for any popularity of pages that are
    written independently. Source: Poissonised occupancy (Denning, "The working set model for program
    behavior", CACM 1968, under IRM).
    """
    dirty = -np.expm1(-_expected_writes(rates_per_s, seconds))
    return np.asarray(dirty @ np.asarray(counts, np.float64))


def poisson_distinct_variance_pages(counts: ArrayLike, rates_per_s: ArrayLike, seconds: ArrayLike) -> Floats:
    """Variance [pages^2] of the count of ``poisson_distinct_mean_pages``: sum of n_i e^(-r_i t) (1 - e^(-r_i t)).

    counts, rates_per_s, seconds: as there; returns float64 of the shape of ``seconds``.
    Pages are independent, so each dirty bit is a Bernoulli draw of its own.
    """
    exponent = _expected_writes(rates_per_s, seconds)
    return np.asarray((np.exp(-exponent) * -np.expm1(-exponent)) @ np.asarray(counts, np.float64))


def _expected_writes(rates_per_s: ArrayLike, seconds: ArrayLike) -> Floats:
    """float64[..., c]: writes to one page of each class in each time."""
    return np.multiply.outer(np.asarray(seconds, np.float64), np.asarray(rates_per_s, np.float64))


def sweep_distinct_pages(pages: int, rate_pages_per_s: float, seconds: ArrayLike) -> Floats:
    """Distinct pages of a cyclic sweep over ``pages``: min(W, r t). The sweep never meets a page again before W / r.

    rate_pages_per_s: writes a second, each to the next page.
    seconds: float64[...]; returns float64 of that shape.
    """
    return np.minimum(float(pages), rate_pages_per_s * np.asarray(seconds, np.float64))


def all_dirty_mean_writes(pages: int) -> float:
    """Mean uniform writes until all ``pages`` pages are dirty: W H_W (coupon collector)."""
    return pages * float(np.sum(1.0 / np.arange(1, pages + 1)))


def all_dirty_sd_writes(pages: int) -> float:
    """Standard deviation of that number, exact: sqrt(W^2 sum 1/k^2 - W H_W); about W pi / sqrt(6)."""
    k = np.arange(1, pages + 1, dtype=np.float64)
    return math.sqrt(pages**2 * float(np.sum(1.0 / k**2)) - all_dirty_mean_writes(pages))
