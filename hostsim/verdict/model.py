"""A verdict as data: outcome, reason, findings, the single changes that would help, and how sure it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NewType

from hostsim.verdict.mechanism import outcomes

Outcome = Literal[
    "completed",
    "not converging",
    "would converge",
    "undecided",
    "too early to tell",
    "failed",
    "cannot tell",
    "stopped in device state",
    "no migration yet",
    "not a migration",
]
"""Outcomes of any migration; mechanisms have others (hostsim.verdict.mechanism::outcomes)."""
Reason = Literal["floor", "slope", "near threshold"]
"""Reasons of "not converging"."""
Own = NewType("Own", str)
"""An outcome, or a reason, that one mechanism alone gives."""


@dataclass(frozen=True)
class Confidence:
    """Confidence in the verdict, and its reason."""

    level: Literal["high", "medium", "low"]
    reason: str


@dataclass(frozen=True)
class Remedy:
    """One change that alone would help (or, helps=False, one that would not, said because people try it).

    kind: key of the profile's commands; value: in ``unit`` (ms, bytes/s, percent), None where there is none.
    certain: the value suffices for every dirty curve that agrees with the evidence.
    confirmed: the scenario completes with the value, with each of ``seeds``; else the value is computed.
    """

    kind: str
    text: str
    value: float | None = None
    unit: str = ""
    command: str = ""
    helps: bool = True
    certain: bool = True
    confirmed: bool = False
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict on one migration; ``render`` writes it in eight lines, and one more for each of warnings and rests_on.

    warnings: values of the scenario beyond any real machine, so that the verdict holds for none.
    rests_on: values that the scenario leaves out and that may change the verdict.
    assumptions: values that a log lacks.
    """

    outcome: Outcome | Own
    headline: str
    reason: Reason | Own | None = None
    findings: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    warnings: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()
    margins: tuple[Remedy, ...] = ()
    """Lower values with which a migration that completed would complete, too."""
    confidence: Confidence | None = None
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    measure_next: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Whether the migration completed."""
        own = outcomes().get(self.outcome)
        return self.outcome == "completed" if own is None else own.converged

    def remedy(self, kind: str) -> Remedy | None:
        """The remedy of that kind, if the verdict has one."""
        return next((r for r in self.remedies if r.kind == kind), None)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-able data, figures with their unit in the name."""
        return {**asdict(self), "converged": self.converged}
