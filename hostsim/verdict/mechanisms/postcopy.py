"""Post-copy in verdicts: its price in seconds exposed and in waits of the guest, and the loss if the connection breaks.

The bottleneck of the phase in a sentence: the stage that was busy all the time, and how much of the link it left. The switch
as a remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S, PAGE_WIRE_BYTES
from hostsim.core.units import UNLIMITED, parse_bandwidth
from hostsim.qemu.mechanisms.postcopy import MOVED, NAME, PAUSED
from hostsim.results.mechanisms.postcopy import FRAMES, LIMIT, LINK, PLACING, SOURCE, SWAP, WINDOW
from hostsim.results.sender import BUSY
from hostsim.verdict.commands import command_for
from hostsim.verdict.course import last, running, seconds_in
from hostsim.verdict.ended import took_words
from hostsim.verdict.evidence import Evidence, Seen
from hostsim.verdict.findings import sent_words
from hostsim.verdict.mechanism import Mechanism, OwnOutcome
from hostsim.verdict.model import Confidence, Own, Remedy, Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, count_words, percent_words, seconds_words, span_words

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog
    from hostsim.results.tables import MigrationResult, RunResult

Facts = Mapping[str, Any]
"""Of hostsim.results.mechanisms.postcopy::postcopy_facts."""


def _placing(facts: Facts) -> str:
    each = span_words(facts["place_page_ns"])
    return f"one thread of the destination, which places the stream's pages (UFFDIO_COPY, {each}) and worked for {{share}}"


def _limit(facts: Facts) -> str:
    limit = bandwidth_words(facts["limit_bytes_per_s"])
    return f"max-postcopy-bandwidth of {limit}, which held the source back for {{share}}"


WORDS: Mapping[str, Callable[[Facts], str]] = {
    PLACING: _placing,
    SOURCE: lambda _: "the CPU of the source's one migration thread, which worked for {share}",
    LINK: lambda _: "the link, which was used for {share}",
    WINDOW: lambda _: "the window of the one connection, which was full for {share}",
    LIMIT: _limit,
    SWAP: lambda _: "the swap device of the source, from which pages were read back for {share}",
    FRAMES: lambda _: "the memory of the destination, where the thread that places pages waited for free frames for {share}",
}


SHORT_S = 0.1
"""A shorter phase gets no line on its bottleneck (assumed)."""


def bottleneck_of(facts: Facts) -> str:
    """The stage that was busy most, "": none was busy enough to set the pace."""
    busy: Mapping[str, float] = (facts.get("busy") or {}) if facts["exposed_s"] >= SHORT_S else {}
    most = max(busy, key=lambda stage: busy[stage], default="")
    return most if most and busy[most] >= BUSY else ""


def bottleneck_line(facts: Facts) -> str:
    """A finding on the stage that set the pace of the phase; "" if none did."""
    stage = bottleneck_of(facts)
    if not stage:
        return ""
    busy = facts["busy"]
    why = WORDS[stage](facts).format(share=f"{percent_words(busy[stage])} of the phase")
    link = f"; the link was used for {percent_words(busy[LINK])}" if stage != LINK and LINK in busy else ""
    return f"Bottleneck: {why}; pages moved at {bandwidth_words(facts['sent_bytes_per_s'])}{link}."


COMPLETED, LOST = Own("completed by post-copy"), Own("lost in post-copy")
INTERRUPTED = ("postcopy-paused", "postcopy-recover", "postcopy-recover-setup")
WAITS_ENOUGH = 0.5
"""With this share of the vCPUs' time spent on waits for pages the verdict says why (assumed)."""

EXACT_BELOW = 100_000
EXACTLY = 1.1
"""Two times whose ratio is at most this are printed as one time."""


@dataclass(frozen=True)
class Phase:
    """The figures of hostsim.results.mechanisms.postcopy::postcopy_facts, by their names."""

    facts: Mapping[str, Any]

    @property
    def waited_share(self) -> float:
        """Share of the vCPUs' time in the phase that they waited for pages."""
        return float(self.facts["stalled_s"]) / self.facts["vcpu_s"] if self.facts["vcpu_s"] else 0.0


