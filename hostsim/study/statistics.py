"""Intervals over replications: of a mean, of a share of runs, of a median; and the rule that ends a study early.

Values are figures of independent runs, never samples of one run, which depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import fmean, median

from hostsim.core.errors import MissingExtraError

CONFIDENCE = 0.95
BATCH = 10
"""Runs between two looks at an interval that is to become narrow. Fixed: the number of workers must not move the result."""
RUNS_FOR_WILSON_MAX = 100_000


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


@dataclass(frozen=True)
class Share:
    """``k`` of ``n`` runs did it: the share, and the Wilson interval of its probability."""

    k: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """K / n; 0 without runs."""
        return self.k / self.n if self.n else 0.0


@dataclass(frozen=True)
class Median:
    """The median of ``n`` values, and an interval that holds the true median of any distribution.

    low, high: None where ``n`` values are too few for the confidence (fewer than 6 for 95 %).
    """

    n: int
    median: float
    low: float | None
    high: float | None


def has_intervals() -> bool:
    """Whether the extra that computes confidence intervals is installed."""
    return find_spec("scipy") is not None


def require_intervals() -> None:
    """MissingExtraError without the extra that computes confidence intervals."""
    if not has_intervals():
        raise MissingExtraError("scipy", "stats")


def method() -> str:
    """The meaning of ``low`` and ``high``, in words."""
    return f"{CONFIDENCE:.0%} confidence interval (Student's t)" if has_intervals() else "least and greatest value"


def spread_of(values: Sequence[float]) -> Spread | None:
    """The spread of ``values``, least and greatest value without the extra; None if there are none."""
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


def share_of(k: int, n: int) -> Share:
    """The share of ``k`` runs in ``n`` with its Wilson score interval; MissingExtraError without scipy."""
    require_intervals()
    if not n:
        return Share(0, 0, 0.0, 1.0)
    from scipy.stats import binomtest

    found = binomtest(k, n).proportion_ci(CONFIDENCE, method="wilson")
    return Share(k, n, float(found.low), float(found.high))


def median_of(values: Sequence[float]) -> Median | None:
    """The median of ``values`` with the interval between two order statistics; None if there are no values.

    MissingExtraError without scipy.
    """
    require_intervals()
    if not values:
        return None
    from scipy.stats import quantile_test

    found = quantile_test(list(values), p=0.5).confidence_interval(CONFIDENCE)
    low, high = (None if math.isnan(end) else float(end) for end in (found.low, found.high))
    both = low is not None and high is not None
    return Median(len(values), float(median(values)), low if both else None, high if both else None)


def percentile_of(values: Sequence[float], percent: float) -> float | None:
    """The value that ``percent`` of the ``values`` do not exceed (nearest rank); None if there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)])


def runs_that_show(probability: float) -> int:
    """The least n of which n runs that all succeed put the Wilson interval at or above ``probability`` (below 1)."""
    low, high = 1, RUNS_FOR_WILSON_MAX
    if share_of(high, high).low < probability:
        return high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if share_of(middle, middle).low >= probability else (middle + 1, high)
    return low


def is_narrow(values: Sequence[float], within: float) -> bool:
    """Whether half of the interval of the mean of ``values`` is at most the share ``within`` of the mean."""
    spread = spread_of(values)
    return spread is not None and spread.reach is not None and spread.reach <= within * abs(spread.mean)
