"""Noise of real guests beyond that of counting: bursts, estimated from the scatter of the rounds around a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.fitting.mixture import Classes
from hostsim.fitting.points import Point

Array = NDArray[np.float64]
MEDIAN_SQUARE = 0.455
"""Median of the square of a standard normal variable."""
POINTS_MIN = 5
"""Fewer points tell nothing of their scatter."""


def bursts_of(points: Sequence[Point], fitted: Classes) -> float:
    """Relative standard deviation of the pages dirtied in a second, beyond the errors that the points have already; 0 if
    none.

    Work that comes in bursts scatters less over longer times, as 1 / sqrt(t).
    """
    if len(points) < POINTS_MIN:
        return 0.0
    found = np.array([p.found_pages for p in points])
    off = np.array([p.off_pages for p in points])
    seconds = np.array([p.t_s * p.rounds for p in points])
    beyond = ((found - fitted.expected) ** 2 - MEDIAN_SQUARE * off**2) * seconds / np.maximum(fitted.expected, 1.0) ** 2
    return float(np.sqrt(max(0.0, float(np.median(beyond)) / MEDIAN_SQUARE)))


def with_bursts(points: Sequence[Point], bursts: float, expected: Array) -> tuple[Point, ...]:
    """``points`` with the error of such bursts added.

    expected: float64[points], pages by a fit. Errors are shares of these: as shares of the pages found, a round in which the
    guest wrote little by chance would weigh more than one in which it wrote much, and the fit would come out too low.
    """
    return tuple(_with_bursts(p, bursts, pages) for p, pages in zip(points, expected.tolist(), strict=True))


def _with_bursts(p: Point, bursts: float, expected: float) -> Point:
    pages = max(expected, 1.0)
    own = p.off_pages * pages / max(p.found_pages, 1.0)
    return replace(p, off_pages=float(np.hypot(own, bursts * pages / np.sqrt(p.t_s * p.rounds))))
