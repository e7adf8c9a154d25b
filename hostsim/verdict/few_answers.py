"""Verdicts from logs in which no round shows: of a single answer, or of answers too far apart.

A single answer has the state of the migration and the two rates that decide its course. Answers too far apart are judged by
how remaining and the two rates stand after several syncs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.verdict.commands import command_for, more_time_for
from hostsim.verdict.course import last, rate, running
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import REASONS, after_words, sent_words
from hostsim.verdict.forecast import MARGIN
from hostsim.verdict.model import Confidence, Outcome, Remedy, Verdict
from hostsim.verdict.remedies import LIMIT_MAX_S, always_end, always_end_within, throttled_in_vain
from hostsim.verdict.words import bandwidth_words, bytes_words, rounded_up, seconds_words, times_words

CLEARLY = 0.9
"""With a dirty rate below this share of the bandwidth each round finds less than the round before (assumed)."""
NEARLY = 0.95
ENDED = ("completed", "failed")
AGAIN = ("poll again each second: whether remaining falls from sync to sync takes several answers",)


def nothing_sent(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict "too early to tell" where the last counters of ``log``, of RAM and of disks, are still 0.

    evidence: of ``log``. None for a migration that ended or was cancelled, and once a byte was sent.
    """
    if evidence.status in (*ENDED, "cancelled") or last(log.transferred_bytes) != 0 or last(log.disk_transferred_bytes):
        return None
    return Verdict(
        outcome="too early to tell",
        headline=f"too early to tell: {evidence.status}{after_words(evidence)}, and nothing has been sent yet",
        measure_next=("poll again each second, over several rounds",),
        numbers={"sent_bytes": 0.0},
    )


