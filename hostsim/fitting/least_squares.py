"""Least squares with coefficients that are not negative."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
