"""Verdicts on migrations that ended by themselves: completed, failed, or switched to post-copy."""

from __future__ import annotations

from hostsim.verdict.evidence import Evidence, Round
from hostsim.verdict.findings import found_numbers, sent_words
from hostsim.verdict.forecast import MARGIN, Forecast, bandwidth_needed_bytes_per_s, forecast, limit_needed_s
from hostsim.verdict.model import Confidence, Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, rounded_up, seconds_words

IDENTIFIED = 2.0
"""A margin is told only where the curves that agree with the log leave it within this factor (assumed)."""
LEAST_LIMIT_S = 0.001
SHORTEST_ROUND_S = 0.01
"""Shorter is only the stop itself, from the last sync of the running guest to the sync of the stopped one."""


def failed(evidence: Evidence) -> Verdict | None:
    """A failed migration says nothing of convergence: QEMU's own reason is what counts."""
    if evidence.status != "failed":
        return None
    why = evidence.error_desc or "no error-desc in the log; the QEMU log of both hosts has it"
    return Verdict("failed", f"failed after {seconds_words(evidence.elapsed_s)}, not a matter of convergence: {why}")


def completed(evidence: Evidence) -> Verdict | None:
    """Completed, by pre-copy or after a switch to post-copy."""
    if evidence.status != "completed":
        return None
    if evidence.postcopy_s is not None or evidence.postcopy_requests:
        return _by_postcopy(evidence)
    found = forecast(evidence)
    return Verdict(
        outcome="completed",
        headline=f"completed (converged) in {_times_words(evidence)}{sent_words(evidence)}",
        findings=tuple(line for line in (_why(evidence), _margin(evidence, found), _throttled(evidence)) if line),
        confidence=Confidence("high", "the migration completed"),
        numbers=found_numbers(evidence, found) if found else {},
    )


def switched_to_postcopy(evidence: Evidence) -> Verdict | None:
    """Post-copy that has not ended: nothing is dirtied any more, it ends with the last page."""
    if evidence.postcopy_s is None or evidence.status.startswith("cancel"):
        return None
    left_s = (evidence.remaining_bytes or 0.0) / (evidence.bandwidth_bytes_per_s or float("inf"))
    left = bytes_words(evidence.remaining_bytes or 0.0)
    return Verdict(
        outcome="would converge",
        headline=(f"post-copy under way for {seconds_words(evidence.postcopy_s)}: {left} left, nothing is dirtied any more"),
        findings=(
            (
                f"{evidence.postcopy_requests:.0f} pages were requested by the guest so far; it needs "
                "both hosts for about "
                f"{seconds_words(left_s)} more at this bandwidth."
            ),
        ),
        confidence=Confidence("high", "every page crosses once after the switch"),
    )


def _by_postcopy(evidence: Evidence) -> Verdict:
    seconds = seconds_words(evidence.postcopy_s) if evidence.postcopy_s is not None else "an unknown time"
    return Verdict(
        outcome="completed by post-copy",
        headline=f"completed by post-copy in {_times_words(evidence)}{sent_words(evidence)}",
        findings=(
            (
                f"Exposed: for {seconds} the guest needed both hosts and the link; it waited for "
                f"{evidence.postcopy_requests:.0f} "
                "requested pages."
            ),
            "Pre-copy was given up early, so this says nothing of whether pre-copy would have converged.",
        ),
        confidence=Confidence("high", "the migration completed"),
    )


def _times_words(evidence: Evidence) -> str:
    return f"{_total_words(evidence)}, downtime {_downtime_words(evidence)}"


def _total_words(evidence: Evidence) -> str:
    return seconds_words(evidence.elapsed_s if evidence.total_time_ms is None else evidence.total_time_ms / 1000)


def _downtime_words(evidence: Evidence) -> str:
    if evidence.downtime_ms is None:
        return "not told by this log"
    return seconds_words(evidence.downtime_ms / 1000)


def _why(evidence: Evidence) -> str:
    rounds = [r for r in evidence.rounds if r.newly_dirty_pages >= 1 and r.duration_s >= SHORTEST_ROUND_S]
    if not rounds or not evidence.bandwidth_bytes_per_s:
        return ""
    page = evidence.page_bytes
    found = [f"{bytes_words(r.newly_dirty_pages * page)} in {seconds_words(r.duration_s)}{_mean_words(r)}" for r in rounds]
    seen = f"what was dirty again fell from {found[0]} to {found[-1]}" if len(found) > 1 else f"{found[0]} was dirty again"
    return (
        f"Why: {seen}; QEMU stops the guest below {bytes_words(evidence.threshold_pages * page)} "
        f"({bandwidth_words(evidence.bandwidth_bytes_per_s)} x {seconds_words(evidence.limit_s)})."
    )


def _mean_words(r: Round) -> str:
    return f" (mean of {r.syncs} rounds)" if r.syncs > 1 else ""


def _margin(evidence: Evidence, found: Forecast | None) -> str:
    """Down to which limit or bandwidth it would still end, if that is known well enough."""
    if found is None or evidence.xbzrle is not None:
        return ""
    limit, bandwidth = limit_needed_s(found, evidence), bandwidth_needed_bytes_per_s(found, evidence)
    slowest = MARGIN * bandwidth[1]
    if slowest == 0 or bandwidth[1] > IDENTIFIED * bandwidth[0] or slowest > (evidence.bandwidth_bytes_per_s or 0.0):
        return ""
    least = rounded_up(MARGIN * limit[1])
    limit_words = (
        f"a downtime limit of {seconds_words(least)}" if least >= LEAST_LIMIT_S else "any downtime limit, given time"
    )
    return f"Margin: it would still end with {limit_words}, or at {bandwidth_words(rounded_up(slowest * 8) / 8)}."


def _throttled(evidence: Evidence) -> str:
    if not evidence.throttle_percent:
        return ""
    return f"Cost: auto-converge held the guest's vCPUs back by up to {evidence.throttle_percent:.0f} %."
