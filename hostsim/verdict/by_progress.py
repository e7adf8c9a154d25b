"""Logs without a count of bitmap syncs, judged by bytes sent and remaining, or by events alone.

Nova, Proxmox and virsh's percentage have bytes; MIGRATION_PASS marks the start of each iteration, without the bytes
remaining.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.qemu.mechanism import moved_statuses
from hostsim.verdict.commands import command_for, more_time_for, poll_for
from hostsim.verdict.course import last, rate, running
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import REASONS, after_words, sent_words
from hostsim.verdict.forecast import MARGIN
from hostsim.verdict.model import Confidence, Outcome, Remedy, Verdict
from hostsim.verdict.remedies import LIMIT_MAX_S, always_end, throttled_in_vain
from hostsim.verdict.words import bandwidth_words, bytes_words, rounded_up, seconds_words

OFTEN = 1.5
"""If RAM was sent so many times and more remains than fits, the guest keeps up with the link (assumed)."""
SURELY = 3.0
PERCENT_ALONE = (
    "A percentage does not show how many bytes remain, nor the bandwidth: it may stay at 99 % for hours while the guest "
    "dirties memory."
)
UNDECIDED: tuple[Outcome, ...] = ("too early to tell", "cannot tell", "undecided")


def by_progress(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict on a log that lacks dirty-sync-count or remaining bytes in all answers; None for other logs."""
    syncs_told, left_told = (not np.isnan(column).all() for column in (log.dirty_sync_count, log.remaining_bytes))
    return None if syncs_told and left_told else by_ratio(log, evidence)


def sent_over_and_over(log: MigrationLog, evidence: Evidence, verdict: Verdict) -> Verdict | None:
    """The verdict "not converging" where the rounds decided nothing, but RAM was sent many times and more is left than fits.

    evidence: of ``log``. verdict: the one by the rounds.
    None where ``verdict`` is decided, RAM was sent fewer than SURELY times, pages may have travelled in part, or the bytes
    remaining allow any other outcome.
    """
    ratio = (evidence.sent_bytes or 0.0) / evidence.ram_bytes if evidence.ram_bytes else 0.0
    if verdict.outcome not in UNDECIDED or ratio < SURELY or evidence.may_count_parts:
        return None
    found = by_ratio(log, evidence)
    return found if found and found.outcome == "not converging" else None


