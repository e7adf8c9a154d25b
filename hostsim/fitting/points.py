"""Points of a dirty curve as a log shows them: rounds, of which short ones are averaged until they are timed well enough."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hostsim.verdict.evidence import Round

Array = NDArray[np.float64]
ALIKE, ALIKE_S = 0.35, 0.12
"""Rounds are averaged if their lengths differ by no more than this share and this time, or the time that the polls leave
open: the time is a window of QEMU's loop and the polls around it.
"""
TIMED_WITHIN = 0.05
"""Rounds are averaged until their mean length is known within this share."""
CIRCLES = 2.0
"""Rounds that take turns are averaged until the cursor has gone around so many times: a round that is shorter than a circle
finds the hot pages of a part of memory, and the next round finds fewer hot pages (assumed).
"""
EXACT_S = 0.004
"""Error of a length by QEMU's own clock, which counts milliseconds, at both ends."""
SLICE_S = 0.01
"""A throttled vCPU runs for this long at a time (system/cpu-throttle.c::CPU_THROTTLE_TIMESLICE_NS, QEMU 10.0)."""
UNIFORM = 3**-0.5
"""Standard deviation of a figure that may lie anywhere within 1 of its middle."""
VISITS_MAX = 8
PHASES = 6**-0.5
"""Standard deviation of the number of slices in a round, whose two ends fall anywhere into a slice and its sleep."""
MODEL_OFF = 0.03
"""Error of every expected number of pages, as a share: pages are not independent of each other (assumed)."""


@dataclass(frozen=True)
class Visit:
    """One round of a point: its length, and the state of the bitmap around it.

    t_s: length [s]. before_s: length of the round before it.
    left_share: share of the pages pending at its start that were still pending at its end.
    kept: float64[places], the same by the place in the order in which pages are sent; one place: alike everywhere.
    sent_after: float64[chunks], shares of the round after which the host's log began to see writes to a page sent in it.
    chunk_shares: float64[chunks], share of such pages in each chunk.
    throttle: of the vCPUs, as a share of time.
    """

    t_s: float
    before_s: float
    left_share: float
    sent_after: Array
    chunk_shares: Array
    throttle: float
    is_first: bool
    kept: Array


@dataclass(frozen=True)
class Point:
    """Some rounds of about one length. found_pages: newly dirty pages a round; off_pages: its standard error.

    end_s: since the start of the migration.
    """

    visits: tuple[Visit, ...]
    found_pages: float
    off_pages: float
    end_s: float

    @property
    def t_s(self) -> float:
        """Mean length [s]."""
        return sum(v.t_s for v in self.visits) / len(self.visits)

    @property
    def rounds(self) -> int:
        """Number of rounds averaged."""
        return len(self.visits)

    @property
    def throttle(self) -> float:
        """Mean throttle, as a share."""
        return sum(v.throttle for v in self.visits) / len(self.visits)

    @property
    def rate_pages_per_s(self) -> float:
        """Newly dirty pages a second."""
        return self.found_pages / self.t_s


@dataclass(frozen=True)
class Exposure:
    """When the host's dirty log begins to see writes to a page: shares of a round, and the share of pages in each chunk."""

    sent_after: Array
    chunk_shares: Array


WHOLE = Exposure(np.zeros(1), np.ones(1))
"""The log is cleared as a whole at each sync."""


def points_of(
    rounds: Sequence[Round], filled_pages: float, first: Exposure = WHOLE, later: Exposure = WHOLE, circles: float = 0.0
) -> tuple[Point, ...]:
    """Points from ``rounds``, the first of which is the pass over all memory.

    filled_pages: pages that the first pass had to send whole; first, later: exposure in the first round and in the others.
    circles: rounds are averaged until the cursor has gone around so many times.
    """
    visits = list(_visits(rounds, filled_pages, first, later))
    ends = np.cumsum([r.duration_s * r.syncs for r in rounds])
    return tuple(_point(rounds, visits, group, float(ends[group[-1]])) for group in _groups(rounds, circles))


def _visits(rounds: Sequence[Round], filled_pages: float, first: Exposure, later: Exposure) -> Iterator[Visit]:
    remaining, before_s = max(filled_pages, 1.0), 0.0
    for i, r in enumerate(rounds):
        left = min(1.0, max(0.0, r.pending_pages) / max(remaining, 1.0))
        seen = first if i == 0 else later
        throttle = r.throttle_percent / 100
        yield Visit(r.duration_s, before_s, left, seen.sent_after, seen.chunk_shares, throttle, i == 0, np.array([left]))
        remaining, before_s = r.remaining_pages, r.duration_s