@dataclass(frozen=True)
class SeenPostcopy(Seen):
    """The phase after the switch.

    seconds: for which the guest needed both hosts, at least; None: the statuses of a log do not show it.
    seconds_most: the same at most, since the last answer before the switch; None: as ``seconds``.
    requests: pages that the guest has requested. paused_s: for which a log shows the phase interrupted, at most.
    phase: its figures; None from a log, which has the requests alone.
    """

    seconds: float | None = None
    seconds_most: float | None = None
    requests: float = 0.0
    phase: Phase | None = None
    paused_s: float = 0.0

    @property
    def guest_moved(self) -> bool:
        """True: the phase begins with the move of the guest."""
        return True


@dataclass(frozen=True)
class SeenBefore(Seen):
    """A run that did not switch. is_on: the capability; bytes_per_s: the most that the source would send after a switch."""

    is_on: bool
    bytes_per_s: float | None

    @property
    def sent_once_moved_bytes_per_s(self) -> float | None:
        """``bytes_per_s``."""
        return self.bytes_per_s


def seen_in(evidence: Evidence) -> SeenPostcopy | None:
    """The phase; None if the migration never switched."""
    found = evidence.mechanisms.get(NAME)
    return found if isinstance(found, SeenPostcopy) else None


def phase_of_run(result: RunResult, migration: MigrationResult) -> Seen | None:
    """The phase after the switch of ``migration``, or the capability where it did not switch; None without a migration."""
    facts = migration.facts.get(NAME)
    if facts is None:
        keys = result.scenario.get("migration") or {}
        return SeenBefore(bool(keys.get("postcopy_ram")), _sent_bytes_per_s(result.scenario))
    return SeenPostcopy(float(facts["exposed_s"]), None, float(facts["requests"]), Phase(facts))


def _sent_bytes_per_s(scenario: Mapping[str, Any]) -> float | None:
    """Limit of the source after a switch: the CPU of its one thread, or max-postcopy-bandwidth; None: not known."""
    page_ns = scenario.get("host", {}).get("page_send_ns")
    told = parse_bandwidth((scenario.get("migration") or {}).get("max_postcopy_bandwidth", UNLIMITED))
    limits = (PAGE_WIRE_BYTES * NS_PER_S / page_ns if page_ns else 0.0, float(told))
    return min((limit for limit in limits if limit), default=None)


def phase_of_log(log: MigrationLog, _at: NDArray[np.int64]) -> SeenPostcopy | None:
    """The phase by the statuses of a log, or by requests of the guest in it."""
    switched = [i for i, status in enumerate(log.status) if status in MOVED]
    requests = last(log.postcopy_requests) or 0.0
    before = [i for i, status in enumerate(log.status) if status == "active" and i < (switched or [len(log)])[0]]
    most = float(log.t_s[-1] - log.t_s[before[-1]]) if before else None
    if not switched:
        return SeenPostcopy(seconds_most=most, requests=requests) if requests else None
    return SeenPostcopy(float(log.t_s[-1] - log.t_s[switched[0]]), most, requests, paused_s=_paused_s(log))


def _paused_s(log: MigrationLog) -> float:
    """Time from the last answer before each interruption to the first one after it [s]."""
    paused = [i for i, status in enumerate(log.status) if status in INTERRUPTED]
    return float(sum(log.t_s[min(i + 1, len(log) - 1)] - log.t_s[max(i - (i - 1 not in paused), 0)] for i in paused))


def _requests(count: float) -> str:
    """To the digit as QEMU shows it, so that a reader finds it in the log; only a long count is shortened."""
    return f"{count:.0f}" if count < EXACT_BELOW else count_words(count)


def _plural(count: float) -> str:
    return "" if round(count) == 1 else "s"


