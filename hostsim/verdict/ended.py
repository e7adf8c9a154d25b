"""Verdicts on migrations that ended: completed, failed, or with an end that no answer shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hostsim.logs.model import TERMINAL, MigrationLog
from hostsim.verdict.evidence import Evidence, Round
from hostsim.verdict.findings import found_numbers, sent_words
from hostsim.verdict.forecast import MARGIN, Forecast, bandwidth_needed_bytes_per_s, forecast, limit_needed_s
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.throttled import throttle_line
from hostsim.verdict.words import bandwidth_words, bytes_words, rounded_up, seconds_words

IDENTIFIED = 2.0
"""A margin is printed only if the curves that agree with the log bound it within this factor (assumed)."""
LEAST_LIMIT_S = 0.001
LEAST_SHARE = 0.02
"""Margins of bandwidth below this share of the present bandwidth are not printed: no operator plans with so little
(assumed).
"""
SHORTEST_ROUND_S = 0.01
"""Shorter is only the stop itself, from the last sync of the running guest to the sync of the stopped one."""


def failed(evidence: Evidence) -> Verdict | None:
    """The verdict on a failed migration: QEMU's own reason, as a failure is no evidence about convergence."""
    if evidence.status != "failed":
        return None
    after = f" after {seconds_words(evidence.elapsed_s)}" if evidence.elapsed_s else ""
    if not evidence.error_desc:
        return Verdict("failed", f"failed{after}; the log has no reason (error-desc): look in the QEMU log of both hosts")
    return Verdict("failed", f"failed{after}, not a matter of convergence: {evidence.error_desc}")


def completed(evidence: Evidence) -> Verdict | None:
    """The verdict on a migration that pre-copy completed; mechanisms that end a migration otherwise have judged before."""
    if evidence.status != "completed":
        return None
    found = forecast(evidence)
    margins = tuple(_margins(evidence, found))
    return Verdict(
        outcome="completed",
        headline=f"completed (converged) in {took_words(evidence)}{sent_words(evidence)}",
        findings=tuple(line for line in (_why(evidence), margin_line(margins, evidence), throttle_line(evidence)) if line),
        margins=margins,
        confidence=Confidence("high", "the migration completed"),
        numbers=found_numbers(evidence, found) if found else {},
    )


def took_words(evidence: Evidence) -> str:
    """Total time and downtime of a completed migration, in words."""
    return f"{_total_words(evidence)}, downtime {_downtime_words(evidence)}"


def _total_words(evidence: Evidence) -> str:
    return seconds_words(evidence.elapsed_s if evidence.total_time_ms is None else evidence.total_time_ms / 1000)


def _downtime_words(evidence: Evidence) -> str:
    if evidence.downtime_ms is None:
        return "not in this log"
    return seconds_words(evidence.downtime_ms / 1000)


def _why(evidence: Evidence) -> str:
    rounds = [r for r in evidence.rounds if r.newly_dirty_pages >= 1 and r.duration_s >= SHORTEST_ROUND_S]
    if not rounds or not evidence.bandwidth_bytes_per_s:
        return ""
    dirtied = _dirtied_words(rounds, evidence.page_bytes)
    if not evidence.limit_s:
        return f"Why: {dirtied}; with a downtime limit of 0 QEMU stops the guest after it."
    return (
        f"Why: {dirtied}; QEMU stops the guest below "
        f"{bytes_words(evidence.threshold_pages * evidence.page_bytes)}, the amount that "
        f"{bandwidth_words(evidence.bandwidth_bytes_per_s)} sends within the downtime limit of "
        f"{seconds_words(evidence.limit_s)}."
    )


def _dirtied_words(rounds: list[Round], page_bytes: int) -> str:
    first, last = rounds[0], rounds[-1]
    sizes = [bytes_words(r.newly_dirty_pages * page_bytes) for r in (first, last)]
    times = [f"{seconds_words(r.duration_s)}{_mean_words(r)}" for r in (first, last)]
    if len(rounds) == 1:
        return f"in an iteration ({times[0]}) the guest dirtied {sizes[0]} again"
    return (
        f"in the first iteration ({times[0]}) the guest dirtied {sizes[0]} again, in the last one ({times[1]}) {sizes[1]}"
    )


def _mean_words(r: Round) -> str:
    return f", mean of {r.syncs} iterations" if r.syncs > 1 else ""


def _margins(evidence: Evidence, found: Forecast | None) -> Iterator[Remedy]:
    """The least limit and bandwidth with which it would end, too, where they are known well enough and are less."""
    if found is None or evidence.counts_parts or not evidence.limit_s:  # with a limit of 0 it ends at any bandwidth
        return
    limit, bandwidth = limit_needed_s(found, evidence), bandwidth_needed_bytes_per_s(found, evidence)
    slowest, now = MARGIN * bandwidth[1], evidence.bandwidth_bytes_per_s or 0.0
    if bandwidth[1] > IDENTIFIED * bandwidth[0] or slowest > now:
        return
    least_s = max(LEAST_LIMIT_S, rounded_up(MARGIN * limit[1]))
    if least_s < evidence.limit_s:
        text = f"with a downtime limit of {seconds_words(least_s)}"
        yield Remedy("downtime_limit", text, least_s * 1000, "ms")
    if slowest >= LEAST_SHARE * now:
        value = rounded_up(slowest * 8) / 8
        yield Remedy("bandwidth", f"at {bandwidth_words(value)}", value, "bytes/s")


def margin_line(margins: Sequence[Remedy], evidence: Evidence) -> str:
    """One sentence on ``margins``; "" if there are none."""
    if not margins:
        return ""
    limit, now = seconds_words(evidence.limit_s), bandwidth_words(evidence.bandwidth_bytes_per_s or 0.0)
    given = {"downtime_limit": f" instead of {limit}", "bandwidth": f" instead of {now}"}
    ran = " or ".join(one.text for one in margins if one.confirmed)
    computed = " or ".join(one.text + given[one.kind] for one in margins if not one.confirmed)
    parts = [f"it also completes {ran}"] if ran else []
    parts += [f"computed from the guest's write rate, it would also complete {computed} (not run)"] if computed else []
    return f"Margin: {'; '.join(parts)}."


def with_margins(verdict: Verdict, evidence: Evidence, margins: tuple[Remedy, ...]) -> Verdict:
    """``verdict`` with other margins, its sentence about them too."""
    before, after = margin_line(verdict.margins, evidence), margin_line(margins, evidence)
    lines = [after if line == before else line for line in verdict.findings]
    return replace(verdict, margins=margins, findings=tuple(line for line in lines if line))


OPEN = ("would converge", "too early to tell", "undecided")
"""Outcomes about a migration that continues. "Remaining stops falling" is not one: it holds for an ended migration, too."""
STAYED = "no job runs and the guest is still on the source, so it was cancelled or failed, or has come back since"
LEFT = "the guest runs on the source no more, so it was migrated, or shut down"
NEXT = "virsh domjobinfo DOMAIN --completed, on the destination too; the QEMU log of both hosts"


def ended_unseen(log: MigrationLog, evidence: Evidence, verdict: Verdict) -> Verdict:
    """``verdict`` with the end that the last answers of ``log`` imply but do not show; ``verdict`` itself for other logs.

    evidence: of ``log``, for the bytes left when the migration was last seen.
    """
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
