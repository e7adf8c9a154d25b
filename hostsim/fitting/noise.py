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
"""From fewer points no scatter is estimated."""
NEIGHBOURS_MIN = 16
"""With fewer neighbours turns are not looked for (assumed)."""
PART_LEFT = 0.2
"""Share of the pages left over from which on a round is short of a circle (assumed)."""
TURNS = 2.0
"""Rounds take turns if the correlation of neighbours is this many standard errors below 0."""


def bursts_of(points: Sequence[Point], fitted: Classes) -> float:
    """Relative standard deviation of the pages dirtied in a second, beyond the errors of the points; 0 if there is none.

    Work that comes in bursts scatters less over longer times, as 1 / sqrt(t).
    """
    if len(points) < POINTS_MIN:
        return 0.0
    found = np.array([p.found_pages for p in points])
    off = np.array([p.off_pages for p in points])
    seconds = np.array([p.t_s * p.rounds for p in points])
    beyond = ((found - fitted.expected) ** 2 - MEDIAN_SQUARE * off**2) * seconds / np.maximum(fitted.expected, 1.0) ** 2
    return float(np.sqrt(max(0.0, float(np.median(beyond)) / MEDIAN_SQUARE)))


def with_errors(points: Sequence[Point], bursts: float, expected: Array) -> tuple[Point, ...]:
    """``points`` with the error of bursts added, and all errors as shares of the pages that are expected.

    expected: float64[points], pages by a fit. As shares of the pages found, a round in which the guest wrote little by
    chance would weigh more than one in which it wrote much, and the fit would come out too low.
    """
    return tuple(_with_errors(p, bursts, pages) for p, pages in zip(points, expected.tolist(), strict=True))


def _with_errors(p: Point, bursts: float, expected: float) -> Point:
    pages = max(expected, 1.0)
    own = p.off_pages * pages / max(p.found_pages, 1.0)
    return replace(p, off_pages=float(np.hypot(own, bursts * pages / np.sqrt(p.t_s * p.rounds))))


def take_turns(points: Sequence[Point], fitted: Classes) -> bool:
    """Whether a round that found more than expected is followed by one that found less, and the reverse.

    A round that is shorter than a circle of QEMU's cursor finds the hot pages of a part of memory, and the next round the
    others. Bursts of the load last, so that neighbours are alike; an error in the time of a sync moves two neighbours apart,
    and is in the errors of the points.
    """
    off = (np.array([p.found_pages for p in points]) - fitted.expected) / np.array([p.off_pages for p in points])
    pairs = [i for i, p in enumerate(points[:-1]) if _is_part(p) and _is_part(points[i + 1])]
    if len(pairs) < NEIGHBOURS_MIN:
        return False
    first, second = off[pairs], off[[i + 1 for i in pairs]]
    alike = float(np.mean(first * second) / max(float(np.mean(np.concatenate([first, second]) ** 2)), 1e-12))
    return bool(alike < -TURNS / np.sqrt(len(pairs)))


def _is_part(p: Point) -> bool:
    """Whether the point is one round that ended before the cursor had completed its circle."""
    return p.rounds == 1 and not p.visits[0].is_first and p.visits[0].left_share >= PART_LEFT
