"""Rounds of a polled log: the instants of QEMU's bitmap syncs, and the pages that each found.

QEMU tests for a sync at the start of a window only, and sends the pages of a window at once (migration/migration.c::
migration_rate_limit, BUFFER_DELAY, QEMU 10.0). So a round lasts a whole number of windows. Polls that are further apart than
a window reveal that number: each window sends as many of the remaining pages as fit its quota, until remaining is below the
threshold and the next window syncs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hostsim.logs.model import MigrationLog
from hostsim.verdict.evidence import Evidence, Round

Array = NDArray[np.float64]
WINDOW_S = 0.1
"""QEMU's loop tests for a sync once a pass of about this long (migration/migration.c::BUFFER_DELAY)."""
WHOLE = 0.15
"""Pages between two answers are of whole windows if they are within this share of a window of them: polls that fall into the
burst of a window are not used (assumed).
"""


@dataclass(frozen=True)
class Synced:
    """The only sync between two answers: the number of its window, counted from the first answer, and the pages pending."""

    window: int
    pending_pages: float


@dataclass(frozen=True, eq=False)
class Windows:
    """remaining, sent: float64[answers], pages. begun: int64[answers], windows since the first answer.
    whole: bool[answers - 1], whether a number of whole windows lies between two answers.
    threshold_pages: at most so many remain at a sync.
    """

    remaining: Array
    sent: Array
    begun: NDArray[np.int64]
    whole: NDArray[np.bool_]
    threshold_pages: float

    @classmethod
    def of(cls, remaining: Array, sent: Array, whole_pages: Array, window_pages: float, threshold_pages: float) -> Windows:
        """Windows between answers.

        remaining, sent: float64[answers], pages. whole_pages: float64[answers], those of ``sent`` that use bandwidth.
        window_pages: whole pages of a window. threshold_pages: at most so many remain at a sync.
        """
        count = np.nan_to_num(np.diff(whole_pages) / window_pages, nan=-1.0)
        begun = np.cumsum(np.append(0, np.rint(np.maximum(count, 0.0)))).astype(np.int64)
        whole = (np.abs(count - np.rint(count)) <= WHOLE) & (count > 0.5)
        return cls(remaining, sent, begun, whole, threshold_pages)

    def sync_between(self, i: int) -> Synced | None:
        """The only sync between answers ``i`` and ``i + 1``; None if the pages do not show its window."""
        windows = int(self.begun[i + 1] - self.begun[i])
        if not self.whole[i]:
            return None
        pages = float(self.sent[i + 1] - self.sent[i]) / windows
        before = max(0, math.ceil((float(self.remaining[i]) - self.threshold_pages) / pages))
        if before >= windows:
            return None
        return Synced(int(self.begun[i]) + before + 1, max(0.0, float(self.remaining[i]) - before * pages))


EVALUATED_S = 1.0
"""A sync this long after the last evaluation computes dirty-pages-rate anew (migration/ram.c::migration_bitmap_sync)."""
ROUNDS_MAX = 100
"""Rounds kept at the end of a long log, besides the first pass: curves are fitted to each."""
MANY_SYNCS = 3
"""So many syncs between two answers are as many rounds, one more or less, wherever the first began."""
LENGTHS_MAX = 40
SELDOM_S = 1.0
"""Pages that are left show the next sync within a window or two: little beside the time between such answers (assumed)."""
UNLIKE = 1.35
"""A first round longer than the mean of several by this factor has a length of its own (assumed)."""
CLOCKS_OFF = 1.02
"""The poller's clock and QEMU's may differ by this (assumed)."""


@dataclass(frozen=True)
class _Course:
    """The answers while the guest runs: float64[answers], seconds since the start, pages, pages/s, percent."""

    t_s: Array
    syncs: Array
    remaining: Array
    sent: Array
    zero: Array
    encoded: Array
    rate: Array
    throttle: Array
    in_bursts: bool


