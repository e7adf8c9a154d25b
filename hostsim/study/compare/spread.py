"""Spread of replications: Student's t interval with scipy, least and greatest value without it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import fmean

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """The mean of ``n`` values with its interval; ``low`` and ``high`` are None for a single value."""

    n: int
    mean: float
    low: float | None
    high: float | None

    @property
    def is_zero_within(self) -> bool | None:
        """Whether 0 lies in the interval; None if there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low <= 0.0 <= self.high

    @property
    def reach(self) -> float | None:
        """Distance from the mean to the farther end."""
        if self.low is None or self.high is None:
            return None
        return max(self.high - self.mean, self.mean - self.low)


def has_intervals() -> bool:
    """Whether the extra that computes confidence intervals is installed."""
    return find_spec("scipy") is not None


def method() -> str:
    """The meaning of ``low`` and ``high``, in words."""
    return f"{CONFIDENCE:.0%} confidence interval (Student's t)" if has_intervals() else "least and greatest value"


def spread_of(values: Sequence[float]) -> Spread | None:
    """The spread of ``values``; None if there are none."""
    if not values:
        return None
    mean = fmean(values)
    if len(values) == 1:
        return Spread(1, mean, None, None)
    low, high = min(values), max(values)
    if low == high:
        return Spread(len(values), low, low, high)
    return Spread(len(values), mean, *(_interval(values, mean) if has_intervals() else (low, high)))


def _interval(values: Sequence[float], mean: float) -> tuple[float, float]:
    from scipy import special  # scipy.stats takes a second to load

    n = len(values)
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(special.stdtrit(n - 1, (1.0 + CONFIDENCE) / 2.0)) * error
    return mean - half, mean + half