def by_ratio(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict from the number of times that RAM was sent, and from the bytes remaining.

    evidence: of ``log``; RAM, bytes sent and the bandwidth are read from the log anew. None for a migration that ended, and
    where the log has too few figures.
    """
    if evidence.status in ("completed", "failed"):
        return None
    sent, total = last(log.transferred_bytes[running(log)]), last(log.total_bytes)
    left = last(log.remaining_bytes[running(log)])
    several = (~np.isnan(log.transferred_bytes)).sum() != 1
    if not log.t_s.any() and (sent is not None or left is not None) and several and last(log.mbps) is None:
        return _without_speed(log, left)
    if sent is None or not total:
        return _percent_only(log, _at_average(log, evidence, sent, left))
    speed = evidence.speeds[-1].bytes_per_s if evidence.speeds else _speed(log, sent)
    if not speed:
        return _without_speed(log, left)
    evidence = replace(
        evidence, sent_bytes=sent, ram_bytes=total, bandwidth_bytes_per_s=speed, bandwidth_peak_bytes_per_s=None
    )
    outcome = _outcome(log, evidence, sent / total, left, speed)
    if outcome == "too early to tell":
        return _early(log, evidence, total, left, sent, speed)
    return _verdict(log, evidence, outcome, sent / total, left, speed)


def _without_speed(log: MigrationLog, left: float | None) -> Verdict:
    told = log.transferred_bytes[~np.isnan(log.transferred_bytes)]
    is_idle = len(told) > 1 and told.max() == told.min() and bool(log.t_s.any())
    why = "no bytes were sent between the answers" if is_idle else "the log has no times"
    rest = "" if left is None else f"; {bytes_words(left)} are left"
    return Verdict(
        "cannot tell",
        f"cannot tell: {why}, so there is no bandwidth{rest}",
        measure_next=("the same log with a time before each answer (run date before it), each second over several rounds",),
    )


def _speed(log: MigrationLog, sent: float) -> float:
    """Bytes a second: over all answers, for one answer since the start."""
    by = rate(log, log.transferred_bytes, recent=len(log))
    told = last(log.mbps)
    elapsed = float(log.t_s[running(log)[-1]])
    if by:
        return by.per_s
    several = (~np.isnan(log.transferred_bytes)).sum() > 1
    return told * 1e6 / 8 if told else sent / elapsed if elapsed > 0 and not several else 0.0


def _outcome(log: MigrationLog, evidence: Evidence, ratio: float, left: float | None, speed: float) -> Outcome:
    if left is not None and left <= speed * evidence.limit_s:
        return "would converge"
    if ratio >= OFTEN:
        return "not converging"
    falls = rate(log, log.remaining_bytes, falls=True)
    if ratio < 1.0 and (left is None or falls or len(running(log)) <= 2):
        return "too early to tell"
    return "undecided"


def _verdict(
    log: MigrationLog, evidence: Evidence, outcome: Outcome, ratio: float, left: float | None, speed: float
) -> Verdict:
    words = {
        "not converging": f"not converging ({REASONS['floor']})", "would converge": "would converge given more time",
    }.get(outcome, outcome)  # fmt: skip
    status = "timed out" if last(log.timeout_s) else "cancelled" if evidence.status.startswith("cancel") else "still active"
    rest = "" if left is None else f" with {bytes_words(left)} left"
    return Verdict(
        outcome=outcome,
        reason="floor" if outcome == "not converging" else None,
        headline=f"{words}: {status}{_after(log, evidence)}{rest}"
        f"{sent_words(evidence)} at {bandwidth_words(speed)}",
        findings=tuple(line for line in (_why(log, ratio, speed), _fits(log, evidence, left, speed)) if line),
        remedies=_remedies(log, evidence, outcome, left, speed),
        confidence=Confidence("medium" if ratio >= SURELY or (ratio < OFTEN and left is not None) else "low",
                              "judged by the bytes sent, not by rounds"),
        measure_next=(f"{poll_for(evidence.profile)} each second over several rounds: it reports syncs and the dirty rate",),
        numbers={
            "bandwidth_bytes_per_s": speed, "threshold_bytes": speed * evidence.limit_s, "sent_over_ram": ratio,
            **({} if left is None else {"remaining_bytes": left, "stop_now_s": left / speed}),
        },
    )  # fmt: skip


def _after(log: MigrationLog, evidence: Evidence) -> str:
    seconds = _ended_s(log, evidence)
    return f" after {seconds_words(seconds)}" if seconds else ""


def _ended_s(log: MigrationLog, evidence: Evidence) -> float:
    return max(evidence.elapsed_s, last(log.timeout_s) or 0.0)


def _why(log: MigrationLog, ratio: float, speed: float) -> str:
    if ratio < OFTEN:
        return ""
    dirty = last(log.dirty_pages_rate_per_s)
    told = f" (dirty rate in the log: {bandwidth_words(dirty * 4096)})" if dirty else ""
    fast = f"the guest dirties memory at about {bandwidth_words(speed)}{told}"
    return f"Why: QEMU sent all of RAM {ratio:.1f} times, so {fast}."


def _fits(log: MigrationLog, evidence: Evidence, left: float | None, speed: float) -> str:
    fits = f"{bytes_words(speed * evidence.limit_s)} fit into the downtime limit of {seconds_words(evidence.limit_s)}"
    least = [value for value in (last(log.watermark_bytes), _least(log)) if value]
    low = f"; the least that was left before is {bytes_words(min(least))}" if least and left and min(least) < left else ""
    if left is None:
        return f"Floor: this form of log does not report the remaining memory; {fits}."
    return f"Floor: {bytes_words(left)} left take {seconds_words(left / speed)} to send, {fits}{low}."


def _least(log: MigrationLog) -> float | None:
    told = log.remaining_bytes[running(log)]
    told = told[told > 0]
    return float(told.min()) if len(told) else None


def _remedies(
    log: MigrationLog, evidence: Evidence, outcome: Outcome, left: float | None, speed: float
) -> tuple[Remedy, ...]:
    pages = (left if left is not None else last(log.total_bytes) or 0.0) / evidence.page_bytes
    ends = always_end(evidence, pages, "about" if left is not None else "up to")
    if outcome == "would converge":
        until = rounded_up((_ended_s(log, evidence) + (left or 0.0) / speed) * MARGIN)
        return more_time_for(evidence, until), *ends
    more = f"bandwidth: clearly more than {bandwidth_words(speed)}, the rate at which the guest dirties memory now; "
    bandwidth = Remedy("bandwidth", more + "this log does not show how much more", certain=False)
    return (*_limit(evidence, left, speed), bandwidth, *ends, _throttle(evidence))


def _throttle(evidence: Evidence) -> Remedy:
    if evidence.no_throttle:
        return Remedy("auto_converge", f"auto-converge: {evidence.no_throttle}", helps=False)
    if evidence.throttle_percent:
        return throttled_in_vain(evidence)
    slows = "throttling (auto-converge): slows a guest whose writes take all its CPU time; a log does not show if they do"
    return Remedy("auto_converge", slows, command=command_for(evidence.profile, "auto_converge", 99), certain=False)


def _limit(evidence: Evidence, left: float | None, speed: float) -> tuple[Remedy, ...]:
    value_s = rounded_up((left or 0.0) / speed * MARGIN)
    if not 0 < value_s <= LIMIT_MAX_S:
        return ()
    now = f"now {seconds_words(evidence.limit_s)}"
    text = f"downtime limit of at least {seconds_words(value_s)} ({now}), if a later sync finds as much"
    command = command_for(evidence.profile, "downtime_limit", value_s * 1000)
    return (Remedy("downtime_limit", text, value_s * 1000, "ms", command, certain=False),)


def _early(log: MigrationLog, evidence: Evidence, total: float, left: float | None, sent: float, speed: float) -> Verdict:
    falls = rate(log, log.remaining_bytes, falls=True)
    rest = max(0.0, total - sent) if left is None else left
    left_s = rest / (falls.per_s if falls else speed)
    return Verdict(
        outcome="too early to tell",
        headline=f"too early to tell: {evidence.status}{after_words(evidence)}, within the first pass"
        f"{sent_words(evidence)}",
        findings=(
            (
                f"Left: {bytes_words(rest)} of {bytes_words(total)}, {'at most' if left is None else 'about'} "
                f"{seconds_words(left_s)} more at this speed; pages that the guest dirties meanwhile come on top."
            ),
        ),
        remedies=always_end(evidence, rest / evidence.page_bytes),
        confidence=Confidence("low", "the first pass over RAM has not ended"),
        measure_next=(f"{poll_for(evidence.profile)} each second over several rounds: it reports syncs and the dirty rate",),
        numbers={"remaining_bytes": rest, "first_pass_left_s": left_s, "bandwidth_bytes_per_s": speed},
    )  # fmt: skip


def _percent_words(log: MigrationLog, percent: float, after: str) -> str:
    told = log.percent[~np.isnan(log.percent)]
    falls = f" (it was {told.max():.0f} % before)" if told.max() > percent else ""
    if log.status[-1].startswith("cancel"):
        return f"cannot tell why it did not end: cancelled at {percent:.0f} %{falls}{after}"
    return f"cannot tell: the log has only a percentage, {percent:.0f} %{falls}{after}"


def _at_average(log: MigrationLog, evidence: Evidence, sent: float | None, left: float | None) -> tuple[str, ...]:
    """The sentence on the bytes that one answer beside the percentages has."""
    told = np.flatnonzero(~np.isnan(log.transferred_bytes))
    elapsed = float(log.t_s[told[-1]]) if len(told) else 0.0
    if not sent or not left or elapsed <= 0:
        return ()
    assumed = " assumed" if evidence.downtime_limit_from == "assumed" else ""
    sentence = (
        f"QEMU sent {bytes_words(sent)} in {seconds_words(elapsed)}, {bandwidth_words(sent / elapsed)} on average; the "
        f"{bytes_words(left)} left then take {seconds_words(left * elapsed / sent)}, and QEMU stops the guest only once the "
        f"rest takes at most the downtime limit ({seconds_words(evidence.limit_s)}{assumed})."
    )
    return (sentence,)


def _percent_only(log: MigrationLog, bytes_told: tuple[str, ...]) -> Verdict | None:
    percent = last(log.percent)
    if percent is None:
        return None
    ended = last(log.timeout_s)
    after = f" when it timed out after {seconds_words(ended)}" if ended else ""
    return Verdict(
        outcome="cannot tell",
        headline=_percent_words(log, percent, after),
        findings=(*_falls_of_percent(log), *(bytes_told or (PERCENT_ALONE,))),
        measure_next=("virsh domjobinfo DOMAIN each second over several rounds",),
        numbers={"percent": percent},
    )


def _falls_of_percent(log: MigrationLog) -> tuple[str, ...]:
    """The sentence on a percentage that fell back: only a sync that finds pages dirty again lowers it."""
    told = log.percent[~np.isnan(log.percent)]
    falls = np.flatnonzero(np.diff(told) < 0)
    if not len(falls):
        return ()
    times = "once" if len(falls) == 1 else f"{len(falls)} times"
    lowest = f"{told[falls[-1] + 1]:.0f} %"
    again = "after each pass over the memory QEMU found pages that the guest had dirtied again"
    return (f"The percentage fell back {times}, the last time to {lowest}: {again}.",)


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