@dataclass(frozen=True)
class _Instant:
    """The instant of a sync, as far as the polls show it: within ``off_s`` of ``at_s``."""

    at_s: float
    off_s: float


def rounds_of(
    log: MigrationLog, at: NDArray[np.int64], evidence: Evidence, rounds_max: int = ROUNDS_MAX, *, in_bursts: bool = False
) -> tuple[float | None, tuple[Round, ...]]:
    """Seconds of the first pass, if it was seen to end, and the rounds between the syncs that the polls saw.

    The first, the pass over all memory, counts as one too: the log was cleared at its start and nearly all pages had
    been sent when it was read. In a log that begins later one mean round stands for all before its first answer.
    ``at``: the answers with figures, before the guest moved; rounds_max: rounds kept besides the first.
    in_bursts: a rate limit lets the pages of a window leave at its start.
    """
    course = _course(log, at, evidence, in_bursts=in_bursts and evidence.bandwidth_is_steady)
    rounds, last = _before(course, evidence)
    clock, windows = _Clock(last), _windows(course, evidence)
    changed_s = evidence.speeds[-1].since_s if evidence.speeds else 0.0
    for i in np.flatnonzero((np.diff(course.syncs) > 0) & (course.syncs[:-1] >= 1)):
        sync, then = _of_window(course, int(i), windows), evidence.at(float(course.t_s[i + 1]))
        synced = clock.instant(course, int(i), then, sync)
        found, began = _round(course, int(i), last, synced, then, sync), last.at_s if last else 0.0
        rounds += [replace(found, is_past=began < changed_s)] if found else []
        last = synced
    return _first_pass_s(course, rounds), (*rounds[:1], *rounds[1:][-rounds_max:])


def _first_pass_s(course: _Course, rounds: list[Round]) -> float | None:
    if not rounds or course.syncs[0] > 2 or rounds[0].syncs > 1 or rounds[0].timing_off >= 1:
        return None
    return rounds[0].duration_s


def _course(log: MigrationLog, at: NDArray[np.int64], evidence: Evidence, *, in_bursts: bool) -> _Course:
    page_bytes = evidence.page_bytes
    zero, encoded = np.nan_to_num(log.zero_pages[at]), np.nan_to_num(log.xbzrle_pages[at])
    return _Course(
        t_s=log.t_s[at] - _started_s(log, at, evidence.bandwidth_bytes_per_s or 0.0),
        syncs=log.dirty_sync_count[at],
        remaining=log.remaining_bytes[at] / page_bytes,
        sent=_sent_pages(log, at, page_bytes) + zero + encoded,
        zero=zero,
        encoded=encoded,
        rate=np.nan_to_num(log.dirty_pages_rate_per_s[at]),
        throttle=np.nan_to_num(log.throttle_percent[at]),
        in_bursts=in_bursts,
    )


def _sent_pages(log: MigrationLog, at: NDArray[np.int64], page_bytes: int) -> Array:
    """Whole pages sent; where they are not counted, by the bytes: a page is hardly ever less once its first pass is over."""
    normal = log.normal_pages[at]
    by_bytes = np.nan_to_num(log.normal_bytes[at] / page_bytes, nan=-1.0)
    by_wire = log.transferred_bytes[at] / (page_bytes + 8)
    return np.where(np.isnan(normal), np.where(by_bytes >= 0, by_bytes, by_wire), normal)


def _started_s(log: MigrationLog, at: NDArray[np.int64], bandwidth_bytes_per_s: float) -> float:
    """The start of the migration by the poller's clock [s], which may have any origin.

    Without QEMU's clock a log whose first answer has bytes sent began before that answer: at the log's bandwidth.
    """
    told = at[log.total_time_ms[at] > 0][:1]
    if len(told):
        return float(log.t_s[told[0]] - log.total_time_ms[told[0]] / 1000)
    first = at[~np.isnan(log.transferred_bytes[at])][:1]
    began_before = len(first) and log.t_s[first[0]] == 0 and log.dirty_sync_count[first[0]] <= 1
    return -float(log.transferred_bytes[first[0]]) / bandwidth_bytes_per_s if began_before and bandwidth_bytes_per_s else 0.0


