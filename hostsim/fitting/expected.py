"""Newly dirty pages that a round is expected to find of a class of pages, from the bitmap's own recursion.

A page that waits to be sent is not counted again, and KVM's log sees writes to a page only once the chunk that holds it has
been cleared, which QEMU does before it sends the first page of the chunk
(migration/ram.c::migration_clear_memory_region_dirty_bitmap).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.fitting.points import Point, Visit

Array = NDArray[np.float64]
Speed = Callable[[Visit], float]


def full_speed(visit: Visit) -> float:
    """A guest that no throttle slows."""
    del visit
    return 1.0


def written_independently(points: Sequence[Point], rates_per_s: Array, speed: Speed = full_speed) -> Array:
    """float64[points, rates]: newly dirty pages a round, for each page written by a Poisson process of ``rates_per_s``."""
    dirty = np.ones((1, len(rates_per_s)))
    rows = []
    for point in points:
        found = []
        for visit in point.visits:
            newly, dirty = poisson_round(visit, rates_per_s * speed(visit), dirty)
            found.append(newly.mean(axis=0))
        rows.append(np.mean(found, axis=0))
    return np.array(rows, np.float64).reshape(len(points), len(rates_per_s))


def poisson_round(visit: Visit, rates_per_s: Array, dirty: Array) -> tuple[Array, Array]:
    """(newly dirty, dirty after the sync) of a page of each rate, of which ``dirty`` were pending at the start.

    dirty: float64[places, rates], or of one place where the visit has one; the result has the places of the visit.
    """
    dirty = np.ones_like(dirty) if visit.is_first else dirty
    left = dirty * visit.kept[:, None]
    unsent = -np.expm1(-rates_per_s * visit.t_s)
    seen_s = visit.t_s * (1.0 - visit.sent_after)
    sent = -np.expm1(-np.outer(rates_per_s, seen_s)) @ visit.chunk_shares
    newly = (dirty - left) * sent + (1.0 - dirty) * unsent
    return newly, left + newly


def swept(points: Sequence[Point], sweeps_per_s: Array, speed: Speed = full_speed) -> Array:
    """float64[points, rates]: newly dirty pages a round, for each page of a region that is written in order, in a circle.

    points, speed: as in ``written_independently``. sweeps_per_s: float64[rates], passes over the region a second.
    """
    rows = []
    dirty = np.ones_like(sweeps_per_s)
    for point in points:
        found = []
        for visit in point.visits:
            newly, dirty = _sweep_round(visit, sweeps_per_s * speed(visit), dirty)
            found.append(newly)
        rows.append(np.mean(found, axis=0))
    return np.array(rows, np.float64).reshape(len(points), len(sweeps_per_s))


def _sweep_round(visit: Visit, sweeps_per_s: Array, dirty: Array) -> tuple[Array, Array]:
    """As ``_poisson_round``; a page written in the round before is written again one period later, not earlier."""
    dirty = np.ones_like(dirty) if visit.is_first else dirty
    seen_s = visit.t_s * (1.0 - float(visit.sent_after @ visit.chunk_shares))
    reached = np.minimum(1.0, sweeps_per_s * (seen_s if visit.is_first else visit.t_s))
    left = dirty * visit.left_share
    if visit.is_first:
        again = reached
    else:
        spread_s = np.minimum(visit.before_s, 1.0 / sweeps_per_s)
        again = np.clip(1.0 - (1.0 / sweeps_per_s - visit.t_s) / np.maximum(spread_s, 1e-9), 0.0, 1.0)
    newly = np.maximum(reached - left * again, 0.0)
    return newly, np.minimum(1.0, left + newly)
