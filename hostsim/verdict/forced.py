"""A migration whose manager stopped the guest so that it ends: it has not converged, and the pause is downtime."""

from __future__ import annotations

from hostsim.logs.model import MigrationLog
from hostsim.verdict.course import last
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import after_words, sent_words
from hostsim.verdict.model import Confidence, Verdict
from hostsim.verdict.words import bytes_words, seconds_words

NOT_CONVERGED = "Pre-copy had not converged by then: explain the answers before the pause alone to see why and what helps."


def stopped_by_manager(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict on a log that records that a manager paused the guest for its migration; None for other logs."""
    stopped = last(log.stopped_s)
    if stopped is None or evidence.status == "failed" or evidence.status.startswith("cancel"):
        return None
    timeout = last(log.timeout_s)
    why = f" by the time-out of {timeout:.0f} s" if timeout else ""
    if evidence.status == "completed":
        return _ended(evidence, stopped, why)
    return _goes_on(evidence, stopped, why)


def _ended(evidence: Evidence, stopped_s: float, why: str) -> Verdict:
    seconds = evidence.total_time_ms / 1000 if evidence.total_time_ms else evidence.elapsed_s
    return Verdict(
        outcome="completed",
        headline=f"completed (forced{why}, not converged) in {seconds_words(seconds)}, the guest stood still for about "
        f"{seconds_words(stopped_s)}{sent_words(evidence)}",
        findings=((f"Why: the manager paused the guest, and all of the {seconds_words(stopped_s)} since then is downtime, "
                  f"however short QEMU's own switchover was. {NOT_CONVERGED}"),),
        confidence=Confidence("high", "the log shows the pause"),
        numbers={"stopped_s": stopped_s},
    )  # fmt: skip


def _goes_on(evidence: Evidence, stopped_s: float, why: str) -> Verdict:
    left, speed = evidence.remaining_bytes or 0.0, evidence.bandwidth_bytes_per_s or 0.0
    more = f", about {seconds_words(left / speed)} more" if speed else ""
    return Verdict(
        outcome="would converge",
        headline=f"the guest is paused{why}: {evidence.status}{after_words(evidence)} with {bytes_words(left)} left{more}, "
        "all of it downtime",
        findings=((f"Why: the manager paused the guest {seconds_words(stopped_s)} ago; nothing is dirtied any more, so the "
                  f"migration ends with the last page. {NOT_CONVERGED}"),),
        confidence=Confidence("high", "a paused guest writes nothing"),
        numbers={"stopped_s": stopped_s, "remaining_bytes": left, **({"left_s": left / speed} if speed else {})},
    )  # fmt: skip