def completed(evidence: Evidence) -> Verdict | None:
    """The verdict on a migration that completed after the switch."""
    seen = seen_in(evidence)
    if evidence.status != "completed" or seen is None:
        return None
    waited = f"; it waited for {_requests(seen.requests)} requested page{_plural(seen.requests)}" if seen.requests else ""
    return Verdict(
        outcome=COMPLETED,
        headline=f"{COMPLETED} in {took_words(evidence)}{sent_words(evidence)}",
        findings=(
            f"Exposed: for {_exposed_words(seen)} the guest needed both hosts and the link{waited}.",
            *_phase_lines(seen),
            *_recovered_words(seen),
            "QEMU left pre-copy early, so this run does not show whether pre-copy would have converged.",
        ),
        confidence=Confidence("high", "the migration completed"),
    )


def _recovered_words(seen: SeenPostcopy) -> Iterator[str]:
    if seen.paused_s:
        yield (
            f"Broken link: the phase was interrupted for up to {seconds_words(seen.paused_s)} and recovered; the guest "
            "waited for each missing page that it touched."
        )


def _exposed_words(seen: SeenPostcopy) -> str:
    """How long the phase was: answers that are far apart leave it between two times."""
    least, most = seen.seconds or 0.0, seen.seconds_most
    if most is None or most <= EXACTLY * least:
        return "an unknown time" if seen.seconds is None else seconds_words(least)
    return f"{seconds_words(least)} to {seconds_words(most)}" if least else f"at most {seconds_words(most)}"


def under_way(evidence: Evidence) -> Verdict | None:
    """Post-copy that has not ended: nothing is dirtied any more, it ends with the last page."""
    seen = seen_in(evidence)
    if seen is None or seen.seconds is None or evidence.status.startswith("cancel"):
        return None
    left_s = (evidence.remaining_bytes or 0.0) / (evidence.bandwidth_bytes_per_s or float("inf"))
    left = bytes_words(evidence.remaining_bytes or 0.0)
    return Verdict(
        outcome="would converge",
        headline=f"post-copy under way for {seconds_words(seen.seconds)}: {left} left, no page is dirtied any more",
        findings=(
            (
                f"Requests: the guest has waited for {_requests(seen.requests)} requested page{_plural(seen.requests)} so "
                f"far; it needs both hosts for about {seconds_words(left_s)} more at this bandwidth."
            ),
        ),
        confidence=Confidence("high", "every page crosses once after the switch"),
    )