def one_answer(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict where a single answer of ``log`` has figures of RAM.

    evidence: of ``log``. None for a migration that ended, and with more or fewer such answers.
    """
    at = [i for i, status in enumerate(log.status) if status not in ENDED and not np.isnan(log.remaining_bytes[i])]
    if len(at) != 1 or evidence.remaining_bytes is None or evidence.status in ENDED:
        return None
    syncs = last(log.dirty_sync_count)
    speed = evidence.bandwidth_bytes_per_s or _mean_speed(log, evidence)
    if syncs is None or syncs <= 1:
        return _in_first_pass(log, evidence, speed, syncs)
    return _later(log, evidence, speed)


def _mean_speed(log: MigrationLog, evidence: Evidence) -> float:
    elapsed = float(log.t_s[-1])
    return (evidence.sent_bytes or 0.0) / elapsed if elapsed > 0 else 0.0


def _later(log: MigrationLog, evidence: Evidence, speed: float) -> Verdict:
    """The verdict after the first pass: syncs found at least as many pages dirty again as remain."""
    left, ram = evidence.remaining_bytes or 0.0, evidence.ram_bytes
    dirty = (last(log.dirty_pages_rate_per_s) or 0.0) * evidence.page_bytes
    threshold = speed * evidence.limit_s
    outcome = _outcome(left, dirty, speed, threshold)
    stop_s = left / speed if speed else None
    total = f" of {bytes_words(ram)}" if ram else ""
    return Verdict(
        outcome=outcome,
        headline=f"{_headline(outcome)}: one answer, {evidence.status}{after_words(evidence)} with "
        f"{bytes_words(left)} left{sent_words(evidence)}",
        findings=(
            (f"The first pass is over (dirty-sync-count {last(log.dirty_sync_count):.0f}): the last sync found at least "
            f"{bytes_words(left)}{total} dirty again."),
            _rates(dirty, speed, threshold, stop_s, evidence),
        ),
        remedies=remedies_at(evidence, outcome, left, dirty, speed),
        confidence=Confidence("low", "one answer does not show how remaining changes"),
        measure_next=AGAIN,
        numbers={
            "remaining_bytes": left, "dirty_bytes_per_s": dirty, "bandwidth_bytes_per_s": speed,
            "threshold_bytes": threshold,
            **({"stop_now_s": stop_s} if stop_s else {}), **({"bandwidth_factor": dirty / speed} if speed else {}),
        },
    )  # fmt: skip


def _outcome(left: float, dirty: float, speed: float, threshold: float) -> Outcome:
    if not speed:
        return "undecided"
    if left <= threshold or 0 < dirty < CLEARLY * speed:
        return "would converge"
    return "not converging" if dirty >= speed else "undecided"


def _headline(outcome: Outcome) -> str:
    return {
        "not converging": "not converging, if the guest goes on like this",
        "would converge": "would converge, if the guest goes on like this",
    }.get(outcome, "undecided")


def _rates(dirty: float, speed: float, threshold: float, stop_s: float | None, evidence: Evidence) -> str:
    if not speed:
        return "Rates: the answer has no bandwidth."
    fits = f"{bytes_words(threshold)} fit the downtime limit of {seconds_words(evidence.limit_s)}"
    stop = f"A stop now would take {seconds_words(stop_s or 0.0)}; {fits}"
    if not dirty:
        return f"Rates: {bandwidth_words(speed)} is sent; this answer does not show the dirty rate. {stop}."
    side = "above" if dirty > speed else "below" if dirty < speed else "as much as"
    consequence = (
        "It will not end by itself unless the guest writes fewer pages."
        if dirty >= speed
        else "Each iteration finds less than the one before."
        if dirty < CLEARLY * speed
        else "That is too close to tell."
    )
    return (
        f"Rates: the guest dirties {bytes_words(dirty)}/s ({bandwidth_words(dirty)}), {side} the {bytes_words(speed)}/s "
        f"({bandwidth_words(speed)}) sent. {consequence} {stop}."
    )


def remedies_at(evidence: Evidence, outcome: Outcome, left: float, dirty: float, speed: float) -> tuple[Remedy, ...]:
    """The changes that follow from the figures of one answer.

    left: bytes remaining.
    dirty: bytes a second that the guest dirties.
    speed: bytes a second that QEMU sends.
    """
    pages = left / evidence.page_bytes
    if outcome == "would converge" and speed:
        share = min(dirty / speed, CLEARLY)
        until = rounded_up((evidence.elapsed_s + left / speed / (1 - share)) * MARGIN)
        return more_time_for(evidence, until), *always_end(evidence, pages)
    if not speed:
        return always_end(evidence, pages)
    return (*_limit(evidence, left / speed), _bandwidth(evidence, dirty, speed), *always_end(evidence, pages),
            _throttle(evidence, dirty, speed))  # fmt: skip


def _limit(evidence: Evidence, stop_s: float) -> tuple[Remedy, ...]:
    value_s = rounded_up(stop_s * MARGIN)
    if value_s > LIMIT_MAX_S:
        return ()
    now = f"now {seconds_words(evidence.limit_s)}"
    text = f"downtime limit of at least {seconds_words(value_s)} ({now}), if a later sync finds as much"
    command = command_for(evidence.profile, "downtime_limit", value_s * 1000)
    return (Remedy("downtime_limit", text, value_s * 1000, "ms", command, certain=False),)


def _bandwidth(evidence: Evidence, dirty: float, speed: float) -> Remedy:
    if not dirty:
        return Remedy("bandwidth", f"bandwidth: more than {bandwidth_words(speed)}; one answer does not show how much more")
    value = rounded_up(max(dirty, speed) * MARGIN * 8) / 8
    text = (
        f"bandwidth of at least {bandwidth_words(value)}, {times_words(value / speed)} the present bandwidth: then each "
        "iteration finds less than the one before"
    )
    command = command_for(evidence.profile, "bandwidth", value) if evidence.bottleneck in (None, "max-bandwidth") else ""
    return Remedy("bandwidth", text, value, "bytes/s", command, certain=False)


def _throttle(evidence: Evidence, dirty: float, speed: float) -> Remedy:
    if evidence.no_throttle:
        return Remedy("auto_converge", f"auto-converge: {evidence.no_throttle}", helps=False)
    if evidence.throttle_percent:
        return throttled_in_vain(evidence)
    needed = 100 * (1 - CLEARLY * speed / dirty) if dirty > CLEARLY * speed else 0.0
    about = f" to about {rounded_up(needed):.0f} %" if needed else ""
    text = (
        f"throttling (auto-converge){about}: slows a guest whose writes take all its CPU time; a log does not show that"
    )
    return Remedy("auto_converge", text, certain=False)


def _in_first_pass(log: MigrationLog, evidence: Evidence, speed: float, syncs: float | None) -> Verdict | None:
    if syncs is None:
        return None
    return first_pass_verdict(log, evidence, speed)


def first_pass(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict where ``log`` shows no sync after the first pass: the end of that pass, by how fast remaining falls.

    evidence: of ``log``. None for a migration that ended, with a round or a second sync, and without a pace.
    """
    syncs = last(log.dirty_sync_count)
    if (
        evidence.rounds
        or evidence.status in ENDED
        or syncs is None
        or syncs > 1
        or evidence.remaining_bytes is None
        or evidence.samples < 1
    ):
        return None
    return first_pass_verdict(log, evidence, evidence.bandwidth_bytes_per_s or 0.0)


def first_pass_verdict(log: MigrationLog, evidence: Evidence, speed: float) -> Verdict | None:
    """The verdict within the first pass: zero pages cost a byte or two each, so pages a second give its end, not bytes.

    evidence: of ``log``. speed: bytes/s that take the place of the pages where the log does not count them.
    None where neither gives a pace.
    """
    left, ram = evidence.remaining_bytes or 0.0, evidence.ram_bytes
    passed = _pass_bytes_per_s(log, evidence) or speed
    if not passed:
        return None
    left_s = left / passed
    done = f"{100 * (1 - left / ram):.0f} % of {bytes_words(ram)} was sent once, " if ram else ""
    return Verdict(
        outcome="too early to tell",
        headline=f"too early to tell: {evidence.status}{after_words(evidence)}, within the first pass "
        f"with {bytes_words(left)} left",
        findings=(
            (f"{done}{_pages(log, evidence, passed)}: at that rate QEMU sends the {bytes_words(left)} left in about "
            f"{seconds_words(left_s)}, and counts dirtied pages only then."),
        ),
        remedies=always_end_within(evidence, left_s),
        confidence=Confidence("low", "the log shows no bitmap sync after the first pass"),
        measure_next=("poll query-migrate each second over several rounds",),
        numbers={
            "remaining_bytes": left, "first_pass_left_s": left_s, "pass_bytes_per_s": passed,
            "pages_per_s": passed / evidence.page_bytes,
        },
    )  # fmt: skip


def _pass_bytes_per_s(log: MigrationLog, evidence: Evidence) -> float:
    """Memory passed over a second: by the answers, by QEMU's pages-per-second, else since the start."""
    by = rate(log, log.remaining_bytes, falls=True)
    if by:
        return by.per_s
    pages = last(log.pages_per_second)
    if pages:
        return pages * evidence.page_bytes
    elapsed, ram = float(log.t_s[-1]), evidence.ram_bytes
    if (~np.isnan(log.remaining_bytes)).sum() > 1 or not ram or elapsed <= 0:
        return 0.0
    return max(0.0, ram - (evidence.remaining_bytes or 0.0)) / elapsed


def _pages(log: MigrationLog, evidence: Evidence, passed: float) -> str:
    zero, normal = last(log.zero_pages), last(log.normal_pages)
    share = zero / (zero + normal) if zero and normal is not None else 0.0
    kind = ", nearly all of them zero" if share > NEARLY else f", {100 * share:.0f} % of them zero" if share else ""
    return f"{passed / evidence.page_bytes:.0f} pages a second{kind}"


UNDECIDED: tuple[Outcome, ...] = ("too early to tell", "cannot tell", "undecided")
SYNCS_MIN = 2
MANY_SYNCS = 3
"""If as much remains after so many syncs, remaining does not decline, even if the log has no dirty rate (assumed)."""
KEEPS = 0.9
"""Remaining over its earlier value, or dirty rate over bandwidth, of at least this is no decline (assumed)."""
FAR = 2.0
"""If so many times the bytes that fit the limit remain, an inexact limit does not matter (assumed)."""


def stays_where_it_is(log: MigrationLog, evidence: Evidence, verdict: Verdict) -> Verdict | None:
    """The verdict "not converging" where the rounds decided nothing, but after several syncs as much is left as before.

    evidence: of ``log``; answers count from the last change of the bandwidth on. verdict: the one by the rounds.
    None where ``verdict`` is decided, remaining falls or comes near the threshold, or too few syncs were seen.
    """
    changed_s = evidence.speeds[-1].since_s if evidence.speeds else 0.0
    at = [i for i in _far_later(log) if log.t_s[i] >= changed_s]
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


def _far_later(log: MigrationLog) -> list[int]:
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
