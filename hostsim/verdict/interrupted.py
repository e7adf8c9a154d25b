"""Sentences on a migration that was interrupted: by its link, its manager or its operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import sent_words
from hostsim.verdict.forecast import forecast
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, count_words, seconds_words

PARAMETERS: Mapping[str, tuple[str, Callable[[int], str]]] = {
    "downtime_limit_ms": ("downtime-limit", lambda value: f"{value} ms"),
    "max_bandwidth": ("max-bandwidth", lambda value: f"{bytes_words(value)}/s" if value else "no limit"),
    "avail_switchover_bandwidth": (
        "avail-switchover-bandwidth", lambda value: f"{bytes_words(value)}/s" if value else "the measured bandwidth",
    ),
    "max_cpu_throttle": ("max-cpu-throttle", lambda value: f"{value} %"),
}  # fmt: skip
"""QEMU's name and the value in words."""


LONG_PAUSE_MS = 100
"""libvirt sends migrate-continue within milliseconds of each migration."""
TOLD_FROM_MS, TOLD_FROM_SHARE = 5.0, 0.1
"""Difference of outage and downtime, and share of the downtime, up to which the downtime says enough."""
SLOWER = 1.5
"""A factor between two bandwidths from which the difference is worth a sentence (assumed)."""
LONG_CANCEL_MS = 500
"""A window of 100 ms and a log switched off are ordinary; a cancel that takes longer is worth a sentence."""


def held_in_switchover(evidence: Evidence) -> Verdict | None:
    """The verdict on a run whose guest stood still in pre-switchover at its end, or when it was cancelled."""
    facts = evidence.interruptions
    at_end = evidence.status == "active" and facts.get("pre_switchover_ms") and facts.get("stopped_ms")
    if not at_end and facts.get("cancelled_in") != "pre-switchover":
        return None
    waited = seconds_words(facts.get("pre_switchover_ms", 0.0) / 1000)
    end = "then it was cancelled and the guest runs on at the source" if facts.get("cancelled_in") else "and waits still"
    return Verdict(
        outcome="stopped in device state",
        headline=f"the guest was stopped for {waited} in status pre-switchover, {end}; not a matter of convergence",
        findings=("Why: pre-copy was done, and migrate-continue did not come (migration.continue_after).",),
        remedies=(Remedy("timeout", "more time does not help: QEMU waits for the manager's command", helps=False),),
        confidence=Confidence("high", "the run shows the status"),
    )


def held_by_the_network(evidence: Evidence) -> Verdict | None:
    """The verdict on a run whose network was down at its end; None where the guest outruns the link even without that."""
    began_s = _down_since_s(evidence)
    found = None if began_s is None or evidence.guest_moved else forecast(evidence)
    if began_s is None or evidence.guest_moved or (found is not None and found.floor[1] > evidence.threshold_pages):
        return None
    since = f"the network has been down since {seconds_words(began_s)}"
    return Verdict(
        outcome="cannot tell",
        headline=f"cannot tell: {since}; {_ended_words(evidence)}{sent_words(evidence)}; not a matter of convergence",
        remedies=(
            Remedy("outage", "start it again once the network is back; it then has all pages to send"),
            Remedy("timeout", "more time helps only if the network comes back before TCP or the manager gives up"),
        ),
        confidence=Confidence("high", "the run shows the outage"),
        numbers={"down_since_s": began_s},
    )


def _down_since_s(evidence: Evidence) -> float | None:
    """Start of the outage in which the migration was last seen [s]; None: none, or it ended otherwise."""
    if evidence.status not in ("active", "cancelling", "cancelled"):
        return None
    spans = evidence.interruptions.get("outages_s", ())
    return next((max(start, 0.0) for start, end in spans if start < evidence.elapsed_s <= end), None)


def _ended_words(evidence: Evidence) -> str:
    stopped = "still active" if evidence.status == "active" else "cancelled"
    left = f" with {bytes_words(evidence.remaining_bytes)} remaining" if evidence.remaining_bytes is not None else ""
    return f"{stopped} after {seconds_words(evidence.elapsed_s)}{left}"