def last_answer(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict on post-copy that has not ended: every page crosses once, so the last answer of ``log`` is enough.

    evidence: of ``log``, for the guest's requests and the bandwidth. None for a migration that ended or has not switched.
    """
    at = running(log)
    if evidence.status in ("completed", "failed") or not len(at) or log.status[at[-1]] not in MOVED:
        return None
    seen = seen_in(evidence)
    requests = 0.0 if seen is None else seen.requests
    status, left = log.status[at[-1]], last(log.remaining_bytes)
    seconds = seconds_in(log, MOVED)
    span = f" for {seconds_words(seconds)}" if seconds else ""
    speed = evidence.bandwidth_bytes_per_s or 0.0
    left_s = left / speed if left is not None and speed else None
    rest = "the log does not report the memory left" if left is None else f"{bytes_words(left)} left"
    about = "" if left_s is None else f", about {seconds_words(left_s)} more at {bandwidth_words(speed)}"
    if status in INTERRUPTED:
        return _paused(status, rest)
    return Verdict(
        outcome="would converge",
        headline=f"post-copy under way{span}: {rest}{about}; no page is dirtied any more",
        findings=((f"Requests: the guest has waited for {_requests(requests)} pages so far; until the last page "
                  "is there it needs both hosts and the link."),),
        confidence=Confidence("high", "every page crosses once after the switch"),
        numbers={"remaining_bytes": left or 0.0, **({} if left_s is None else {"left_s": left_s})},
    )  # fmt: skip


def _paused(status: str, rest: str) -> Verdict:
    return Verdict(
        outcome="undecided",
        headline=f"post-copy is interrupted ({status}), {rest}: the link broke, and the guest waits on the destination",
        remedies=(Remedy("recover", "do not stop either QEMU: recover it once the link is back (migrate -r URI in the "
                         "monitor, virsh migrate --postcopy-resume)"),),
        confidence=Confidence("high", f'QEMU reports status "{status}"'),
    )  # fmt: skip


def lost(evidence: Evidence) -> Verdict | None:
    """The verdict on a run whose connection broke after the switch and was not repaired."""
    seen = seen_in(evidence)
    if evidence.status != PAUSED or seen is None or seen.phase is None:
        return None
    phase = seen.phase
    left = int((evidence.remaining_bytes or 0.0) / evidence.page_bytes)
    return Verdict(
        outcome=LOST,
        headline=f"{LOST}: the connection broke {seconds_words(phase.facts['exposed_s'])} after "
        f"the switch, and {count_words(left)} pages exist at the source alone",
        findings=(
            ("Loss: neither host has the whole guest. The source lacks the newest writes, the destination runs until it "
             "touches a page that is missing; without a recovery the guest has to be started again from its disk."),
            *_phase_lines(seen),
        ),
        remedies=(
            Remedy("recover", "keep both QEMUs and recover once the link is back (migrate -r URI in the monitor, virsh "
                   "migrate --postcopy-resume); here: postcopy_recover_after"),
            Remedy("expose less", "a shorter phase: switch after more rounds, or give the phase more bandwidth"),
        ),
        confidence=Confidence("high", f'the run ended in status "{PAUSED}"'),
        numbers={"remaining_bytes": evidence.remaining_bytes or 0.0, "exposed_s": float(phase.facts["exposed_s"])},
    )  # fmt: skip


def failed(evidence: Evidence) -> Verdict | None:
    """The verdict on a log in which the migration failed after the switch."""
    seen = seen_in(evidence)
    if evidence.status != "failed" or seen is None or seen.phase is not None or (seen.seconds is None and not seen.requests):
        return None
    left = "" if not evidence.remaining_bytes else f", with {bytes_words(evidence.remaining_bytes)} left on the source alone"
    why = evidence.error_desc or "no error-desc in the log; the QEMU log of both hosts has it"
    return Verdict(
        outcome=LOST,
        headline=f"{LOST}: failed after {seconds_words(evidence.elapsed_s)}{left}: {why}",
        findings=(
            ("Loss: the guest had moved before its memory, so neither host has the whole guest: do not resume it on the "
             "source; it has to be started again from its disk."),
        ),
        remedies=(Remedy("expose less", "a shorter phase: switch after more rounds, or give the phase more bandwidth"),),
        confidence=Confidence("high", "the log shows post-copy before the failure"),
    )  # fmt: skip


def _phase_lines(seen: SeenPostcopy) -> Iterator[str]:
    """Findings on a phase whose figures are known."""
    if seen.phase is not None:
        yield from _lines(seen.phase)


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
    if bottleneck := bottleneck_line(facts):
        yield bottleneck
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


def remedy(evidence: Evidence, seconds: float, word: str) -> Remedy:
    """The switch to post-copy, with the profile's command of ``evidence``.

    seconds: to send the remaining pages after the switch [s]. word: "about" or "up to", printed before ``seconds``.
    """
    text = (
        f"post-copy always ends; for {word} {seconds_words(seconds)} the guest needs both hosts and the link, "
        "and is lost if one of them fails"
    )
    text += "; computed, not run" if evidence.source == "run" else ""
    before = evidence.mechanisms.get(NAME)
    is_on = isinstance(before, SeenBefore) and before.is_on
    now = command_for(evidence.profile, "post_copy_now") if is_on else ""
    return Remedy("post_copy", text, seconds, "s", now or command_for(evidence.profile, "post_copy"))


PART = Mechanism(
    NAME, 50, phase_of_run, phase_of_log,
    outcomes=(OwnOutcome(COMPLETED, "good", converged=True), OwnOutcome(LOST, "bad")),
    under_way=(last_answer,),
    ended=(lost, failed, completed),
    running=(under_way,),
    always_ends=remedy,
    in_words="post-copy",
)  # fmt: skip
