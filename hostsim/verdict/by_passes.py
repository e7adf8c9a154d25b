"""Logs of events alone: MIGRATION_PASS marks the start of each iteration, without the bytes remaining."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.qemu.mechanism import moved_statuses
from hostsim.verdict.course import running
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.model import Confidence, Outcome, Verdict
from hostsim.verdict.words import seconds_words

LATE = 4
"""So many iterations of about equal length leave about equal numbers of pages (assumed)."""
ALIKE = 0.8
FAR = 3.0
"""An iteration so many times the downtime limit sends far more than may be left (assumed)."""
AGAIN = ("query-migrate or virsh domjobinfo DOMAIN each second: only these report the remaining memory and the bandwidth",)


def by_passes(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The answer for a log that has passes and no figure of RAM."""
    at = [i for i in running(log) if log.dirty_sync_count[i] > 0]
    is_event_log = np.isnan(log.remaining_bytes).all() and np.isnan(log.transferred_bytes).all()
    if not is_event_log or not at or evidence.status in ("completed", "failed") or log.status[at[-1]] in moved_statuses():
        return None
    first = [at[0], *(b for a, b in pairwise(at) if log.dirty_sync_count[b] > log.dirty_sync_count[a])]
    lengths = np.diff(log.t_s[first])[-LATE:]
    outcome: Outcome = "not converging" if _stays(lengths, evidence) else "cannot tell"
    status = "cancelled" if evidence.status.startswith("cancel") else "still active"
    words = "not converging (remaining stops falling)" if outcome == "not converging" else "cannot tell whether it converges"
    passes = log.dirty_sync_count[at[-1]]
    return Verdict(
        outcome=outcome,
        reason="floor" if outcome == "not converging" else None,
        headline=f"{words}: {status} after {seconds_words(evidence.elapsed_s)}, in pass {passes:.0f} over the memory",
        findings=(_lengths_words(lengths),) if len(lengths) else (),
        confidence=Confidence("low", "events report when each iteration began, but not the remaining memory"),
        measure_next=AGAIN,
        numbers={"passes": float(passes), "iteration_s": float(lengths[-1]) if len(lengths) else 0.0},
    )


def _stays(lengths: np.ndarray, evidence: Evidence) -> bool:
    """Whether the last iterations are alike, and each far longer than the downtime limit."""
    return len(lengths) >= LATE and lengths.min() >= ALIKE * lengths.max() and lengths.min() > FAR * evidence.limit_s


def _lengths_words(lengths: np.ndarray) -> str:
    low, high = seconds_words(float(lengths.min())), seconds_words(float(lengths.max()))
    span = low if low == high else f"{low} to {high}"
    return f"Passes: the last {len(lengths)} took {span} each; a pass sends what the guest dirtied during the one before."
