"""The last rounds of a migration that completed between two answers: more syncs than answers, but number and sum are known.

Where rounds are shorter than the time between two polls, a log shows the first pass and little else. The answer "completed"
still has the number of syncs, the pages that all of them found together, and the time at which the guest was stopped.
Remaining falls by about one factor from round to round in a migration that converges. So the lengths of the rounds follow
from their sum and from the length of the first one, which is the time to send the pages that were left.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.fitting.points import TIMED_WITHIN
from hostsim.logs.model import MigrationLog
from hostsim.verdict.evidence import Evidence, Round
from hostsim.verdict.log_rounds import WINDOW_S

Array = NDArray[np.float64]
ROUNDS_MIN = 2
"""Logs with as many timed rounds do without: a load may end with its migration, and then the last rounds are not of it."""
STOPPED_SYNCS = 1
"""Of the syncs since the last answer, that of the stopped guest (migration/ram.c::ram_save_complete)."""
SYNCS_MAX = 40
GROWS_MAX = 1.2
"""Rounds that grow by more from one to the next do not converge, so that the factor is none (assumed)."""
SHAPE_OFF = 0.25
"""Error of the pages of such rounds, as a share: their lengths fall by one factor only about (assumed)."""
BISECTIONS = 40
Rounds = tuple[Round, ...]


def with_tail(log: MigrationLog, live: NDArray[np.int64], evidence: Evidence, rounds: Rounds) -> Rounds:
    """``rounds`` with the mean of those since the last answer, where a log has too few without them.

    live: the answers with figures, before the guest moved.
    """
    few = sum(r.timing_off < 1 for r in rounds) < ROUNDS_MIN
    found = _tail(log, int(live[-1]), evidence, rounds) if few and len(live) and not evidence.guest_moved else None
    return rounds if found is None else (*rounds, found)


def _tail(log: MigrationLog, at: int, evidence: Evidence, rounds: Rounds) -> Round | None:
    end = len(log) - 1
    counts = log.normal_pages + np.nan_to_num(log.zero_pages)
    told = (counts, log.remaining_bytes, log.dirty_sync_count)
    if log.status[end] != "completed" or not evidence.total_time_ms or np.isnan([c[[at, end]] for c in told]).any():
        return None
    syncs = round(float(log.dirty_sync_count[end] - log.dirty_sync_count[at])) - STOPPED_SYNCS
    stopped_s = (evidence.total_time_ms - (evidence.downtime_ms or 0.0)) / 1000
    synced_s = sum(r.duration_s * r.syncs for r in rounds)
    is_whole = all(r.syncs == 1 for r in rounds) and len(rounds) == log.dirty_sync_count[at] - 1
    left = float(log.remaining_bytes[at]) / evidence.page_bytes
    found = float(counts[end] - counts[at]) - left
    if not is_whole or not 1 <= syncs <= SYNCS_MAX or found <= 0:
        return None
    lengths = _lengths(_first_s(log, at, evidence, left, synced_s), stopped_s - synced_s, syncs)
    return _mean(lengths, found / syncs, evidence) if lengths else None


def _first_s(log: MigrationLog, at: int, evidence: Evidence, left: float, synced_s: float) -> float:
    """Length [s] of the first round: the pages that were left are sent until the threshold lets QEMU sync."""
    zeros = float(np.nan_to_num(log.zero_pages[-1] - log.zero_pages[at])) if log.dirty_sync_count[at] <= 1 else 0.0
    pages = max(0.0, left - zeros - min(evidence.threshold_pages, left) / 2)
    return float(log.t_s[at]) - synced_s + pages / evidence.sent_pages_per_s


def _lengths(first_s: float, whole_s: float, syncs: int) -> tuple[float, ...]:
    """Lengths [s] from ``first_s`` on that fall by one factor, to a window at least, and sum up to ``whole_s``; or ()."""
    if syncs == 1:
        return (whole_s,) if whole_s > 0 else ()

    def falling(factor: float) -> Array:
        return np.asarray(np.maximum(first_s * factor ** np.arange(syncs), min(WINDOW_S, first_s)), np.float64)

    low, high = 0.0, GROWS_MAX
    if first_s <= 0 or not falling(low).sum() <= whole_s <= falling(high).sum():
        return ()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle).sum() < whole_s else (low, middle)
    return tuple(falling(high).tolist())


def _mean(lengths: tuple[float, ...], found: float, evidence: Evidence) -> Round:
    """The mean of the rounds of ``lengths``, of which each left a part of the threshold waiting."""
    waiting = min(evidence.threshold_pages, evidence.sent_pages_per_s * lengths[-1]) / 2
    mean = Round(sum(lengths) / len(lengths), found, waiting, timing_off=TIMED_WITHIN / 2, syncs=len(lengths))
    return replace(mean, lengths_s=lengths, off_share=SHAPE_OFF if len(lengths) > 1 else 0.0)
