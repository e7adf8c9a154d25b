"""The dirty curve D(t): distinct pages written in the t seconds after all dirty bits were cleared.

Measured (``calc-dirty-rate`` over growing periods) or computed from a workload, the curve is the only
property of a guest that a pass-by-pass forecast of pre-copy needs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hostsim.core.errors import InputError, Problem
from hostsim.theory.page_classes import PageClasses

KNOTS_PER_DECADE = 160
"""Knots of a computed curve; a straight line between two of them is within 2e-5 of the curve."""


@dataclass(frozen=True, eq=False)
class DirtyCurve:
    """Pages over time, piecewise linear and never falling.

    t_s: float64[k], ascending from 0, seconds; pages: float64[k], distinct pages dirtied by then;
    last_slope_pages_per_s: slope beyond the last knot; max_pages: the curve is cut off there (inf: never).
    """

    t_s: NDArray[np.float64]
    pages: NDArray[np.float64]
    last_slope_pages_per_s: float = 0.0
    max_pages: float = math.inf

    def __call__(self, seconds: float) -> float:
        """Distinct pages dirtied within ``seconds``: as ``at``, which costs ten times as much for one number."""
        t_s, pages = self._knots
        right = bisect_right(t_s, seconds)
        if right == len(t_s):
            found = pages[-1] + (seconds - t_s[-1]) * self.last_slope_pages_per_s
        elif right == 0:
            found = pages[0]
        else:
            slope = (pages[right] - pages[right - 1]) / (t_s[right] - t_s[right - 1])
            found = slope * (seconds - t_s[right - 1]) + pages[right - 1]
        return float(min(found, self.max_pages))

    @cached_property
    def _knots(self) -> tuple[list[float], list[float]]:
        return self.t_s.tolist(), self.pages.tolist()

    def at(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Distinct pages dirtied within ``seconds`` (float64[...]); same shape."""
        t = np.asarray(seconds, np.float64)
        beyond = np.maximum(t - self.t_s[-1], 0.0) * self.last_slope_pages_per_s
        return np.asarray(np.minimum(np.interp(t, self.t_s, self.pages) + beyond, self.max_pages))

    def inverse(self, pages: ArrayLike) -> NDArray[np.float64]:
        """Earliest time [s] at which ``pages`` (float64[...]) are dirty; inf where they never are."""
        wanted = np.asarray(pages, np.float64)
        return np.where(wanted > self.ceiling_pages, math.inf, self._time_within(wanted))

    @property
    def ceiling_pages(self) -> float:
        """Pages the curve tends to: its working set as far as it is known."""
        if self.last_slope_pages_per_s > 0:
            return self.max_pages
        return min(float(self.pages[-1]), self.max_pages)

    @cached_property
    def saturation_s(self) -> float:
        """Time [s] at which the ceiling is reached; inf without one."""
        return float(self.inverse(self.ceiling_pages))

    def slowed(self, run_fraction: float) -> DirtyCurve:
        """The curve of this guest at ``run_fraction`` (0 < .. <= 1) of its speed: D(run_fraction t)."""
        return DirtyCurve(
            self.t_s / run_fraction, self.pages, self.last_slope_pages_per_s * run_fraction, self.max_pages
        )

    def plus(self, other: DirtyCurve) -> DirtyCurve:
        """The curve of two guests, or two disjoint regions, together."""
        t_s = np.union1d(self.corners[0], other.corners[0])
        slope = sum(curve.slope_beyond_pages_per_s(float(t_s[-1])) for curve in (self, other))
        return DirtyCurve(t_s, self.at(t_s) + other.at(t_s), slope, self.max_pages + other.max_pages)

    def slope_beyond_pages_per_s(self, seconds: float) -> float:
        """Slope to the right of ``seconds``, where that lies at or behind the last corner."""
        return self.last_slope_pages_per_s if seconds < self.saturation_s else 0.0

    @cached_property
    def corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """All times [s] at which the slope may change (the knots, and the point where the curve is cut off); pages then."""
        cut = self.saturation_s
        t_s = np.union1d(self.t_s, [cut]) if math.isfinite(cut) else self.t_s
        return t_s, self.at(t_s)

    def _time_within(self, pages: NDArray[np.float64]) -> NDArray[np.float64]:
        right = np.clip(np.searchsorted(self.pages, pages, side="left"), 1, len(self.pages) - 1)
        low, high = self.pages[right - 1], self.pages[right]
        share = np.divide(pages - low, high - low, out=np.zeros_like(pages), where=high > low)
        inside = self.t_s[right - 1] + share * (self.t_s[right] - self.t_s[right - 1])
        behind = np.divide(
            pages - self.pages[-1], self.last_slope_pages_per_s, out=np.zeros_like(pages),
            where=np.full(pages.shape, self.last_slope_pages_per_s > 0),
        )  # fmt: skip
        outside = np.where(pages > self.pages[-1], self.t_s[-1] + behind, inside)
        return np.where(pages <= self.pages[0], 0.0, outside)

    @classmethod
    def from_points(
        cls,
        t_s: Sequence[float],
        pages: Sequence[float],
        max_pages: float = math.inf,
        source: str = "dirty curve",
    ) -> DirtyCurve:
        """From measured points: D(0) = max(0, line through the first two), beyond the last its last slope.

        t_s, pages: at least two points, times above 0 ascending, pages not falling. ``source`` names them
        in errors. Raises InputError with every problem. Source of both rules: QEMU patch series "Migration
        time prediction using calc-dirty-rate", scripts/predict_migration.py (qemu-devel, 2023).
        """
        _check_points(t_s, pages, source)
        times, counts = np.asarray(t_s, np.float64), np.asarray(pages, np.float64)
        first = (counts[1] - counts[0]) / (times[1] - times[0])
        last = float((counts[-1] - counts[-2]) / (times[-1] - times[-2]))
        at_zero = max(0.0, float(counts[0] - first * times[0]))
        return cls(np.concatenate([[0.0], times]), np.concatenate([[at_zero], counts]), last, max_pages)

    @classmethod
    def from_classes(cls, classes: PageClasses) -> DirtyCurve:
        """Mean curve of pages written independently, sampled until only 1e-9 of a page is clean."""
        written = classes.rates_per_s[classes.rates_per_s > 0]
        if not len(written):
            return cls(np.array([0.0, 1.0]), np.zeros(2))
        first = 1e-5 / float(written.max())
        last = math.log(1e9 * max(1.0, classes.pages)) / float(written.min())
        t_s = np.geomspace(first, last, math.ceil(math.log10(last / first) * KNOTS_PER_DECADE) + 1)
        return cls(np.concatenate([[0.0], t_s]), np.concatenate([[0.0], classes.mean_pages(t_s)]))

    @classmethod
    def uniform(cls, pages: int, writes_per_s: float) -> DirtyCurve:
        """Uniform writes to ``pages`` pages."""
        return cls.from_classes(PageClasses.uniform(pages, writes_per_s))

    @classmethod
    def hotcold(cls, pages: int, hot_pages: int, hot_share: float, writes_per_s: float) -> DirtyCurve:
        """``hot_share`` of the writes to ``hot_pages`` of the ``pages`` pages."""
        return cls.from_classes(PageClasses.hotcold(pages, hot_pages, hot_share, writes_per_s))

    @classmethod
    def zipf(cls, pages: int, exponent: float, writes_per_s: float) -> DirtyCurve:
        """Mean curve of ``pages`` pages by Zipf popularity: the page of rank k gets a share in k^-exponent of the writes.

        writes_per_s: to all pages together. See ``PageClasses.zipf``.
        """
        return cls.from_classes(PageClasses.zipf(pages, exponent, writes_per_s))

    @classmethod
    def sequential(cls, pages: int, rate_pages_per_s: float) -> DirtyCurve:
        """A cyclic sweep (of a stride: its pages): straight up to all ``pages`` pages, then flat."""
        if rate_pages_per_s == 0:
            return cls(np.array([0.0, 1.0]), np.zeros(2))
        return cls(np.array([0.0, pages / rate_pages_per_s]), np.array([0.0, float(pages)]))


def _check_points(t_s: Sequence[float], pages: Sequence[float], source: str) -> None:
    problems = []
    if len(t_s) != len(pages) or len(t_s) < 2:
        got = f"{len(t_s)} times, {len(pages)} counts"
        problems.append(
            Problem(source, "points", got, "at least two points (time, pages)", "0.125 s, 16896 pages")
        )
    if not _ascends([0.0, *t_s], strictly=True):
        problems.append(
            Problem(source, "t_s", str(list(t_s)), "finite times above 0, each later than the last")
        )
    if not _ascends([0.0, *pages], strictly=False):
        problems.append(Problem(source, "pages", str(list(pages)), "finite counts of pages that never fall"))
    if problems:
        raise InputError(problems)


def _ascends(values: Sequence[float], strictly: bool) -> bool:
    steps = np.diff(np.asarray(values, np.float64))
    return bool(np.all(np.isfinite(steps)) and np.all(steps > 0 if strictly else steps >= 0))
