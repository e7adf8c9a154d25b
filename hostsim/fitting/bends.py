"""Points of a measured dirty curve that a load which does not change cannot have.

The mean dirty curve of such a load is concave and begins at 0: a page that is dirty already is not dirtied again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from hostsim.fitting.points import Point
from hostsim.verdict.words import pages_words, percent_words, seconds_words

BEND_SIGMAS = 2.0
"""A point that lies below the line between its neighbours by more than so many of its errors is named."""


def bends_of(points: Sequence[Point]) -> tuple[str, ...]:
    """A sentence about the point that lies lowest below the line between its neighbours; () where none does."""
    bends = [(below / p.off_pages, p, after) for p, after, below in _below(points)]
    worst = max(bends, key=lambda one: one[0], default=None)
    return () if worst is None or worst[0] <= BEND_SIGMAS else (_sentence(*worst[1:]),)


def _below(points: Sequence[Point]) -> Iterator[tuple[Point, Point, float]]:
    """(point, the next one, pages below the line between the one before, at first the origin, and the next)."""
    before_s = before = 0.0
    for p, after in pairwise(points):
        slope = (after.found_pages - before) / (after.t_s - before_s)
        yield p, after, before + slope * (p.t_s - before_s) - p.found_pages
        before_s, before = p.t_s, p.found_pages


def _sentence(p: Point, after: Point) -> str:
    return (
        f"The curve bends upwards: {pages_words(p.found_pages)} after {seconds_words(p.t_s)} are too few beside "
        f"{pages_words(after.found_pages)} after {seconds_words(after.t_s)} for a load that does not change "
        f"(error assumed or given: {percent_words(p.off_pages / max(p.found_pages, 1.0))}); the fit goes between the points"
    )
