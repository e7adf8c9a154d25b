"""The verdict on a real log: cases that only logs have are judged first, then the cases of every migration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hostsim.logs.model import MigrationLog
from hostsim.verdict.by_progress import by_passes, by_progress, sent_over_and_over
from hostsim.verdict.commands import more_time_for, poll_for
from hostsim.verdict.course import last
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.dirty_rate import no_migration_yet
from hostsim.verdict.disks import waits_for_disks
from hostsim.verdict.ended import ended_unseen
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.few_answers import first_pass, nothing_sent, one_answer, stays_where_it_is
from hostsim.verdict.from_log import evidence_from_log
from hostsim.verdict.mechanism import LogJudge, mechanisms
from hostsim.verdict.model import Remedy, Verdict
from hostsim.verdict.other_jobs import not_a_migration
from hostsim.verdict.remedies import throttled_in_vain
from hostsim.verdict.speeds import change_words
from hostsim.verdict.stalled import stalled
from hostsim.verdict.stopped_guest import stopped_by_manager, stopped_in_device_state, waits_to_begin
from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

GIB = float(1 << 30)
FIRST = (stopped_in_device_state, waits_to_begin, stopped_by_manager, stalled, waits_for_disks)
"""Judges of logs that come before those of mechanisms."""
THEN = (nothing_sent, by_passes, by_progress, one_answer, first_pass)
UNCONFIRMED = "Values are computed from this log; no run has confirmed them"
UNKNOWN = ("cannot tell", "too early to tell")


def explain_log(log: MigrationLog, **known: Any) -> Verdict:
    """The verdict on ``log``; ``known``: fields of Evidence the caller knows better (None is ignored)."""
    other = not_a_migration(log) or no_migration_yet(log, known.get("link_bandwidth_bytes_per_s"))
    if other is not None:
        return replace(other, notes=(*other.notes, *log.notes))
    evidence = evidence_from_log(log, **known)
    verdict = next((found for judge in _judges() if (found := judge(log, evidence))), None)
    verdict = verdict or _without_time(evidence) or _ended_without_figures(log, evidence) or diagnose(evidence)
    verdict = stays_where_it_is(log, evidence, verdict) or sent_over_and_over(log, evidence, verdict) or verdict
    return _finished(log, evidence, ended_unseen(log, evidence, verdict))


def _judges() -> tuple[LogJudge, ...]:
    return (*FIRST, *(judge for one in mechanisms() for judge in one.under_way), *THEN)


def _without_time(evidence: Evidence) -> Verdict | None:
    """A word of completion, and nothing else."""
    if evidence.status != "completed" or evidence.elapsed_s > 0 or evidence.total_time_ms:
        return None
    if evidence.downtime_ms is None:
        return Verdict("completed", "completed; the log reports neither its total time nor its downtime")
    downtime = seconds_words(evidence.downtime_ms / 1000)
    return Verdict("completed", f"completed, downtime {downtime}; the log does not report its total time")


def _ended_without_figures(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict on a cancelled migration whose log has no figures but times; None otherwise."""
    if not evidence.status.startswith("cancel") or evidence.samples or last(log.percent) is not None:
        return None
    after = f" after {seconds_words(evidence.elapsed_s)}" if evidence.elapsed_s else ""
    return Verdict(
        "cannot tell",
        f"cannot tell why: {evidence.status}{after}, and no progress in the log (no figures of RAM)",
        measure_next=(f"poll {poll_for(evidence.profile)} each second, several rounds",),
    )


def _finished(log: MigrationLog, evidence: Evidence, verdict: Verdict) -> Verdict:
    remedies = tuple(_as_logs_can_tell(remedy, evidence) for remedy in verdict.remedies)
    advises = any(remedy.helps and remedy.value is not None for remedy in remedies)
    return replace(
        verdict,
        findings=(*verdict.findings, *_more(log, evidence, verdict)),
        remedies=remedies,
        notes=(*verdict.notes, *change_words(evidence.speeds), *log.notes, *((UNCONFIRMED,) if advises else ())),
        numbers={**_numbers(log, evidence), **verdict.numbers},
    )


def _as_logs_can_tell(remedy: Remedy, evidence: Evidence) -> Remedy:
    """``remedy`` for a log: the guest's pacing is unknown, and a remedy that waits must not cancel the migration."""
    if remedy.kind == "timeout" and remedy.value:
        return more_time_for(evidence, remedy.value)
    if remedy.kind == "auto_converge" and "clock" in remedy.text and not remedy.helps:
        return throttled_in_vain(evidence)
    return remedy


def _more(log: MigrationLog, evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    average, timeout, stuck = last(log.average_bytes_per_s), last(log.timeout_s), last(log.stuck_s)
    if average:
        yield f"Speed: {average / (1 << 20):.0f} MiB/s ({bandwidth_words(average)}) on average over all memory."
    if verdict.converged and evidence.downtime_ms is not None and evidence.downtime_limit_from in ("given", "log"):
        yield f"Limit: downtime {seconds_words(evidence.downtime_ms / 1000)}, limit {seconds_words(evidence.limit_s)}."
    if timeout and not verdict.converged:
        yield f"Ended: by the time-out of {timeout:.0f} s{_per_gib(timeout, evidence)}."
    elif stuck and not verdict.converged:
        yield f"Ended: the management layer saw no new low of remaining for {seconds_words(stuck)}."
    if evidence.error_desc and evidence.status.startswith("cancel"):
        yield f"Reason in the log: {evidence.error_desc}."
    if verdict.outcome in UNKNOWN:
        yield from _rates(log, evidence)


def _per_gib(seconds: float, evidence: Evidence) -> str:
    gib = round((evidence.ram_bytes or 0.0) / GIB)
    return f", {seconds / gib:.0f} s for each of {gib} GiB" if gib else ""


def _rates(log: MigrationLog, evidence: Evidence) -> Iterator[str]:
    dirty = (last(log.dirty_pages_rate_per_s) or 0.0) * evidence.page_bytes
    if dirty and evidence.bandwidth_bytes_per_s and (evidence.sync_count or 0) > 1:
        side = "above" if dirty > evidence.bandwidth_bytes_per_s else "below"
        sent = f"{bytes_words(evidence.bandwidth_bytes_per_s)}/s"
        yield f"Rates: the guest dirtied {bytes_words(dirty)}/s, {side} the {sent} sent."


def _numbers(log: MigrationLog, evidence: Evidence) -> dict[str, float]:
    told = {
        "elapsed_s": evidence.total_time_ms / 1000 if evidence.total_time_ms else evidence.elapsed_s,
        "downtime_ms": evidence.downtime_ms,
        "sent_bytes": evidence.sent_bytes,
        "ram_bytes": evidence.ram_bytes,
        "remaining_bytes": 0.0 if evidence.status == "completed" else evidence.remaining_bytes,
        "bandwidth_bytes_per_s": evidence.bandwidth_bytes_per_s,
        "downtime_limit_ms": evidence.downtime_limit_ms,
        "timeout_s": last(log.timeout_s),
        "average_bytes_per_s": last(log.average_bytes_per_s),
    }
    return {name: value for name, value in told.items() if value is not None}
