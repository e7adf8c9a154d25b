"""The lines between headline and remedies: bytes sent, pages dirtied, and the reason why remaining does not fall."""

from __future__ import annotations

from itertools import pairwise

from hostsim.verdict.evidence import Evidence, Round
from hostsim.verdict.forecast import (
    Forecast,
    Range,
    bandwidth_needed_bytes_per_s,
    limit_needed_s,
    time_left_s,
)
from hostsim.verdict.model import Outcome, Reason
from hostsim.verdict.words import bandwidth_words, bytes_words, pages_words, seconds_words, times_words

LAST_ROUNDS = 5
REASONS = {
    "floor": "remaining stops falling", "slope": "memory is dirtied faster than it is sent",
    "near threshold": "remaining stays just above the threshold",
}  # fmt: skip
OPEN = 0.01
"""A lower bound below this share of the greatest value counts as none (assumed)."""
FLOOR_SEEN = 0.9
"""Remaining of a run that fell below this share of the computed floor refutes the floor (assumed)."""


def where_it_stands(evidence: Evidence, outcome: Outcome, reason: Reason) -> str:
    """The headline of a migration that has not ended: the outcome, its status, its bytes remaining and its bytes sent.

    evidence: of the migration. reason: key of REASONS; printed only if ``outcome`` is "not converging".
    """
    words = {"undecided": "undecided", "would converge": "would converge given more time"}.get(
        outcome, f"not converging ({REASONS.get(reason, reason)})"
    )
    stopped = {"active": "still active", "cancelling": "cancelled"}.get(evidence.status, evidence.status)
    left = f" with {bytes_words(evidence.remaining_bytes)} remaining" if evidence.remaining_bytes is not None else ""
    return f"{words}: {stopped}{after_words(evidence)}{left}{sent_words(evidence)}"


def after_words(evidence: Evidence) -> str:
    """Half a sentence: after 20 s; nothing where the time is not known."""
    return f" after {seconds_words(evidence.elapsed_s)}" if evidence.elapsed_s else ""


def sent_words(evidence: Evidence) -> str:
    """Half a sentence: ; 1.8 GB sent for 1.07 GB of RAM (1.7x), or nothing if it is not known."""
    if not evidence.sent_bytes or not evidence.ram_bytes:
        return ""
    ratio = times_words(evidence.sent_bytes / evidence.ram_bytes)
    return f"; {bytes_words(evidence.sent_bytes)} sent for {bytes_words(evidence.ram_bytes)} of RAM ({ratio})"


def why_not(evidence: Evidence, found: Forecast, reason: Reason) -> tuple[str, ...]:
    """Two findings: the reason why the migration of ``evidence`` does not end, and the floor of ``found``.

    reason: key of REASONS, which chooses the sentence.
    """
    return _why(evidence, found, reason), _floor(evidence, found)


def why_still(evidence: Evidence, found: Forecast) -> tuple[str, ...]:
    """The findings on a migration that would end: the remaining that ``found`` forecasts, and the time until then.

    evidence: of the migration. Where pre-copy ends only under more throttling than now, the findings name the throttle.
    """
    floor, left = found.floor[1] * evidence.page_bytes, time_left_s(found, evidence)
    if left is None:
        why = (
            f"auto-converge has throttled the guest by {evidence.throttle_percent:.0f} % so far and goes on; at "
            f"{evidence.max_cpu_throttle:.0f} % the guest writes slowly enough"
        )
        return (f"Why: {why}.", _floor(evidence, found))
    goes = f"it can fall to {bytes_words(floor)}" if floor >= 1 else "it can fall to nothing"
    about = f"; that takes about {seconds_words(left)} more" if left else ""
    return (f"Why: remaining still falls: {goes}, and QEMU stops the guest below {_threshold_words(evidence)}{about}.",)


def found_numbers(evidence: Evidence, found: Forecast) -> dict[str, float]:
    """The figures behind the sentences, by name, with the unit last in each name.

    evidence: bandwidth, limit and bytes sent. found: floor, pages to settle at, and the values needed, without margin;
    "least" marks the lower end of a range, the other figure is its upper end.
    """
    limit, bandwidth = limit_needed_s(found, evidence), bandwidth_needed_bytes_per_s(found, evidence)
    page = evidence.page_bytes
    return {
        "threshold_bytes": evidence.threshold_pages * page,
        "floor_bytes": found.floor[1] * page,
        "floor_least_bytes": found.floor[0] * page,
        "settle_bytes": found.settle[1] * page,
        "settle_least_bytes": found.settle[0] * page,
        "bandwidth_bytes_per_s": evidence.bandwidth_bytes_per_s or 0.0,
        "downtime_limit_ms": evidence.limit_s * 1000,
        "downtime_limit_needed_ms": limit[1] * 1000,
        "downtime_limit_needed_least_ms": limit[0] * 1000,
        "bandwidth_needed_bytes_per_s": bandwidth[1],
        "bandwidth_needed_least_bytes_per_s": bandwidth[0],
        **({} if evidence.sent_bytes is None else {"sent_bytes": evidence.sent_bytes}),
    }


