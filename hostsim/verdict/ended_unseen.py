"""A migration whose end no answer shows: libvirt reports no job any more, or the guest is gone from the source."""

from __future__ import annotations

from dataclasses import replace

from hostsim.logs.model import TERMINAL, MigrationLog
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.model import Confidence, Verdict
from hostsim.verdict.words import bytes_words, seconds_words

OPEN = ("would converge", "too early to tell", "undecided")
"""Outcomes about a migration that continues. "Remaining stops falling" is not one: it holds for an ended migration, too."""
STAYED = "no job runs and the guest is still on the source, so it was cancelled or failed, or has come back since"
LEFT = "the guest runs on the source no more, so it was migrated, or shut down"
NEXT = "virsh domjobinfo DOMAIN --completed, on the destination too; the QEMU log of both hosts"


def ended_unseen(log: MigrationLog, evidence: Evidence, verdict: Verdict) -> Verdict:
    """``verdict`` with the end that the last answers imply but do not show; ``verdict`` itself for other logs."""
    before = [status for status in log.status if status != "none"]
    if log.status[-1] != "none" or not before or before[-1] in TERMINAL:
        return verdict
    how = LEFT if log.error_desc else STAYED
    line = f"End: not in the log. After the last answer {how}."
    if verdict.outcome not in OPEN:
        headline = verdict.headline.replace(": none", ": ended unseen", 1).replace("still active", "ended unseen", 1)
        return replace(verdict, headline=headline, findings=(*verdict.findings, line), measure_next=(NEXT,))
    left = evidence.remaining_bytes
    rest = f" with {bytes_words(left)} left" if left else ""
    seconds = max(float(t) for t, status in zip(log.t_s, log.status, strict=True) if status != "none")
    return replace(
        verdict,
        outcome="cannot tell",
        reason=None,
        headline=f"cannot tell how it ended: last seen after {seconds_words(seconds)}{rest}",
        findings=(line,),
        remedies=(),
        assumptions=(),
        confidence=Confidence("low", "the end is not in the log"),
        measure_next=(NEXT,),
    )
