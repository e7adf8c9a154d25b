"""From evidence to verdict: ended or not; if not, whether it ever would, how sure that is, and the next measurements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hostsim.theory.floor import floor_pages
from hostsim.verdict.commands import poll_for
from hostsim.verdict.ended import completed, failed
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import after_words, found_numbers, where_it_stands, why_not, why_still
from hostsim.verdict.forecast import MARGIN, STUCK_ROUNDS, Forecast, forecast, span, speed_under, time_left_s
from hostsim.verdict.interrupted import held_by_the_network, held_in_switchover, with_interruptions
from hostsim.verdict.logging_cost import with_logging_cost
from hostsim.verdict.mechanism import mechanisms
from hostsim.verdict.model import Confidence, Outcome, Reason, Remedy, Verdict
from hostsim.verdict.page_tables import with_page_tables
from hostsim.verdict.remedies import always_end, more_time, remedies_for
from hostsim.verdict.sender import with_sender, with_window
from hostsim.verdict.throttled import with_throttle
from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

LINES = (with_interruptions, with_throttle, with_logging_cost, with_page_tables, with_sender, with_window)
"""Each adds its lines to a verdict, or returns the verdict as it is; the lines of mechanisms come behind."""
SLOPE_SHARE = 0.75
"""Remaining that settles above this share of the filled memory is no floor: the guest outruns the link."""
GROWTH = 1.05
NEAR = 1.5
"""A floor up to this many times the threshold: the migration creeps along the threshold."""


def diagnose(evidence: Evidence) -> Verdict:
    """The verdict on one migration; "cannot tell", with the reason, where the evidence does not suffice."""
    for judge in (
        *(judge for one in mechanisms() for judge in one.ended),
        failed,
        completed,
        held_in_switchover,
        held_by_the_network,
        _no_evidence,
        *(judge for one in mechanisms() for judge in one.running),
        _first_pass_only,
        _no_sync_seen,
        _judged,
    ):
        verdict = judge(evidence)
        if verdict is not None:
            told = verdict if verdict.assumptions else replace(verdict, assumptions=_assumed(evidence, verdict))
            return _with_lines(_with_scenario(told, evidence), evidence)
    raise AssertionError("the last judge always answers")


def _with_lines(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with the lines that ``LINES`` and each mechanism add for this migration."""
    for line_of in (*LINES, *(one.line for one in mechanisms() if one.line is not None)):
        verdict = line_of(verdict, evidence)
    return verdict


