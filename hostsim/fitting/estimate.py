"""The fit itself: points of all logs, the classes nearest to them, and guests drawn anew from the errors of the points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hostsim.core.rng import stream_key
from hostsim.fitting.cursor import with_cursor
from hostsim.fitting.mixture import Classes, Problem, Shape, rate_grid
from hostsim.fitting.noise import bursts_of, take_turns, with_errors
from hostsim.fitting.observed import Observed
from hostsim.fitting.pacing import CATCH_UPS, LOSSES, Pace
from hostsim.fitting.points import CIRCLES, Point

Array = NDArray[np.float64]
DRAWS = 60
RATES_DRAWN = 14
"""Rates of a drawn guest: fewer than the grid has, at places of its own, so that guests differ where no point holds them."""
SHAPES: tuple[Shape, ...] = ("fewest", "many", "sweep", "steep")
"""Drawn guests take turns: points hold the curve at the lengths of their rounds, and elsewhere guests of each shape part."""
STREAM = "fit.bootstrap"
PASSES = 3
"""Fits of points whose errors and places of the cursor are those of the fit before."""
PACE_GAIN = 4.0
"""A guest that catches up is taken if it betters the misfit by this: odds of e^2 to 1."""
APART_GAIN = 6.0
"""Migrations differ if a guest for each betters the criterion by this: odds of e^3 to 1."""
BELOW_MISFIT = 2.71
"""A rate is bounded from below only if the fastest guest has a misfit larger than the fitted one by at most this: the 90 %
point of chi-squared with one degree of freedom.
"""
CHUNKS_GAIN = 6.0
"""Clearing by chunks is taken if it betters the misfit by this: odds of e^3 to 1."""


@dataclass(frozen=True)
class Estimate:
    """Classes fitted to points. by_chunks: KVM's log is cleared chunk by chunk; None: for this guest both are alike.

    bursts: relative standard deviation of the pages dirtied in a second, beyond counting.
    draws: classes fitted to points drawn anew, each with a grid of its own.
    circles: of QEMU's cursor over which rounds are averaged, because they take turns; 0: they do not.
    from_below: whether every round found about all pages that the guest writes, so that a guest of any greater rate explains
    the points as well.
    """

    points: tuple[Point, ...]
    classes: Classes
    pace: Pace
    by_chunks: bool | None
    bursts: float
    draws: tuple[Classes, ...]
    from_below: bool = False
    circles: float = 0.0


def estimate(some: Sequence[Observed], seed: int, draws: int = DRAWS) -> Estimate:
    """Fit the rounds of migrations of one guest.

    some: the migrations.
    seed: of the stream "fit.bootstrap".
    draws: number of guests drawn from the errors of the rounds.
    """
    written_max = _written_max(some)
    candidates = list(_candidates(some, written_max))
    plain = min((c for c in candidates if not c.by_chunks), key=lambda c: c.classes.misfit)
    best = min(candidates, key=lambda c: c.classes.misfit)
    chosen = best if best.classes.misfit + CHUNKS_GAIN < plain.classes.misfit else plain
    return drawn_guests(_bounded(chosen, written_max), written_max, seed, draws)


def estimate_points(points: Sequence[Point], written_max: float, seed: int, draws: int = DRAWS) -> Estimate:
    """As ``estimate``, from points of a dirty curve or readings of calc-dirty-rate.

    written_max: most pages that the guest can write.
    seed: of the stream "fit.bootstrap".
    draws: number of guests drawn.
    """
    fitted, used, bursts = _fitted(tuple(points), written_max, Pace())
    return drawn_guests(_bounded(Estimate(used, fitted, Pace(), None, bursts, ()), written_max), written_max, seed, draws)


def differ(some: Sequence[Observed], found: Estimate) -> bool:
    """Whether one guest for each migration of ``some`` meets the points better than one guest, ``found`` (Schwarz)."""
    written_max, total = _written_max(some), len(found.points)
    ends = np.cumsum(counts_each(some, found)).tolist()
    parts = [found.points[first:end] for first, end in pairwise([0, *ends]) if end > first]
    each = [Problem(part, written_max, rate_grid(part), found.pace).fitted() for part in parts]
    return sum(classes.criterion(total) for classes in each) + APART_GAIN < found.classes.criterion(total)


def counts_each(some: Sequence[Observed], found: Estimate) -> list[int]:
    """The number of points of each migration, in the order of ``found.points``."""
    return [len(points) for points in _points_each(some, bool(found.by_chunks), found.circles)]


def _points_each(some: Sequence[Observed], by_chunks: bool, circles: float) -> list[tuple[Point, ...]]:
    return [one.points(by_chunks=by_chunks and one.has_chunks, circles=circles) for one in some]


def _written_max(some: Sequence[Observed]) -> float:
    return max(max(one.filled_pages, 1.0) for one in some)


def _candidates(some: Sequence[Observed], written_max: float) -> Iterator[Estimate]:
    for by_chunks in (False, True) if any(one.has_chunks for one in some) else (False,):
        found = _candidate(some, written_max, by_chunks, 0.0)
        yield _candidate(some, written_max, by_chunks, CIRCLES) if take_turns(found.points, found.classes) else found


def _candidate(some: Sequence[Observed], written_max: float, by_chunks: bool, circles: float) -> Estimate:
    points = tuple(p for each in _points_each(some, by_chunks, circles) for p in each)
    throttled = len({round(p.throttle, 2) for p in points}) > 1
    bound = [Pace(is_seen=True, lost=lost) for lost in LOSSES] if throttled else [Pace()]
    paced = [Pace(catch_up, is_seen=True) for catch_up in CATCH_UPS] if throttled else []
    fits = [(*_fitted(points, written_max, pace), pace) for pace in (*bound, *paced)]
    plain, best = (min(each, key=lambda one: one[0].misfit) for each in (fits[: len(bound)], fits))
    # Work bound to the CPU comes first: another pace has to fit better by far.
    fitted, used, bursts, pace = best if best[0].misfit + PACE_GAIN < plain[0].misfit else plain
    told = by_chunks if any(one.has_chunks for one in some) else None
    return Estimate(used, fitted, pace, told, bursts, (), circles=circles)


def _bounded(found: Estimate, written_max: float) -> Estimate:
    """``found`` with ``from_below``."""
    fastest = Problem(found.points, written_max, rate_grid(found.points), found.pace).at_once()
    return replace(found, from_below=fastest.misfit <= found.classes.misfit + BELOW_MISFIT)


def _fitted(points: tuple[Point, ...], written_max: float, pace: Pace) -> tuple[Classes, tuple[Point, ...], float]:
    """(classes, points with the error of bursts and the places of the cursor, bursts)."""
    used, bursts, fitted = points, 0.0, _classes(points, written_max, pace)
    for _ in range(PASSES):
        used = with_cursor(points, fitted.pages, pace) if fitted.pages else points
        bursts = bursts_of(used, fitted)
        used = with_errors(used, bursts, fitted.expected)
        fitted = _classes(used, written_max, pace)
    return fitted, used, bursts


def _classes(points: tuple[Point, ...], written_max: float, pace: Pace) -> Classes:
    return Problem(points, written_max, rate_grid(points), pace).fitted()


def drawn_guests(found: Estimate, written_max: float, seed: int, draws: int) -> Estimate:
    """``found`` with ``draws`` guests fitted to points drawn anew.

    Each point gets a weight from an exponential law (Rubin, "The Bayesian bootstrap", Annals of Statistics 9(1), 1981) and
    an error from its own: a log of three rounds has too few to draw with replacement.
    """
    rng = np.random.default_rng(list(stream_key(seed, STREAM)))
    pages = np.array([p.found_pages for p in found.points])
    off = np.array([p.off_pages for p in found.points])
    grid = rate_grid(found.points)
    guests = []
    for i in range(draws):
        wide = np.log(grid[-1] / grid[0])
        places = (np.arange(RATES_DRAWN) + rng.random(RATES_DRAWN)) / RATES_DRAWN
        rates = np.sort(np.concatenate([grid[0] * np.exp(wide * places), [r for _, r in found.classes.pages]]))
        scale = np.sqrt(rng.exponential(size=len(pages)))
        noisy = np.maximum(pages + off * rng.standard_normal(len(pages)), 0.0)
        problem = Problem(found.points, written_max, rates, found.pace)
        guests.append(problem.fitted(noisy, np.maximum(scale, 0.1), SHAPES[i % len(SHAPES)]))
    return replace(found, draws=tuple(guests))