def _why(evidence: Evidence, found: Forecast, reason: Reason) -> str:
    rounds = (evidence.rounds_now or evidence.rounds[1:])[-LAST_ROUNDS:] or evidence.rounds
    per_round = (
        f"{_per_round(evidence, rounds)}, out of a working set of {_working_set_words(evidence, found)}" if rounds else ""
    )
    if reason == "slope":
        outcome = "the guest dirties nearly all of it again before it is sent"
    elif reason == "near threshold":
        outcome = "remaining stays just above the point where QEMU would stop the guest"
    else:
        outcome = f"{_settled_words(evidence, found, rounds)} after every iteration"
    return f"Why: {per_round or 'by the rate at which the guest dirties memory'}: {outcome}."


def _per_round(evidence: Evidence, rounds: tuple[Round, ...]) -> str:
    seconds = sum(r.duration_s for r in rounds) / len(rounds)
    pages = sum(r.newly_dirty_pages for r in rounds) / len(rounds)
    sent = min(evidence.sent_pages_per_s * seconds, _most_to_send(evidence, rounds))
    return (
        f"an iteration of {seconds_words(seconds)} sends {bytes_words(sent * evidence.page_bytes)} at "
        f"{bandwidth_words(evidence.bandwidth_bytes_per_s or 0.0)}, and meanwhile the guest dirties "
        f"{bytes_words(pages * evidence.page_bytes)} ({pages_words(pages)}) again"
    )


def _most_to_send(evidence: Evidence, rounds: tuple[Round, ...]) -> float:
    """Pages that ``rounds`` had to send at their begin, the mean; a round that waits for its sync sends no more.

    Without an end if no round before any of them is known.
    """
    before = [first.remaining_pages for first, then in pairwise(evidence.rounds) if then in rounds]
    return sum(before) / len(before) if before else float("inf")


def _settled_words(evidence: Evidence, found: Forecast, rounds: tuple[Round, ...]) -> str:
    """Where remaining settles, in words: as the log shows it, else as the forecast expects it."""
    if not found.stuck and _is_open(found.settle):
        return (
            f"remaining may fall to nothing or come back to as much as {bytes_words(found.settle[1] * evidence.page_bytes)}"
        )
    if not found.stuck:
        return f"remaining comes back to {_range_words(found.settle, evidence)}"
    seen = sum(r.remaining_pages for r in rounds) / len(rounds)
    return f"remaining comes back to about {bytes_words(seen * evidence.page_bytes)}"


def _working_set_words(evidence: Evidence, found: Forecast) -> str:
    if evidence.working_set_pages is not None:
        return bytes_words(evidence.working_set_pages * evidence.page_bytes)
    if found.fit is None:
        return _range_words(found.settle, evidence)
    low, high = found.fit.working_set_pages
    least = bytes_words(low * evidence.page_bytes)
    return f"about {least}" if high <= 1.1 * low else f"at least {least}"


def _floor(evidence: Evidence, found: Forecast) -> str:
    least, most = (bytes_words(pages * evidence.page_bytes) for pages in found.floor)
    floor = f"remaining stays above about {least}"
    if found.floor[1] > 1.1 * found.floor[0]:
        floor = f"remaining stays above {least}, and maybe above {most}"
    later = [r.remaining_pages for r in evidence.rounds[1:]]
    # A guest that a mechanism slows down (dirty-limit, cpu-throttle) goes below the floor of its full speed.
    is_wrong = bool(later) and (found.floor[1] <= evidence.threshold_pages or min(later) < FLOOR_SEEN * found.floor[0])
    if evidence.source == "run" and is_wrong and min(later) < evidence.threshold_pages:
        low = bytes_words(min(later) * evidence.page_bytes)
        return (
            f"Floor: remaining fell to {low} after an iteration, when the bandwidth of the last window, and with it the "
            f"threshold, was low; at the end QEMU stops the guest below {_threshold_words(evidence)}."
        )
    if evidence.source == "run" and is_wrong:
        floor = f"remaining has not fallen below {bytes_words(min(later) * evidence.page_bytes)} after an iteration"
    if _is_open(found.floor):
        floor = f"remaining may fall to nothing or stay above as much as {bytes_words(found.floor[1] * evidence.page_bytes)}"
    return f"Floor: at this bandwidth {floor}; QEMU stops the guest only below {_threshold_words(evidence)}."


def _threshold_words(evidence: Evidence) -> str:
    speed = bandwidth_words(evidence.switchover_bandwidth_bytes_per_s or evidence.bandwidth_bytes_per_s or 0.0)
    threshold = bytes_words(evidence.threshold_pages * evidence.page_bytes)
    return f"{threshold}, the amount that {speed} sends within the downtime limit of {seconds_words(evidence.limit_s)}"


def _is_open(pages: Range) -> bool:
    """Whether the evidence leaves ``pages`` without a useful lower bound."""
    return pages[0] < OPEN * pages[1]


def _range_words(pages: Range, evidence: Evidence) -> str:
    low, high = (bytes_words(p * evidence.page_bytes) for p in pages)
    return f"between {low} and {high}" if pages[1] > 1.1 * pages[0] else f"about {high}"