def _before(course: _Course, evidence: Evidence) -> tuple[list[Round], _Instant | None]:
    """(rounds before the first answer, instant of their last sync); ([], start) unless the log begins late.

    Every page is dirty at the start, so the syncs have found all pages sent or left beyond the whole memory. QEMU's own
    rate gives the duration of a first pass. Unknown pages count as not found, which refutes no curve.
    """
    if not len(course.syncs) or not course.syncs[0] > 1:
        return [], _Instant(0.0, 0.0)
    syncs, elapsed_s = int(course.syncs[0]) - 1, float(course.t_s[0])
    found = course.remaining[0] + course.sent[0] - (evidence.ram_pages or math.nan)
    found = float(found) / syncs if found > 0 else 0.0
    seconds = found / float(course.rate[0]) if syncs == 1 and course.rate[0] > 0 else 0.0
    pending, off = _within(0.0, float(course.remaining[0]), evidence, first_pass=True)
    throttle = float(course.throttle[0])
    if 0 < seconds <= CLOCKS_OFF * elapsed_s:
        return [Round(seconds, found, pending, throttle, 0.0, off)], _Instant(seconds, WINDOW_S)
    if elapsed_s <= 0:
        return [], None
    return [Round(elapsed_s / syncs, found, pending, throttle, float(syncs == 1), off, syncs)], None


def _windows(course: _Course, evidence: Evidence) -> Windows | None:
    """Windows between answers; None where a rate limit does not fill each alike, or the limit is not known."""
    pages = evidence.sent_pages_per_s * WINDOW_S
    if not course.in_bursts or evidence.limit_is_contradicted or not pages > 0 or evidence.speeds:
        return None
    whole = course.sent - course.zero - course.encoded
    return Windows.of(course.remaining, course.sent, whole, pages, evidence.threshold_pages)


def _of_window(course: _Course, i: int, windows: Windows | None) -> Synced | None:
    """The window of the only sync between answers ``i`` and ``i + 1``; None if it is not known, or the first pass ends."""
    is_one = course.syncs[i + 1] - course.syncs[i] == 1 and course.syncs[i] > 1
    return windows.sync_between(i) if windows and is_one and course.encoded[i + 1] == course.encoded[i] else None


class _Clock:
    """Instants of syncs by QEMU's own clock: its rate is the pages found since the last evaluation over the time since then.

    evaluated: the instant of the last evaluation, None: not known. found: pages that syncs have found since then.
    last: (instant, window) of the last sync whose window is known, None: none yet.
    """

    def __init__(self, evaluated: _Instant | None) -> None:
        self.evaluated, self.found = evaluated, 0.0
        self.last: tuple[_Instant, int] | None = None

    def instant(self, course: _Course, i: int, evidence: Evidence, sync: Synced | None) -> _Instant:
        """The instant of the (last) sync between answers ``i`` and ``i + 1``.

        By a new dirty-pages-rate; without one by the window of the sync, and by the polls.
        """
        polled, is_one = _synced(course, i, evidence), course.syncs[i + 1] - course.syncs[i] == 1
        polled = self._by_window(course, i, sync) or polled
        self.found += _found_pages(course, i)
        is_new = course.rate[i + 1] != course.rate[i] and course.rate[i + 1] > 0
        told = self._by_new_rate(course, i) if is_new and is_one else None
        if is_new:
            # With several syncs between two answers it is unknown which of them evaluated.
            self.evaluated, self.found = (told or polled) if is_one else None, 0.0
        self.last = (told or polled, sync.window) if sync else None
        return told or polled

    def _by_window(self, course: _Course, i: int, sync: Synced | None) -> _Instant | None:
        """The instant by the windows since the last sync, if the polls allow it."""
        if self.last is None or sync is None:
            return None
        last, window = self.last
        at_s = last.at_s + WINDOW_S * (sync.window - window)
        start, end = float(course.t_s[i]) - WINDOW_S - last.off_s, float(course.t_s[i + 1]) + WINDOW_S + last.off_s
        return _Instant(at_s, last.off_s) if start <= at_s <= end else None

    def _by_new_rate(self, course: _Course, i: int) -> _Instant | None:
        """The instant by the new rate, if the polls allow it."""
        if self.evaluated is None:
            return None
        at_s, off_s = self.evaluated.at_s + self.found / float(course.rate[i + 1]), self.evaluated.off_s
        start, end = float(course.t_s[i]) - WINDOW_S - off_s, float(course.t_s[i + 1]) + WINDOW_S + off_s
        return _Instant(at_s, off_s) if start <= at_s <= end else None