def _with_scenario(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with the warnings of the scenario and its assumptions."""
    warnings = (*evidence.warnings, *_of_advice(verdict, evidence))
    return replace(verdict, warnings=warnings, rests_on=evidence.assumptions)


def _of_advice(verdict: Verdict, evidence: Evidence) -> tuple[str, ...]:
    """The warning if one stream may not carry the advised bandwidth; none if the run itself sent faster than is sure."""
    advised, sure = verdict.remedy("bandwidth"), evidence.surely_sent_bytes_per_s
    if advised is None or not advised.helps or not sure or (advised.value or 0.0) <= sure:
        return ()
    if (evidence.bandwidth_bytes_per_s or 0.0) > sure:
        return ()
    who = "the channels are" if evidence.channels else "one migration thread is"
    most = "they carry" if evidence.channels else "one stream carries"
    text = (
        f"{who} certain to send only {bandwidth_words(sure)} (slow end of host.page_send_ns): the "
        f"advised bandwidth of {bandwidth_words(advised.value or 0.0)} may be more than {most}"
    )
    return (text,)


def _assumed(evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
    return tuple(assumptions_of(evidence)) if verdict.remedies else ()


def _no_evidence(evidence: Evidence) -> Verdict | None:
    if evidence.source == "run" and evidence.samples <= 1 and evidence.status == "active":
        had = seconds_words(evidence.elapsed_s)
        headline = f"too early to tell: the run ended {had} after the migration began, within the first pass"
        return Verdict("too early to tell", headline, measure_next=("a longer run, by a higher duration",))
    if evidence.samples == 0:
        why = f'no progress in the log: status "{evidence.status}" and no figures of RAM'
    elif evidence.samples == 1:
        why = "one answer does not show how remaining changes"
    elif not evidence.bandwidth_bytes_per_s and not evidence.elapsed_s:
        why = "the log has no times, so the bandwidth is unknown; run date before each answer"
    elif not evidence.bandwidth_bytes_per_s:
        why = "no bytes were sent between the answers, so the bandwidth is unknown"
    elif evidence.too_short:
        why = evidence.too_short
    else:
        return None
    poll = f"poll {poll_for(evidence.profile)} each second, several rounds"
    return Verdict("cannot tell", f"cannot tell: {why}", measure_next=(poll,))


def _first_pass_only(evidence: Evidence) -> Verdict | None:
    if evidence.curve is not None or evidence.rounds or (evidence.sync_count or 0) > 1:
        return None
    if evidence.sync_count is None:
        why = "the log has no dirty-sync-count (libvirt: Iteration), so no round ends in it"
        return Verdict("cannot tell", f"cannot tell: {why}")
    left_s = (evidence.remaining_bytes or 0.0) / (evidence.bandwidth_bytes_per_s or 1.0)
    ram = evidence.ram_bytes or 0.0
    done = 1 - (evidence.remaining_bytes or 0.0) / ram if ram else 0.0
    return Verdict(
        outcome="too early to tell",
        headline=(f"too early to tell: {evidence.status} after {seconds_words(evidence.elapsed_s)}, within the first pass"),
        findings=(
            (
                f"{100 * done:.0f} % of {bytes_words(ram)} was sent once; QEMU does not count the pages "
                "that the guest dirties before that pass ends, "
                f"at most {seconds_words(left_s)} later at this bandwidth."
            ),
        ),
        remedies=always_end(evidence, (evidence.remaining_bytes or 0.0) / evidence.page_bytes),
        confidence=Confidence("low", "the log shows no bitmap sync after the first pass"),
        measure_next=tuple(measure_next(evidence, None)),
        numbers={"remaining_bytes": evidence.remaining_bytes or 0.0, "first_pass_left_s": left_s},
    )


def _no_sync_seen(evidence: Evidence) -> Verdict | None:
    """The log begins after the first pass and ends before the next sync: one round, and that not whole."""
    if evidence.curve is not None or [r.syncs > 1 for r in evidence.rounds] != [True]:
        return None
    mean = evidence.rounds[0]
    found = bytes_words(mean.newly_dirty_pages * evidence.page_bytes)
    left = max(mean.remaining_pages, (evidence.remaining_bytes or 0.0) / evidence.page_bytes)
    return Verdict(
        outcome="too early to tell",
        headline=(
            f"too early to tell: {evidence.status}{after_words(evidence)}, {_not_seen(evidence, mean.syncs)}"
        ),
        findings=(
            (
                f"Before the log begins {mean.syncs} syncs, one every {seconds_words(mean.duration_s)} or less, found "
                f"{found} dirty again each, on average; the log does not show whether remaining falls from sync to sync."
            ),
        ),
        remedies=always_end(evidence, left),
        confidence=Confidence("low", "the log shows the end of no round"),
        measure_next=tuple(measure_next(evidence, None)),
        numbers={"found_bytes": mean.newly_dirty_pages * evidence.page_bytes},
    )


def _not_seen(evidence: Evidence, before: int) -> str:
    later = int(evidence.sync_count or 0) - before - 1
    if later <= 0:
        return "but no bitmap sync between the first answer and the last"
    return f"with {later} bitmap syncs between the answers, too few to see how remaining changes from one to the next"


def _judged(evidence: Evidence) -> Verdict:
    found = forecast(evidence)
    if found is None:
        return Verdict("cannot tell", "cannot tell: no iteration found dirty pages, so the dirty rate is unknown")
    return _verdict(evidence, found, _outcome(evidence, found))


def stuck_after_all(evidence: Evidence) -> Verdict:
    """The verdict on a migration that seems to be on its way to its end and, given the time, does not get there."""
    found = forecast(evidence)
    assert found is not None, "a verdict that asks for more time rests on a forecast"
    return _with_lines(_verdict(evidence, found, "not converging", "near threshold"), evidence)


def _verdict(evidence: Evidence, found: Forecast, outcome: Outcome, reason: Reason | None = None) -> Verdict:
    reason = reason or _reason(evidence, found)
    still = outcome == "would converge"
    return Verdict(
        outcome=outcome,
        reason=None if still else reason,
        headline=where_it_stands(evidence, outcome, reason),
        findings=why_still(evidence, found) if still else why_not(evidence, found, reason),
        remedies=_changes(evidence, found, outcome),
        confidence=confidence_of(evidence, found),
        assumptions=tuple(assumptions_of(evidence)),
        measure_next=tuple(measure_next(evidence, found)),
        numbers=found_numbers(evidence, found),
    )


def _changes(evidence: Evidence, found: Forecast, outcome: Outcome) -> tuple[Remedy, ...]:
    if outcome == "would converge" and evidence.threshold_pages >= found.floor[1]:
        left = max(found.settle[1], (evidence.remaining_bytes or 0.0) / evidence.page_bytes)
        return (more_time(evidence, found), *always_end(evidence, left))
    return remedies_for(evidence, found)


def _outcome(evidence: Evidence, found: Forecast) -> Outcome:
    threshold = evidence.threshold_pages
    marginal = threshold < MARGIN * found.floor[1]
    if found.stuck and (evidence.source == "log" or marginal):
        return "not converging"
    if threshold >= found.floor[1] and time_left_s(found, evidence) is not None:
        return "would converge"
    if _throttle_is_on_its_way(evidence, found):
        return "would converge"
    if evidence.source == "run":
        return "not converging"
    return "not converging" if threshold < found.floor[0] else "undecided"


def _throttle_is_on_its_way(evidence: Evidence, found: Forecast) -> bool:
    """Auto-converge has steps left, and at its maximum the floor is within the threshold."""
    if not evidence.auto_converge or evidence.throttle_percent >= evidence.max_cpu_throttle:
        return False
    speed = speed_under(evidence, evidence.max_cpu_throttle, found.cpu_bound)
    sent = evidence.sent_pages_per_s
    return speed < found.speed and span(found.slowed(speed), lambda c: floor_pages(c, sent))[1] <= evidence.threshold_pages


def _reason(evidence: Evidence, found: Forecast) -> Reason:
    filled = evidence.filled_pages or evidence.ram_pages or float("inf")
    if found.settle[0] >= SLOPE_SHARE * filled or _grows(evidence, found):
        return "slope"
    return "near threshold" if found.floor[1] <= NEAR * evidence.threshold_pages else "floor"


def _grows(evidence: Evidence, found: Forecast) -> bool:
    """Remaining still grows from round to round: the working set has not been seen to end."""
    later = [r.remaining_pages for r in evidence.rounds if not r.is_past]
    growing = len(later) >= 3 and all(b > GROWTH * a for a, b in zip(later[-3:], later[-2:], strict=False))
    return growing and (found.fit is not None or found.settle[0] > 2 * later[-1])


WIDE = 1.3
"""A remedy's range wider than this is worth a measurement."""
FAR = 2.0
"""A floor this many times the threshold decides the outcome for any limit that the log allows."""


def confidence_of(evidence: Evidence, found: Forecast) -> Confidence:
    """Confidence that the migration does, or does not, converge.

    evidence: its source, its rounds after the first pass and the origin of its downtime limit decide.
    found: the forecast from ``evidence``; a migration that is stuck far above its threshold is stuck for any limit.
    """
    if evidence.source == "run":
        return Confidence("high", "the simulated guest is known exactly")
    later = len(evidence.rounds_now)
    unsure = evidence.downtime_limit_from == "assumed" or evidence.limit_is_contradicted
    shaky = unsure and found.floor[0] < FAR * evidence.threshold_pages
    if found.stuck and not shaky:
        return Confidence("high", f"{later} rounds after the first pass without a decline")
    if any(r.syncs > 1 for r in evidence.rounds[1:]) and not found.stuck:
        return Confidence(
            "low", f"answers too far apart: up to {max(r.syncs for r in evidence.rounds[1:])} syncs between two"
        )
    if later >= 2:
        return Confidence("medium", f"{later} rounds after the first pass" + (", limit uncertain" if shaky else ""))
    if len(evidence.rounds) > 1 and evidence.speeds:
        return Confidence("low", f"{later or 'no'} rounds since the bandwidth changed")
    return Confidence("low", "only the first pass" if later == 0 else "only one round after the first pass")


def assumptions_of(evidence: Evidence) -> Iterator[str]:
    """A sentence for each value that the log lacks: assumed, or inferred from other figures."""
    limit = seconds_words(evidence.limit_s)
    origin = {
        "assumed": f"downtime limit not told, {limit} assumed (default of the {evidence.profile} profile)",
        "behaviour": f"downtime limit not told, about {limit} by when QEMU synced",
        "log": f"downtime limit {limit} read from the log's first expected-downtime",
    }
    if evidence.downtime_limit_from in origin:
        yield origin[evidence.downtime_limit_from]
    if evidence.limit_bounds_ms and evidence.limit_is_contradicted:
        low, high = (seconds_words(ms / 1000) for ms in evidence.limit_bounds_ms)
        yield f"the log contradicts a limit of {limit}: QEMU synced as with {low} to {high}"


def measure_next(evidence: Evidence, found: Forecast | None) -> Iterator[str]:
    """The measurements that would make the verdict surer or its values tighter, a line each; none for a simulated run.

    evidence: its rounds, and the origins of its limit and its bandwidth, decide.
    found: the forecast from ``evidence``; without a forecast, as with a wide one, the dirty rate is to be measured.
    """
    if evidence.source == "run":
        return
    if len(evidence.rounds[1:]) < STUCK_ROUNDS:
        yield "poll query-migrate each second over " + _rounds_wanted(evidence)
    if found is None or _is_wide(found):
        yield "pages dirtied in 1 s (calc-dirty-rate calc-time=1 mode=dirty-bitmap): smaller values may suffice"
    if evidence.downtime_limit_from in ("assumed", "behaviour") or evidence.limit_is_contradicted:
        yield "downtime-limit (query-migrate-parameters)"
    if evidence.bottleneck is None and evidence.bandwidth_is_steady:
        speed = bandwidth_words(evidence.bandwidth_bytes_per_s or 0.0)
        yield f"whether max-bandwidth or the link limits it to {speed}"


def _rounds_wanted(evidence: Evidence) -> str:
    last = evidence.rounds[-1].duration_s if evidence.rounds else 0.0
    wanted = max(2.0, last) * STUCK_ROUNDS
    return f"{STUCK_ROUNDS} rounds" + (f" (about {seconds_words(wanted)})" if last else "")


def _is_wide(found: Forecast) -> bool:
    return found.fit is not None and (not found.fit.rate_is_bounded or found.floor[1] > WIDE * max(found.floor[0], 1.0))
