"""Logs whose answers lie several iterations apart: no round was seen, but what remained at each answer tells enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.verdict.by_progress import verdict_by_progress
from hostsim.verdict.course import last, running
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

SYNCS_APART = 2
"""Fewer syncs than this between two answers are a round that the judge of rounds can read."""
STILL = 0.9
"""Remaining that fell by less than a tenth over several iterations has settled (assumed)."""
FAR_ABOVE = 2.0
"""So many times the threshold: chance does not bring remaining below it."""


def seldom_asked(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """Not converging, where remaining did not fall although all that remained was sent meanwhile; else no answer."""
    told = ~np.isnan(log.remaining_bytes) & ~np.isnan(log.transferred_bytes) & (np.nan_to_num(log.dirty_sync_count) > 1)
    at = running(log)
    at = at[told[at]]
    if evidence.status in ("completed", "failed") or evidence.xbzrle is not None or len(at) < 2:
        return None
    first, end = int(at[0]), int(at[-1])
    seconds, sent = float(log.t_s[end] - log.t_s[first]), float(log.transferred_bytes[end] - log.transferred_bytes[first])
    left, syncs = log.remaining_bytes[at], np.diff(log.dirty_sync_count[at])
    if seconds <= 0 or syncs.min() < SYNCS_APART or sent < left[0]:
        return None
    speed = sent / seconds
    if left[-1] < STILL * left[0] or left.min() <= FAR_ABOVE * speed * evidence.limit_s:
        return None
    why = _why(log, left[0], left[-1], int(syncs.sum()), seconds, speed, evidence)
    known = replace(evidence, bandwidth_bytes_per_s=speed, bandwidth_peak_bytes_per_s=None)
    ratio = (evidence.sent_bytes or sent) / evidence.ram_bytes if evidence.ram_bytes else 0.0
    return verdict_by_progress(log, known, "not converging", ratio, float(left[-1]), speed, why)


def _why(
    log: MigrationLog, before: float, after: float, syncs: int, seconds: float, speed: float, evidence: Evidence
) -> str:
    dirty = (last(log.dirty_pages_rate_per_s) or 0.0) * evidence.page_bytes
    told = f" (dirty rate in the log: {bandwidth_words(dirty)})" if dirty else ""
    return (
        f"Why: {syncs} iterations in {seconds_words(seconds)} sent {bytes_words(speed * seconds)}, and remaining went from "
        f"{bytes_words(before)} to {bytes_words(after)}: the guest dirties memory as fast as {bandwidth_words(speed)}{told}."
    )