def with_interruptions(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with a sentence for each interruption."""
    lines = (*_beyond_limit(evidence), *_guests_outage(evidence), *_lines(evidence.interruptions, verdict.outcome))
    return replace(verdict, findings=(*verdict.findings, *lines)) if lines else verdict


def is_other_than(outage_ms: float, downtime_ms: float) -> bool:
    """Whether the guest's own outage is worth a sentence beside the downtime that the source reports.

    outage_ms, downtime_ms: these two times, more than TOLD_FROM_MS and more than TOLD_FROM_SHARE of the downtime apart.
    """
    return abs(outage_ms - downtime_ms) > max(TOLD_FROM_MS, TOLD_FROM_SHARE * downtime_ms)


def _guests_outage(evidence: Evidence) -> Iterator[str]:
    """The source's downtime ends as it has written all, or has the answer; the guest runs in between."""
    outage_ms, downtime_ms = evidence.interruptions.get("outage_ms"), evidence.downtime_ms
    if outage_ms is None or downtime_ms is None or not is_other_than(outage_ms, downtime_ms):
        return
    yield (
        f"Outage: the guest stood still for {seconds_words(outage_ms / 1000)} from its stop at the source until it ran at "
        f"the destination; the downtime that QEMU reports, {seconds_words(downtime_ms / 1000)}, is the source's view."
    )


def _beyond_limit(evidence: Evidence) -> Iterator[str]:
    """The parts of a downtime that is far longer than the limit, the longest first."""
    facts = evidence.interruptions.get("beyond_limit")
    if not facts or evidence.downtime_ms is None:
        return
    paused = ", the wait for migrate-continue" if evidence.interruptions.get("pre_switchover_ms") else ""
    told = {
        "stop_ms": f"the stop of the vCPUs{paused} and the last sync",
        "pages_ms": f"{bytes_words(facts['pages_bytes'])} of pages",
        "devices_ms": f"the devices with {bytes_words(facts['device_bytes'])}", "answer_ms": "the destination's answer",
    }  # fmt: skip
    longest = sorted((name for name in told if facts[name] >= 1), key=lambda name: -facts[name])
    parts = ", ".join(f"{told[name]} {seconds_words(facts[name] / 1000)}" for name in longest)
    yield (
        f"Downtime: {seconds_words(evidence.downtime_ms / 1000)} is above the limit of {seconds_words(evidence.limit_s)}, "
        f"by which QEMU bounds the pages alone: {parts}.{_taken_words(facts)}"
    )


def _taken_words(facts: Mapping[str, Any]) -> str:
    """A sentence where the pages left went out more slowly than QEMU had computed."""
    real = facts["pages_bytes"] / facts["pages_ms"] * 1000 if facts["pages_ms"] >= 1 else 0.0
    if not real or facts["taken_bytes_per_s"] <= SLOWER * real:
        return ""
    return (
        f" QEMU took {bandwidth_words(facts['taken_bytes_per_s'])} for the bandwidth, the speed at which bytes had gone "
        f"into the sockets in its last window; the pages left went out at {bandwidth_words(real)}."
    )


def _lines(facts: Mapping[str, Any], outcome: str) -> Iterator[str]:
    if facts.get("attempt"):
        yield f"Attempt: number {facts['attempt']}, to an empty destination and with all pages to send."
    yield from _of_link(facts, outcome)
    yield from _of_acts(facts)
    if facts.get("pre_switchover_ms", 0.0) >= LONG_PAUSE_MS and outcome == "completed":
        waited = seconds_words(facts["pre_switchover_ms"] / 1000)
        yield f"Pause: for {waited} of the downtime the guest waited for migrate-continue (status pre-switchover)."
    if facts.get("cancelled_in", "active") != "active" or facts.get("cancelling_ms", 0.0) > LONG_CANCEL_MS:
        took = seconds_words(facts.get("cancelling_ms", 0.0) / 1000)
        yield f"Cancel: migrate_cancel met status {facts['cancelled_in']}; status cancelling lasted {took}."
    if facts.get("stopped_ms") and facts.get("goes_on"):
        yield f"First copy: at its end the guest stood still for {seconds_words(facts['stopped_ms'] / 1000)}."
    elif facts.get("stopped_ms") and outcome != "completed":
        yield f"Cost: the guest stood still for {seconds_words(facts['stopped_ms'] / 1000)} and runs at the source."
    if facts.get("lost_after_completion"):
        yield (
            "Lost: the connection breaks after QEMU reports completed, before the destination has the end of the stream; "
            "the capability return-path makes QEMU wait for the destination's answer."
        )


def _of_link(facts: Mapping[str, Any], outcome: str) -> Iterator[str]:
    again = bytes_words(facts.get("retransmitted_bytes", 0))
    for start_s, end_s in facts.get("outages_s", ()):
        length = seconds_words(end_s - max(start_s, 0.0))
        yield f"Outage: from {seconds_words(max(start_s, 0.0))} on the network dropped all packets for {length}."
    if facts.get("outages_s"):
        expiries = facts.get("retransmission_timeouts", 0)
        is_broken = outcome == "failed" or outcome.startswith("lost")
        end = "then the connection broke" if is_broken else f"TCP sent {again} again"
        yield f"TCP: retransmission timers, which double each time, expired {count_words(expiries)} times; {end}."
    elif facts.get("lost_packets"):
        yield f"Loss: {count_words(facts['lost_packets'])} packets were lost at random; TCP sent {again} again."


def _of_acts(facts: Mapping[str, Any]) -> Iterator[str]:
    for at_s, name, value in facts.get("set", ()):
        parameter, words = PARAMETERS[name]
        yield f"Operator: at {seconds_words(at_s)} {parameter} became {words(value)}."
    if facts.get("suspended_s") is not None:
        yield f"Operator: the guest was suspended at {seconds_words(facts['suspended_s'])}; from then on it dirtied nothing."
    if facts.get("manager_lost_s") is not None:
        at = seconds_words(facts["manager_lost_s"])
        yield f"Manager: at {at} its connection to the destination had been silent for migration.keepalive: it cancels."
