"""Where a migration that still runs is going, by its answers so far: when it ends, or why it does not end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hostsim.logs.model import TERMINAL, MigrationLog
from hostsim.verdict.course import last, seconds_in
from hostsim.verdict.explained import explain_log
from hostsim.verdict.forecast import forecast, times_left_s
from hostsim.verdict.from_log import evidence_from_log
from hostsim.verdict.model import Remedy, Verdict
from hostsim.verdict.words import bytes_words, seconds_words

Kind = Literal["waiting", "too early", "ends", "does not converge", "open", "ended"]
CLOSE = 1.1
"""A range whose ends are closer than this is one figure."""
STUCK_S = 5.0
"""A guest that is stopped longer waits for more than the rest of its memory (assumed)."""
NOTHING = 0.01
"""A lower end below this share of the upper one is as good as none."""


@dataclass(frozen=True)
class Outlook:
    """The forecast after an answer.

    left_s: (least, greatest) seconds until the guest is stopped; None where the greatest is not known.
    settles_bytes: (least, greatest) at which remaining settles; allowed_bytes: below which QEMU stops the guest.
    words: a sentence or two; remedy: the first change that would help.
    """

    kind: Kind
    words: str
    left_s: tuple[float, float] | None = None
    settles_bytes: tuple[float, float] | None = None
    allowed_bytes: float | None = None
    remedy: Remedy | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)

    def later(self, seconds: float) -> Outlook:
        """The forecast as it reads ``seconds`` after it was made."""
        if self.left_s is None or self.allowed_bytes is None:
            return self
        left = max(0.0, self.left_s[0] - seconds), max(0.0, self.left_s[1] - seconds)
        return replace(self, left_s=left, words=_ends_words(left, self.allowed_bytes))

    def to_dict(self) -> dict[str, Any]:
        """The forecast as JSON-able data, figures with their unit in the name."""
        settles, left = self.settles_bytes or (None, None), self.left_s or (None, None)
        return {
            "kind": self.kind, "words": self.words, "left_least_s": left[0], "left_most_s": left[1],
            "settles_least_bytes": settles[0], "settles_most_bytes": settles[1], "allowed_bytes": self.allowed_bytes,
            "remedy": None if self.remedy is None else self.remedy.text,
            "command": None if self.remedy is None else self.remedy.command,
        }  # fmt: skip


def outlook(log: MigrationLog | None, **known: Any) -> Outlook:
    """The forecast from ``log``, the answers of one migration so far; ``known``: as ``explain_log`` takes it."""
    if log is None or log.status[-1] == "none":
        return Outlook("waiting", "no migration runs yet")
    if log.status[-1] == "setup":
        return Outlook("too early", "the migration is being set up, nothing is sent yet")
    if log.status[-1] == "device" and seconds_in(log, ("device",)) < STUCK_S:
        left = bytes_words(last(log.remaining_bytes) or 0.0)
        return Outlook("ends", f"the guest is stopped while its last {left} are sent")
    verdict = explain_log(log, **known)
    if log.status[-1] in TERMINAL:
        return Outlook("ended", verdict.headline, numbers=verdict.numbers)
    return _running(log, verdict, known)


def _running(log: MigrationLog, verdict: Verdict, known: Mapping[str, Any]) -> Outlook:
    if verdict.outcome == "would converge":
        return _ends(log, verdict, known)
    if verdict.outcome in ("not converging", "undecided") and "settle_bytes" in verdict.numbers:
        return _settles(verdict)
    first_pass_s = verdict.numbers.get("first_pass_left_s")
    if first_pass_s is not None:
        left = f"of which about {seconds_words(first_pass_s)} are left"
        words = f"within the first pass, {left}; a forecast needs the rounds after it"
        return Outlook("too early", words, numbers=verdict.numbers)
    kind: Kind = "too early" if verdict.outcome in ("too early to tell", "cannot tell") else "open"
    return Outlook(kind, verdict.headline, remedy=_first(verdict), numbers=verdict.numbers)


def _ends(log: MigrationLog, verdict: Verdict, known: Mapping[str, Any]) -> Outlook:
    evidence = evidence_from_log(log, **known)
    found = forecast(evidence)
    times = [] if found is None else times_left_s(found, evidence)
    sure = [t for t in times if t is not None]
    if not sure or len(sure) < len(times):
        return Outlook("ends", verdict.headline, numbers=verdict.numbers)  # once auto-converge has slowed the guest
    left = min(sure), max(sure)
    allowed = evidence.threshold_pages * evidence.page_bytes
    return Outlook("ends", _ends_words(left, allowed), left, None, allowed, numbers=verdict.numbers)


def _ends_words(left_s: tuple[float, float], allowed_bytes: float) -> str:
    limit = f"remaining falls below the {bytes_words(allowed_bytes)} that the downtime limit allows"
    return f"ends in {_span(*left_s, seconds_words, 'at most {}')}: {limit}"


def _settles(verdict: Verdict) -> Outlook:
    numbers = verdict.numbers
    settles = numbers["settle_least_bytes"], numbers["settle_bytes"]
    allowed = numbers["threshold_bytes"]
    limit = seconds_words(numbers["downtime_limit_ms"] / 1000)
    sure = verdict.outcome == "not converging"
    lead = "does not converge" if sure else "may not converge"
    verb = "settles" if sure else "may settle"
    at = _span(*settles, bytes_words, "{} or less")
    words = f"{lead}: remaining {verb} at {at}, the limit of {limit} allows {bytes_words(allowed)}"
    kind: Kind = "does not converge" if sure else "open"
    return Outlook(kind, words, None, settles, allowed, _first(verdict), numbers)


def _first(verdict: Verdict) -> Remedy | None:
    return next((remedy for remedy in verdict.remedies if remedy.helps), None)


def _span(least: float, most: float, words: Callable[[float], str], up_to: str) -> str:
    """``about 3 s``, or ``2 s to 5 s`` where the ends differ; up_to: the words where the least is hardly more than 0."""
    if most <= CLOSE * least or words(least) == words(most):
        return f"about {words(most)}"
    return up_to.format(words(most)) if least < NOTHING * most else f"{words(least)} to {words(most)}"
