"""Which of the pages that wait are left over at a sync: those that QEMU's cursor passed last.

Pages are sent in one circle (migration/ram.c::find_dirty_block). Where a sync comes before the circle is complete, the pages
left over are not like those sent: the cursor had passed them more recently, so of the pages that are hot as many wait there
as elsewhere, of the others fewer. Of one class alone as many are left over either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.fitting.expected import Speed, poisson_round
from hostsim.fitting.points import Point, Visit

Array = NDArray[np.float64]
PLACES = 24
"""Places on the circle: the cursor passes several in the shortest round."""


def with_cursor(points: Sequence[Point], classes: Sequence[tuple[float, float]], speed: Speed) -> tuple[Point, ...]:
    """``points`` with ``kept`` of each visit, for a guest of ``classes``: (pages, writes a second to one of them).

    # Model limit: pages of each class lie everywhere alike. Where hot pages lie in a row, the cursor meets them by turns.
    """
    visits = _moved([visit for point in points for visit in point.visits], classes, speed)
    return tuple(replace(p, visits=tuple(next(visits) for _ in p.visits)) for p in points)


def _moved(visits: Sequence[Visit], classes: Sequence[tuple[float, float]], speed: Speed) -> Iterator[Visit]:
    pages, rates = (np.array(column, np.float64) for column in zip(*classes, strict=True))
    dirty, at = np.ones((PLACES, len(rates))), 0.0
    for visit in visits:
        waiting = (np.ones_like(dirty) if visit.is_first else dirty) @ pages
        at = 0.0 if visit.is_first else at
        kept, at = _kept(waiting, at, visit.left_share)
        moved = replace(visit, kept=kept)
        _, dirty = poisson_round(moved, rates * speed(moved), dirty)
        yield moved


def _kept(waiting: Array, at: float, left_share: float) -> tuple[Array, float]:
    """(share of each place's pages that are left over, place of the cursor at the end) if it sends all but ``left_share``.

    waiting: float64[places]. at: place of the cursor at the start.
    """
    places = len(waiting)
    edges = np.concatenate([[at], np.floor(at) + 1 + np.arange(places), [at + places]])  # the first place is met twice
    met = np.floor(edges[:-1]).astype(np.int64) % places
    sums = np.append(0.0, np.cumsum(np.diff(edges) * waiting[met]))
    end = float(np.interp((1.0 - left_share) * sums[-1], sums, edges))
    sent = np.bincount(met, weights=np.clip(end - edges[:-1], 0.0, np.diff(edges)), minlength=places)
    return 1.0 - np.minimum(sent, 1.0), end % places
