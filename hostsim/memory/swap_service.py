"""Service times of a swap device: distributions, evaluated at a uniform number."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from hostsim.core.rng import natural_log

_P99 = NormalDist().inv_cdf(0.99)


class Service(Protocol):
    """A distribution of service times."""

    def at_ns(self, uniform: float) -> float:
        """The service time [ns] that a share ``uniform`` of all requests, above 0 and below 1, does not exceed."""
        ...


@dataclass(frozen=True)
class Constant:
    """The constant ``value_ns``."""

    value_ns: float

    def at_ns(self, uniform: float) -> float:  # noqa: ARG002  # nothing is drawn
        """See Service."""
        return self.value_ns


@dataclass(frozen=True)
class Exponential:
    """Memoryless."""

    mean_ns: float

    def at_ns(self, uniform: float) -> float:
        """See Service."""
        return -natural_log(1.0 - uniform) * self.mean_ns


@dataclass(frozen=True)
class Lognormal:
    """By its median and its 99th percentile."""

    p50_ns: float
    p99_ns: float

    def at_ns(self, uniform: float) -> float:
        """See Service."""
        sigma = natural_log(self.p99_ns / self.p50_ns) / _P99
        return self.p50_ns * math.exp(sigma * NormalDist().inv_cdf(uniform))


@dataclass(frozen=True)
class Table:
    """Measured percentiles: points (percent, ns), both ascending, from 0 to 100; straight between them."""

    points: tuple[tuple[float, float], ...]

    def at_ns(self, uniform: float) -> float:
        """See Service."""
        at = max(1, bisect_left(self.points, 100.0 * uniform, key=lambda point: point[0]))
        (low, low_ns), (high, high_ns) = self.points[at - 1 : at + 1]
        return low_ns + (high_ns - low_ns) * (100.0 * uniform - low) / (high - low)
