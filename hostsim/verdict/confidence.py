"""Confidence in a verdict from a log, its assumptions, and the measurements that would reveal more."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.verdict.evidence import Evidence
from hostsim.verdict.forecast import STUCK_ROUNDS, Forecast
from hostsim.verdict.model import Confidence
from hostsim.verdict.words import bandwidth_words, seconds_words

WIDE = 1.3
"""A remedy's range wider than this is worth a measurement."""
FAR = 2.0
"""A floor this many times the threshold decides the outcome for any limit that the log allows."""


def confidence_of(evidence: Evidence, found: Forecast) -> Confidence:
    """Confidence that the migration does, or does not, converge."""
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
    """The measurements that would make the verdict surer or its values tighter."""
    if evidence.source == "run":
        return
    if len(evidence.rounds[1:]) < STUCK_ROUNDS:
        yield "poll query-migrate each second over " + _rounds_wanted(evidence)
    if found is None or _is_wide(found):
        yield "pages dirtied in 1 s (calc-dirty-rate calc-time=1 mode=dirty-bitmap): smaller values may suffice"
    if evidence.downtime_limit_from in ("assumed", "behaviour") or evidence.limit_is_contradicted:
        yield "downtime-limit (query-migrate-parameters)"
    if evidence.brake is None and evidence.bandwidth_is_steady:
        speed = bandwidth_words(evidence.bandwidth_bytes_per_s or 0.0)
        yield f"whether max-bandwidth or the link limits it to {speed}"


def _rounds_wanted(evidence: Evidence) -> str:
    last = evidence.rounds[-1].duration_s if evidence.rounds else 0.0
    wanted = max(2.0, last) * STUCK_ROUNDS
    return f"{STUCK_ROUNDS} rounds" + (f" (about {seconds_words(wanted)})" if last else "")


def _is_wide(found: Forecast) -> bool:
    return found.fit is not None and (not found.fit.rate_is_bounded or found.floor[1] > WIDE * max(found.floor[0], 1.0))
