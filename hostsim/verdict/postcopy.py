"""Post-copy of a run: its price in seconds exposed and in waits of the guest, and the loss if the connection breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hostsim.verdict.evidence import Evidence
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.words import bandwidth_words, count_words, percent_words, seconds_words, span_words

PAUSED = "postcopy-paused"
WAITS_ENOUGH = 0.5
"""With this share of the vCPUs' time spent on waits for pages the verdict says why (assumed)."""


@dataclass(frozen=True)
class Phase:
    """The figures of hostsim.results.postcopy::postcopy_facts, by their names."""

    facts: Mapping[str, Any]

    @property
    def waited_share(self) -> float:
        """Share of the vCPUs' time in the phase that they waited for pages."""
        return float(self.facts["stalled_s"]) / self.facts["vcpu_s"] if self.facts["vcpu_s"] else 0.0


def phase_lines(evidence: Evidence) -> tuple[str, ...]:
    """Findings on a phase whose figures are known; none from a log, which has the requests alone."""
    return () if evidence.postcopy is None else tuple(_lines(Phase(evidence.postcopy)))


def lost_in_postcopy(evidence: Evidence) -> Verdict | None:
    """The verdict on a run whose connection broke after the switch and was not repaired."""
    if evidence.source != "run" or evidence.status != PAUSED or evidence.postcopy is None:
        return None
    phase = Phase(evidence.postcopy)
    left = int((evidence.remaining_bytes or 0.0) / evidence.page_bytes)
    return Verdict(
        outcome="lost in post-copy",
        headline=f"lost in post-copy: the connection broke {seconds_words(phase.facts['exposed_s'])} after "
        f"the switch, and {count_words(left)} pages exist at the source alone",
        findings=(
            ("Loss: neither host has the whole guest. The source lacks the newest writes, the destination runs until it "
             "touches a page that is missing; without a recovery the guest has to be started again from its disk."),
            *phase_lines(evidence),
        ),
        remedies=(
            Remedy("recover", "keep both QEMUs and recover once the link is back (migrate -r URI in the monitor, virsh "
                   "migrate --postcopy-resume); here: postcopy_recover_after"),
            Remedy("expose less", "a shorter phase: switch after more rounds, or give the phase more bandwidth"),
        ),
        confidence=Confidence("high", f'the run ended in status "{PAUSED}"'),
        numbers={"remaining_bytes": evidence.remaining_bytes or 0.0, "exposed_s": float(phase.facts["exposed_s"])},
    )  # fmt: skip


def _lines(phase: Phase) -> Iterator[str]:
    facts, stalls = phase.facts, phase.facts["stalls"]
    yield (
        f"Outage: the guest stood still for {seconds_words(facts['outage_ms'] / 1000)} from its stop at the source until it "
        "ran at the destination; the downtime that QEMU reports ends before the destination has loaded the devices."
    )
    if stalls["count"]:
        yield (
            f"Waits: {count_words(facts['faults'])} touches of missing pages; a vCPU waited {span_words(stalls['p50_ns'])} "
            f"for a page in the median, {span_words(stalls['p99_ns'])} at the 99th percentile and "
            f"{span_words(stalls['max_ns'])} at most. vCPUs waited {percent_words(phase.waited_share)} of their time in the "
            f"phase{_why(phase)}."
        )
    if facts["paused_s"]:
        yield (
            f"Broken link: the phase paused for {seconds_words(facts['paused_s'])}; {count_words(facts['pages_lost'])} "
            "pages that were under way were sent again after the recovery, and none was lost."
        )


def _why(phase: Phase) -> str:
    """The reason for long waits: behind a limit a request waits for the next window of 100 ms."""
    limit = phase.facts["limit_bytes_per_s"]
    if phase.waited_share < WAITS_ENOUGH or not limit or phase.facts["preempt"]:
        return ""
    return (
        f": max-postcopy-bandwidth of {bandwidth_words(limit)} is spent in a burst, and a request that comes later "
        "waits for the next window of 100 ms; postcopy-preempt sends requested pages beside the limit"
    )


def exposed_s(facts: Mapping[str, Any]) -> float | None:
    """Time [s] from the switch to the end of the run's migration; None without post-copy."""
    found = facts.get("postcopy")
    return None if found is None else float(found["exposed_s"])

