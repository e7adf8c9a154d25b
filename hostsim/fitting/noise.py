"""Noise of real guests beyond that of counting: bursts, estimated from the scatter of the rounds around a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hostsim.fitting.mixture import Classes
from hostsim.fitting.points import Point

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
    beyond = ((found - fitted.expected) ** 2 - MEDIAN_SQUARE * off**2) * seconds / np.maximum(found, 1.0) ** 2
    return float(np.sqrt(max(0.0, float(np.median(beyond)) / MEDIAN_SQUARE)))


def with_bursts(points: Sequence[Point], bursts: float) -> tuple[Point, ...]:
    """``points`` with the error of such bursts added."""
    return tuple(
        replace(p, off_pages=float(np.hypot(p.off_pages, bursts * p.found_pages / np.sqrt(p.t_s * p.rounds))))
        for p in points
    )
