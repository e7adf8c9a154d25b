"""Pages grouped by the write rate of a page: the input of the closed forms for drawn workloads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hostsim.theory.distinct import poisson_distinct_mean_pages, poisson_distinct_variance_pages

EXACT_RANKS = 256
"""Zipf ranks that keep a class of their own; behind them a class spans about 1/EXACT_RANKS of its rank."""


@dataclass(frozen=True, eq=False)
class PageClasses:
    """Classes of pages.

    counts: float64[c], pages of each class; rates_per_s: float64[c], Poisson writes to one such page.
    """

    counts: NDArray[np.float64]
    rates_per_s: NDArray[np.float64]

    @property
    def pages(self) -> float:
        """Pages of all classes."""
        return float(self.counts.sum())

    @property
    def writes_per_s(self) -> float:
        """Writes per second over all pages."""
        return float(self.counts @ self.rates_per_s)

    def mean_pages(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Mean distinct pages written in ``seconds`` (float64[...]); same shape."""
        return poisson_distinct_mean_pages(self.counts, self.rates_per_s, seconds)

    def variance_pages(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Variance [pages^2] of that count; same shape as ``seconds``."""
        return poisson_distinct_variance_pages(self.counts, self.rates_per_s, seconds)

    @classmethod
    def of(cls, classes: list[tuple[float, float]]) -> PageClasses:
        """From pairs (pages, writes per second to one page)."""
        table = np.asarray(classes, np.float64).reshape(-1, 2)
        return cls(table[:, 0].copy(), table[:, 1].copy())

    @classmethod
    def uniform(cls, pages: int, writes_per_s: float) -> PageClasses:
        """All pages alike; ``writes_per_s`` over the whole region."""
        return cls.of([(pages, writes_per_s / pages)])

    @classmethod
    def hotcold(cls, pages: int, hot_pages: int, hot_share: float, writes_per_s: float) -> PageClasses:
        """``hot_share`` of the writes go to ``hot_pages`` pages, the rest to the others."""
        hot = (hot_pages, hot_share * writes_per_s / hot_pages)
        cold_pages = pages - hot_pages
        cold = [(cold_pages, (1.0 - hot_share) * writes_per_s / cold_pages)] if cold_pages else []
        return cls.of([hot, *cold])

    @classmethod
    def zipf(cls, pages: int, exponent: float, writes_per_s: float) -> PageClasses:
        """The classes of ``pages`` pages, where the page of rank k gets a share of k^-exponent / H of ``writes_per_s``.

        H: the sum of k^-exponent over all ranks. Ranks beyond EXACT_RANKS are grouped into classes so narrow that the mean
        changes by less than a share of 1e-6.
        """
        edges = _rank_edges(pages)
        weights = _power_sums(edges, exponent)
        counts = np.diff(edges).astype(np.float64)
        return cls(counts, weights / weights.sum() * writes_per_s / counts)


def _rank_edges(pages: int) -> NDArray[np.int64]:
    """First rank of each class and, last, one past the last rank (ranks count from 1)."""
    if pages <= EXACT_RANKS:
        return np.arange(1, pages + 2, dtype=np.int64)
    steps = int(np.ceil(np.log(pages / EXACT_RANKS) * EXACT_RANKS)) + 1
    tail = np.round(np.geomspace(EXACT_RANKS + 1, pages + 1, steps)).astype(np.int64)
    return np.unique(np.concatenate([np.arange(1, EXACT_RANKS + 1), tail]))


def _power_sums(edges: NDArray[np.int64], exponent: float) -> NDArray[np.float64]:
    """Sum of k^-exponent over each class: single ranks exactly, wide classes by the midpoint integral."""
    low, high = edges[:-1] - 0.5, edges[1:] - 0.5
    if exponent == 1.0:
        integral = np.log(high / low)
    else:
        integral = (high ** (1.0 - exponent) - low ** (1.0 - exponent)) / (1.0 - exponent)
    single = np.diff(edges) == 1
    return np.where(single, edges[:-1].astype(np.float64) ** -exponent, integral)
