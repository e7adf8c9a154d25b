"""Limits of a dirty curve: the floor of the downtime, and the single changes that get below a limit.

Exact for piecewise-linear curves: every extreme lies at a corner. ``page_s`` is seconds per page on the wire.
"""

from __future__ import annotations

import math

import numpy as np

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.theory.dirty_curve import DirtyCurve


def longest_standing_pass_s(curve: DirtyCurve, page_s: float) -> float:
    """Largest fixed point [s] of t -> D(t) page_s: passes shrink to it and no further; 0 without one.

    inf if the curve climbs for ever at the pace of the link or faster.
    """
    t, pages = curve.corners
    if curve.slope_beyond_pages_per_s(float(t[-1])) * page_s >= 1.0:
        return math.inf
    excess = pages * page_s - t
    standing = np.flatnonzero(excess >= 0)
    if not len(standing):
        return 0.0
    last = int(standing[-1])
    if last == len(t) - 1:
        slope = curve.slope_beyond_pages_per_s(float(t[-1])) * page_s
        return float(t[-1] + excess[-1] / (1.0 - slope))
    share = excess[last] / (excess[last] - excess[last + 1])
    return float(t[last] + share * (t[last + 1] - t[last]))


def converges(curve: DirtyCurve, page_s: float, limit_s: float) -> bool:
    """Whether some pass fits into ``limit_s``: the largest fixed point is no longer than it."""
    return longest_standing_pass_s(curve, page_s) <= limit_s


def fastest_dirtying_pages_per_s(curve: DirtyCurve, limit_s: float) -> float:
    """Largest D(t) / t over t >= ``limit_s`` (> 0): the page rate a link has to exceed."""
    t, _ = curve.corners
    t = np.concatenate([[limit_s], t[t > limit_s]])
    slope = curve.slope_beyond_pages_per_s(float(t[-1]))
    return max(float(np.max(curve.at(t) / t)), slope)


def bandwidth_needed_bytes_per_s(
    curve: DirtyCurve, limit_s: float, page_bytes: float = PAGE_WIRE_BYTES
) -> float:
    """Bandwidth above which passes shrink to ``limit_s``, nothing else changed."""
    return page_bytes * fastest_dirtying_pages_per_s(curve, limit_s)
