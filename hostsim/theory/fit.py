"""A guest fitted to a measured dirty curve: classes of pages, each written uniformly at a rate of its own.

Least squares with coefficients that are not negative.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.page_classes import PageClasses

Floats = NDArray[np.float64]


def nonneg_least_squares(matrix: Floats, target: Floats) -> Floats:
    """X >= 0 that minimises |matrix x - target|; float64[m, n], float64[m] to float64[n].

    Source: the active-set method of Lawson and Hanson, Solving Least Squares Problems, chapter 23 (1974).
    """
    x = np.zeros(matrix.shape[1])
    free = np.zeros(matrix.shape[1], np.bool_)
    tolerance = 1e-10 * float(np.abs(matrix.T @ target).max(initial=0.0))
    for _ in range(10 * matrix.shape[1]):
        gain = np.where(free, -np.inf, matrix.T @ (target - matrix @ x))
        if free.all() or gain.max() <= tolerance:
            break
        free[int(gain.argmax())] = True
        x = _retreat(matrix, target, x, free)
    return x


def _retreat(matrix: Floats, target: Floats, x: Floats, free: NDArray[np.bool_]) -> Floats:
    """Solve on the free coefficients, dropping those that would turn negative, one boundary at a time."""
    while True:
        wanted = np.zeros_like(x)
        wanted[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        below = free & (wanted <= 0.0)
        if not below.any():
            return wanted
        ratio = np.divide(x, x - wanted, out=np.zeros_like(x), where=below & (x > wanted))
        x = np.maximum(x + ratio[below].min() * (wanted - x), 0.0)
        free &= ~(below & (ratio <= ratio[below].min()))


RATES_PER_DECADE = 16
"""Grid of rates: neighbours give curves within 2.7% of each other, mixtures of neighbours far less."""
TOTAL_WEIGHT = 1e3
"""Weight of "the classes are all the pages there are" beside the measured points."""


def fit_classes(curve: DirtyCurve, total_pages: int) -> list[tuple[int, float]]:
    """Pairs (pages, writes per second to one page) whose mean curve is nearest to the knots of ``curve``.

    Sum of n_i (1 - e^(-r_i t)) by non-negative least squares over a fixed log grid of rates, all n_i
    together at most ``total_pages``; the rest is never written. A knot counts by 1 / sqrt(pages): such
    curves come from sampled pages, whose counting error is that. A mixture is concave, so no guest fits a
    bend upwards: the expected curve of any guest whose behaviour does not depend on when the bits were
    cleared is concave.
    """
    measured = curve.pages > 0
    t_s, pages = curve.t_s[measured], curve.pages[measured]
    rates = _rate_grid(t_s)
    share = -np.expm1(-np.outer(t_s, rates))
    weights = 1.0 / np.sqrt(pages * pages.mean())
    matrix = np.vstack([share * weights[:, None], np.full(len(rates), TOTAL_WEIGHT / total_pages)])
    unwritten = np.append(np.zeros(len(t_s)), TOTAL_WEIGHT / total_pages)
    target = np.append(pages * weights, TOTAL_WEIGHT)
    counts = nonneg_least_squares(np.column_stack([matrix, unwritten]), target)[:-1]
    return _merged(counts, rates)


def curve_of(classes: list[tuple[int, float]]) -> DirtyCurve:
    """Mean dirty curve of fitted classes."""
    return DirtyCurve.from_classes(PageClasses.of([(float(n), r) for n, r in classes]))


def _rate_grid(t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """From a class that the whole measurement hardly touches to one that its first interval dirties."""
    low, high = 0.03 / float(t_s[-1]), 10.0 / float(t_s[t_s > 0][0])
    return np.geomspace(low, high, int(np.log10(high / low) * RATES_PER_DECADE) + 2)


def _merged(counts: NDArray[np.float64], rates: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Whole pages; neighbours on the grid stand for one rate between them and become one class."""
    groups = np.split(np.arange(len(rates)), np.flatnonzero(counts < 0.5))
    used = [group[counts[group] >= 0.5] for group in groups]
    return [
        (round(float(counts[g].sum())), float(counts[g] @ rates[g] / counts[g].sum())) for g in used if len(g)
    ]