def _found_pages(course: _Course, i: int) -> float:
    """Pages that the syncs between answers ``i`` and ``i + 1`` found newly dirty."""
    return float(course.remaining[i + 1] - course.remaining[i] + course.sent[i + 1] - course.sent[i])


def _round(
    course: _Course, i: int, last: _Instant | None, synced: _Instant, evidence: Evidence, sync: Synced | None
) -> Round | None:
    """The round (or the mean of the rounds) that ended between answers ``i`` and ``i + 1``; None if it is unknown."""
    syncs = int(course.syncs[i + 1] - course.syncs[i])
    found = _found_pages(course, i) / syncs
    if not found > 0:
        return None
    by_rate = _by_rate(course, i, found, syncs) if last is None else None
    seconds, off_s = by_rate or _between(last, synced, syncs)
    if last is None and syncs >= MANY_SYNCS and seconds <= 0:
        seconds = float(course.t_s[i + 1] - course.t_s[i]) / syncs
        off_s = seconds / (syncs - 1)
    if seconds <= 0:
        return None
    if course.in_bursts:
        seconds = max(seconds, WINDOW_S)  # a window's quota is sent between two syncs, also where the polls show less
    pending, off = (sync.pending_pages, 0.0) if sync else _pending(course, i, evidence)
    lengths = _lengths(course, i, last, seconds, evidence) if 1 < syncs <= LENGTHS_MAX else ()
    return Round(seconds, found, pending, float(course.throttle[i]), off_s / seconds, off, syncs, lengths_s=lengths)


def _lengths(course: _Course, i: int, last: _Instant | None, mean_s: float, evidence: Evidence) -> tuple[float, ...]:
    """Lengths [s] of the first pass and of the rounds that ended before answer ``i + 1``; () of later rounds.

    The pages that were left at answer ``i`` give the length of the first pass, and the other rounds share the rest.
    """
    syncs = int(course.syncs[i + 1] - course.syncs[i])
    if last is None or not evidence.sent_pages_per_s or not _ends_first_pass(course, i):
        return ()
    first_s = _next_sync_s(course, i, evidence) - last.at_s
    rest_s = (mean_s * syncs - first_s) / (syncs - 1)
    return (first_s, *[rest_s] * (syncs - 1)) if first_s > UNLIKE * mean_s and rest_s >= WINDOW_S else ()


def _ends_first_pass(course: _Course, i: int) -> bool:
    """Whether the first pass ends between answers ``i`` and ``i + 1``, which are far apart."""
    return bool(course.syncs[i] <= 1 and course.t_s[i + 1] - course.t_s[i] >= SELDOM_S)


def _next_sync_s(course: _Course, i: int, evidence: Evidence) -> float:
    """Seconds since the start at which QEMU syncs next after answer ``i``: it sends the pages that are left until then."""
    zeros = float(np.nan_to_num(course.zero[i + 1] - course.zero[i])) if course.syncs[i] <= 1 else 0.0
    left = float(course.remaining[i])
    pages = max(0.0, left - zeros - min(evidence.threshold_pages, left) / 2)
    return float(course.t_s[i]) + pages / evidence.sent_pages_per_s


