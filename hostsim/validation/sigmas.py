"""z-scores of drawn figures: the distance of samples from a closed form, in standard deviations.

``samples``: float64[n], one figure per independent replication. The forms give mean and variance; nothing
is fitted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def mean_z(samples: ArrayLike, mean: float, variance: float) -> float:
    """Z of the sample mean, given the variance of one sample; a form without spread must be met exactly."""
    values = np.asarray(samples, np.float64)
    off = float(values.mean()) - mean
    if variance == 0.0:
        return 0.0 if off == 0.0 else math.copysign(math.inf, off)
    return off / math.sqrt(variance / len(values))


def variance_z(samples: ArrayLike, mean: float, variance: float) -> float:
    """Z of the mean squared distance from ``mean``, for near-normal counts: its sd is variance sqrt(2/n)."""
    values = np.asarray(samples, np.float64)
    spread = float(np.mean((values - mean) ** 2))
    return (spread / variance - 1.0) / math.sqrt(2.0 / len(values))


def page_bits_z(dirty_counts: ArrayLike, replications: int, probabilities: ArrayLike) -> float:
    """Z of the chi-square of independent per-page dirty bits.

    dirty_counts: int64[pages], replications in which each page was dirty; probabilities: float64[pages].
    Chi-square is the sum of (c - n p)^2 / (n p q); a term has mean 1 and variance 2 + (1 - 6 p q) / (n p
    q), exactly. Pages with n p q below 1 would drown the others and are left to the test of the mean; one
    that must be clean or must be dirty (p is 0 or 1) and is not makes z infinite.
    """
    p, counts = np.asarray(probabilities, np.float64), np.asarray(dirty_counts, np.float64)
    npq = replications * p * (1.0 - p)
    if np.any((npq == 0.0) & (counts != replications * p)):
        return math.inf
    p, counts, npq = p[npq >= 1.0], counts[npq >= 1.0], npq[npq >= 1.0]
    variance = float(np.sum(2.0 + (1.0 - 6.0 * p * (1.0 - p)) / npq))
    return (float(np.sum((counts - replications * p) ** 2 / npq)) - len(p)) / math.sqrt(variance)


def sample_z(samples: ArrayLike, mean: float) -> float:
    """Z of the sample mean where no form gives the variance: by that of the samples, which have to be independent."""
    values = np.asarray(samples, np.float64)
    return mean_z(values, mean, float(values.var(ddof=1)))