def _groups(rounds: Sequence[Round], circles: float) -> Iterator[list[int]]:
    """Numbers of the rounds of each point: neighbours of about one length under one throttle."""
    group: list[int] = []
    for i, r in enumerate(rounds):
        if group and (group == [0] or not _joins(rounds, group, r, circles)):
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _joins(rounds: Sequence[Round], group: list[int], r: Round, circles: float) -> bool:
    last, mean_s = rounds[group[-1]], float(np.mean([rounds[i].duration_s for i in group]))
    # Polls that leave an instant open between two rounds make one longer by as much as they make the other shorter.
    open_s = max(ALIKE_S, r.timing_off * r.duration_s, last.timing_off * last.duration_s)
    is_alike = abs(r.duration_s - mean_s) <= ALIKE * mean_s + open_s
    same = r.throttle_percent == last.throttle_percent
    is_short = _timing_off([rounds[i] for i in group]) > TIMED_WITHIN or _circles(rounds, group) < circles
    return is_alike and same and is_short


def _circles(rounds: Sequence[Round], group: Sequence[int]) -> float:
    """Times that the cursor has gone around in the rounds ``group``, by the share of the pages that were sent."""
    before = [max(1.0, rounds[i - 1].remaining_pages) if i else math.inf for i in group]
    some = zip((rounds[i] for i in group), before, strict=True)
    return sum(r.syncs * max(0.0, 1.0 - max(0.0, r.pending_pages) / pages) for r, pages in some)


def _timing_off(rounds: Sequence[Round]) -> float:
    """Error of the mean length, as a share: instants between two rounds of a row cancel."""
    off_s = max(EXACT_S, *(_off_s(r) for r in (rounds[0], rounds[-1])))
    return off_s / sum(r.duration_s * r.syncs for r in rounds)


def _off_s(r: Round) -> float:
    """Error of the length of all rounds of ``r`` [s]. The last of several syncs may lie anywhere between two answers."""
    all_s = r.timing_off * r.duration_s * r.syncs
    return all_s * UNIFORM if r.syncs > 1 else all_s


def _point(rounds: Sequence[Round], visits: Sequence[Visit], group: Sequence[int], end_s: float) -> Point:
    some = [rounds[i] for i in group]
    weights = np.array([r.syncs for r in some], np.float64)
    found = float(np.average([r.newly_dirty_pages for r in some], weights=weights))
    each = _timed(some, [visits[i] for i in group])
    timed = tuple(visit for one, r in zip(each, some, strict=True) for visit in _visits_of(one, r))
    counted = found / float(weights.sum())
    shares = (_timing_off(some), MODEL_OFF, _slices_off(some), max(r.off_share for r in some))
    off = np.sqrt(counted + sum((share * found) ** 2 for share in shares) + 1.0)
    return Point(timed, found, float(off), end_s)


def _visits_of(visit: Visit, r: Round) -> Iterator[Visit]:
    """A visit for each round of a mean: alike, or of the lengths that are known; each leaves as many pages waiting."""
    if not r.lengths_s:
        yield from (visit for _ in range(min(r.syncs, VISITS_MAX)))
        return
    before_s = visit.before_s
    sent_over_left = (1.0 / visit.left_share - 1.0) / r.lengths_s[0] if visit.left_share > 0 else math.inf
    for i, seconds in enumerate(r.lengths_s):
        left = 1.0 / (1.0 + sent_over_left * seconds)
        timed = replace(visit, t_s=seconds, before_s=before_s, is_first=visit.is_first and i == 0)
        yield replace(timed, left_share=left, kept=np.array([left]))
        before_s = seconds


def _timed(some: Sequence[Round], visits: Sequence[Visit]) -> list[Visit]:
    """``visits``; those of rounds that the polls do not time well with their mean length, for the instants between are open.

    The others keep their own: a page that waits longer at one sync than at the next is not counted alike at both.
    """
    loose = [r for r in some if _timing_off([r]) > TIMED_WITHIN]
    if not loose:
        return list(visits)
    mean_s = float(np.average([r.duration_s for r in loose], weights=[r.syncs for r in loose]))
    mean = [replace(visit, t_s=mean_s, before_s=mean_s) for visit in visits]
    return [own if _timing_off([r]) <= TIMED_WITHIN else by_mean for r, own, by_mean in zip(some, visits, mean, strict=True)]


def _slices_off(some: Sequence[Round]) -> float:
    """Error of the time for which a throttled guest ran, as a share: whole slices."""
    throttle = some[0].throttle_percent / 100
    slice_and_sleep_s = SLICE_S / max(1.0 - throttle, 0.01)
    return PHASES * throttle * slice_and_sleep_s / sum(r.duration_s * r.syncs for r in some)
