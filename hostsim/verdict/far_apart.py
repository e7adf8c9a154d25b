"""Answers too far apart to see a round: judged by how remaining and the two rates stand after several syncs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.verdict.course import last, rate, running
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import REASONS, after_words, sent_words
from hostsim.verdict.model import Confidence, Outcome, Verdict
from hostsim.verdict.one_answer import remedies_at
from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

UNDECIDED: tuple[Outcome, ...] = ("too early to tell", "cannot tell", "undecided")
SYNCS_MIN = 2
MANY_SYNCS = 3
"""If as much remains after so many syncs, remaining does not decline, even if the log has no dirty rate (assumed)."""
KEEPS = 0.9
"""Remaining over its earlier value, or dirty rate over bandwidth, of at least this is no decline (assumed)."""
FAR = 2.0
"""If so many times the bytes that fit the limit remain, an inexact limit does not matter (assumed)."""


def stays_where_it_is(log: MigrationLog, evidence: Evidence, verdict: Verdict) -> Verdict | None:
    """The answer where rounds could not decide, but after several syncs as much is left as before."""
    changed_s = evidence.speeds[-1].since_s if evidence.speeds else 0.0
    at = [i for i in _later(log) if log.t_s[i] >= changed_s]
    if verdict.outcome not in UNDECIDED or len(at) < 2 or evidence.may_count_parts:
        return None
    syncs = log.dirty_sync_count[at[-1]] - log.dirty_sync_count[at[0]]
    left, sent = log.remaining_bytes[at], rate(log, log.transferred_bytes, recent=len(at))
    speed = sent.per_s if sent else evidence.bandwidth_bytes_per_s or 0.0
    evidence = replace(evidence, bandwidth_bytes_per_s=speed, bandwidth_peak_bytes_per_s=None)
    dirty = (last(log.dirty_pages_rate_per_s) or 0.0) * evidence.page_bytes
    keeps = left[-1] >= KEEPS * left.min() and left.max() >= left[-1] >= KEEPS * left[0]
    is_fed = dirty >= KEEPS * speed if dirty else syncs >= MANY_SYNCS
    is_far = left.min() > FAR * speed * evidence.limit_s
    enough = 1 if dirty >= speed else SYNCS_MIN
    if syncs < enough or not speed or not keeps or not is_fed or not is_far:
        return None
    return _verdict(evidence, int(syncs), (float(left[0]), float(left[-1])), dirty)


def _later(log: MigrationLog) -> list[int]:
    """Answers after the first pass, while the guest runs."""
    told = ~np.isnan(log.remaining_bytes) & (np.nan_to_num(log.dirty_sync_count) >= 2)
    return [int(i) for i in running(log) if told[i]]


def _verdict(evidence: Evidence, syncs: int, left: tuple[float, float], dirty: float) -> Verdict:
    speed = evidence.bandwidth_bytes_per_s or 0.0
    threshold = speed * evidence.limit_s
    many = "1 bitmap sync" if syncs == 1 else f"{syncs} bitmap syncs"
    status = "cancelled" if evidence.status.startswith("cancel") else f"still {evidence.status}"
    rate = f"The guest dirties {bandwidth_words(dirty)}" if dirty else "The log has no dirty rate"
    return Verdict(
        outcome="not converging",
        reason="floor",
        headline=f"not converging ({REASONS['floor']}): {status}{after_words(evidence)} with "
        f"{bytes_words(left[1])} remaining{sent_words(evidence)}",
        findings=(
            (f"Why: {bytes_words(left[0])} were remaining; {many} later {bytes_words(left[1])} are. "
             f"{rate}, and {bandwidth_words(speed)} is sent."),
            (f"Floor: QEMU stops the guest below {bytes_words(threshold)}, the amount that {bandwidth_words(speed)} sends "
             f"within the downtime limit of {seconds_words(evidence.limit_s)}."),
        ),
        remedies=remedies_at(evidence, "not converging", left[1], dirty, speed),
        confidence=Confidence("medium" if dirty and syncs >= MANY_SYNCS else "low",
                              f"{many} between the answers, none of them in the log"),
        measure_next=("poll query-migrate each second over 4 iterations",),
        numbers={
            "remaining_bytes": left[1], "dirty_bytes_per_s": dirty, "bandwidth_bytes_per_s": speed,
            "threshold_bytes": threshold, "floor_bytes": left[1], "stop_now_s": left[1] / speed,
        },
    )  # fmt: skip