def _between(last: _Instant | None, synced: _Instant, syncs: int) -> tuple[float, float]:
    """(mean length [s] of the rounds from one sync to another, its error [s]); zeros if the first was before the log."""
    if last is None:
        return 0.0, 0.0
    return (synced.at_s - last.at_s) / syncs, (synced.off_s + last.off_s) / syncs


def _by_rate(course: _Course, i: int, found: float, syncs: int) -> tuple[float, float] | None:
    """Length of a round that began before the log, from a rate that was computed anew for it: it began before answer
    ``i``.
    """
    old, new = course.rate[i], course.rate[i + 1]
    if syncs != 1 or not new > 0:
        return None
    seconds, start, end = found / float(new), float(course.t_s[i]), float(course.t_s[i + 1])
    fits = start - WINDOW_S <= start + seconds and seconds <= end + WINDOW_S
    return (seconds, 0.0) if fits and (new != old or seconds > EVALUATED_S) else None


def _synced(course: _Course, i: int, evidence: Evidence) -> _Instant:
    """The instant of the (last) sync between answers ``i`` and ``i + 1``, from the pages sent since then.

    Before the sync that ends the first pass zero pages are sent at no cost, after it whole pages only.
    """
    end, gap_s = float(course.t_s[i + 1]), float(course.t_s[i + 1] - course.t_s[i])
    sent, speed = float(course.sent[i + 1] - course.sent[i]), evidence.sent_pages_per_s
    one = course.syncs[i + 1] - course.syncs[i] == 1 and course.encoded[i + 1] == course.encoded[i]
    if not one or not sent > 0 or not speed > 0:
        # The last of several syncs is not before the end of the first pass. Later the middle is right on average.
        is_after = speed > 0 and not one and _ends_first_pass(course, i)
        open_s = max(0.0, min(gap_s, end - _next_sync_s(course, i, evidence))) if is_after else gap_s
        return _Instant(end - open_s / 2, open_s / 2)
    pending, off = _pending(course, i, evidence)
    since = max(0.0, pending + sent - float(course.remaining[i]))
    # Half a window less has passed than the pages of a burst take.
    early_s = WINDOW_S / 2 if course.in_bursts else 0.0
    since_s = min(gap_s, max(0.0, since / speed - early_s))
    return _Instant(end - since_s, min(off / speed + WINDOW_S / 2, max(since_s, gap_s - since_s)))


def _pending(course: _Course, i: int, evidence: Evidence) -> tuple[float, float]:
    """Pages left over at the sync after answer ``i``, and within how many: those the threshold lets wait, but no more
    than there were, and of those no fewer than could not be sent before the next answer.
    """
    most, is_first = float(course.remaining[i]), bool(course.syncs[i] <= 1)
    sent = float(np.nan_to_num(course.sent[i + 1] - course.sent[i]))
    one = course.syncs[i + 1] - course.syncs[i] == 1
    least = max(0.0, most - sent) if one else 0.0
    if is_first and one:  # pages of zeros were sent before the sync: hardly any are dirtied anew
        most = max(least, most - float(course.zero[i + 1] - course.zero[i]))
    return _within(least, most, evidence, first_pass=is_first)


def _within(least: float, most: float, evidence: Evidence, first_pass: bool) -> tuple[float, float]:
    """(pages that the threshold lets wait, between ``least`` and ``most``; greatest error of that number).

    The first pass may end among zero pages, of which a pass of the loop sends any number. Where the log contradicts the
    limit every number between is possible.
    """
    if evidence.limit_is_contradicted:
        return (least + most) / 2, (most - least) / 2
    threshold, sent = evidence.threshold_pages, evidence.sent_pages_per_s * WINDOW_S
    low = max(least, 0.0 if first_pass else min(threshold - sent, most))
    high = max(low, min(threshold, most))
    return (low + high) / 2, (high - low) / 2
