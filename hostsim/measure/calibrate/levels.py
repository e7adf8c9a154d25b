"""Levels of a memory hierarchy, read off a curve of load latency against footprint.

Nothing here measures: footprints and latencies in, plateaus and the knees between them out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LEVELS_MAX = 4
"""Two private caches, one shared, memory."""
APART = 1.5
"""Neighbouring levels differ by at least this factor in latency."""
FLAT = 1.25
"""Points within this factor of a level's median lie on its plateau."""
FLAT_POINTS, FLAT_SHARE = 3, 0.6
"""A plateau has at least so many of these, and they are at least this share of its points."""
CLEAR = 1.3
"""Footprints this far from a cache's size are clear of its edge."""
AGREE, OWN_AGREE = 1.5, 2.0
"""A knee this near to a size that the kernel reports confirms it, of the last cache and of an own one: points of the curve
are up to a factor 1.5 apart, and the other thread of a core takes a share of the core's caches.
"""
SHARED_FROM, SHARED_TO = 2.0, 3.0
"""Footprints that are read in the last cache, in sizes of the cache before: beyond that cache, and within the least that
neighbours leave of the last one. On a machine with many of them that is an eighth one minute and a quarter the next, so that
loads further up are now the cache's, now memory's.
"""


@dataclass(frozen=True)
class Plateau:
    """Points [first, end) of the curve; ns: their median latency."""

    first: int
    end: int
    ns: float


@dataclass(frozen=True)
class Curve:
    """footprint_bytes, ns: float64[n], growing footprints and a load's latency in each."""

    footprint_bytes: NDArray[np.float64]
    ns: NDArray[np.float64]


def plateaus(curve: Curve) -> list[Plateau]:
    """The levels that stand out, at most LEVELS_MAX: each flat, each well above the level before; one if none stands out."""
    for count in range(min(LEVELS_MAX, len(curve.ns)), 1, -1):
        found = [Plateau(i, j, float(np.median(curve.ns[i:j]))) for i, j in _segments(np.log(curve.ns), count)]
        if all(_is_flat(curve, level) for level in found) and all(b.ns >= APART * a.ns for a, b in pairwise(found)):
            return found
    return [Plateau(0, len(curve.ns), float(np.median(curve.ns)))]


def plateaus_at(curve: Curve, cache_bytes: Sequence[float]) -> list[Plateau] | None:
    """Levels of ``curve`` where caches of ``cache_bytes`` put them; None if they do not rise.

    Points near the edges of a level are left out; of the last cache only the nearest part is used, since neighbours share
    it.
    """
    lows, highs = [0.0, *(CLEAR * size for size in cache_bytes)], [*(size / CLEAR for size in cache_bytes), math.inf]
    if len(cache_bytes) > 1:
        lows[-2] = SHARED_FROM * cache_bytes[-2]
        highs[-2] = min(highs[-2], SHARED_TO * cache_bytes[-2] + 1)
    bounds = [np.searchsorted(curve.footprint_bytes, edges) for edges in (lows, highs)]
    found = [Plateau(int(i), int(j), float(np.median(curve.ns[i:j]))) for i, j in zip(*bounds, strict=True) if i < j]
    rises = all(low.ns < high.ns for low, high in pairwise(found))
    return found if len(found) == len(lows) and rises else None


def knees(curve: Curve, found: Sequence[Plateau]) -> list[float]:
    """Footprints [bytes] at which the latency of ``curve`` is half-way between neighbours of ``found``, in logarithms."""
    return [_crossing(curve, low, high) for low, high in pairwise(found)]


def _is_flat(curve: Curve, level: Plateau) -> bool:
    off = np.abs(np.log(curve.ns[level.first : level.end] / level.ns))
    n_flat = int(np.sum(off <= math.log(FLAT)))
    return n_flat >= max(FLAT_POINTS, FLAT_SHARE * len(off))


def _segments(values: NDArray[np.float64], count: int) -> list[tuple[int, int]]:
    """Cut ``values`` into ``count`` runs, [first, end) each, with the least summed distances from their medians."""
    n = len(values)
    cost = np.full((n + 1, n + 1), math.inf)
    for i in range(n):
        for j in range(i + 1, n + 1):
            cost[i, j] = np.sum(np.abs(values[i:j] - np.median(values[i:j])))
    best, cuts = cost[0].copy(), []
    for _ in range(count - 1):
        through = best[:, None] + cost
        cuts.append(np.argmin(through, axis=0))
        best = through.min(axis=0)
    bounds = [n]
    for cut in reversed(cuts):
        bounds.append(int(cut[bounds[-1]]))
    return list(pairwise([0, *reversed(bounds)]))


def _crossing(curve: Curve, low: Plateau, high: Plateau) -> float:
    """The footprint at which a line through the points (in logarithms) rises past the middle, nearest to both levels."""
    middle = math.sqrt(low.ns * high.ns)
    rises = [at for at in range(low.first + 1, high.end) if curve.ns[at - 1] < middle <= curve.ns[at]]
    at = min(rises, key=lambda at: abs(2 * at - low.end - high.first), default=high.first)
    x, y = np.log(curve.footprint_bytes[at - 1 : at + 1]), np.log(curve.ns[at - 1 : at + 1])
    share = (math.log(middle) - y[0]) / (y[1] - y[0]) if rises else 0.5
    return float(np.exp(x[0] + share * (x[1] - x[0])))


def matched(knee_bytes: Sequence[float], cache_bytes: Sequence[float]) -> list[int | None]:
    """For each of ``cache_bytes`` the index in ``knee_bytes`` of the knee that ends the cache; None: there is no such knee.

    In order; where knees are missing, each knee goes to the cache of the nearest size.
    """
    if len(knee_bytes) >= len(cache_bytes):
        return list(range(len(cache_bytes)))
    found: list[int | None] = [None] * len(cache_bytes)
    after = 0
    for at, knee in enumerate(knee_bytes):
        last = len(cache_bytes) - (len(knee_bytes) - at)
        nearest = min(range(after, last + 1), key=lambda level: abs(math.log(knee / cache_bytes[level])))
        found[nearest], after = at, nearest + 1
    return found


def agrees(knee: float, reported: float, within: float = AGREE) -> bool:
    """Whether ``knee`` [bytes] confirms ``reported``, the kernel's size [bytes]: a factor of ``within`` at most."""
    return 1 / within <= knee / reported <= within


def rounded(size: float) -> int:
    """The power of two nearest to ``size`` [bytes] by ratio: a knee of a shared cache is no more exact than that."""
    return 1 << round(math.log2(size))
