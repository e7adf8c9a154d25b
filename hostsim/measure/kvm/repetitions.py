"""Repetitions of a number, each with the pace of the cores beside it: those that count are made on cores of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from hostsim.measure.calibrate.sample import Sample
from hostsim.measure.kvm.pace import is_calm

CALM_MIN = 3
"""Fewer repetitions on an own core are no measurement."""
UNCERTAIN = 0.05
"""Of a number, above which its standard error is worth a word: two calibrations may then differ by 10 %."""
OF_MEDIAN = 1.2533 / 1.349
"""Standard error of a median, of a normal distribution whose middle half is as wide as one over the root of the count."""


@dataclass(frozen=True)
class Counted(Sample):
    """Repetitions that count.

    taken: so many there are, with those that do not count. is_calm: these had cores of their own.
    """

    taken: int = 0
    is_calm: bool = True

    @property
    def error(self) -> float:
        """Standard error of their median, as a share of it; 0 if that is 0."""
        return OF_MEDIAN * self.spread / sqrt(len(self.ns)) if self.median_ns > 0 else 0.0

    @property
    def doubt(self) -> str:
        """The reason to distrust the number; empty if there is none."""
        if not self.is_calm:
            return "fewer than three repetitions had a core of their own"
        return f"uncertain by {self.error:.0%}" if self.error > UNCERTAIN else ""

    @property
    def words(self) -> str:
        """Their count, for people."""
        calm = "with cores of their own" if self.is_calm else "calmest"
        return str(self.taken) if len(self.ns) == self.taken else f"the {len(self.ns)} {calm} of {self.taken}"


@dataclass
class Repetitions:
    """ns: a unit. paces: ticks of the loop beside each."""

    ns: list[float] = field(default_factory=list)
    paces: list[int] = field(default_factory=list)

    def add(self, ns: float, pace_ticks: int) -> None:
        """One more."""
        self.ns.append(ns)
        self.paces.append(pace_ticks)

    def n_calm(self, least_ticks: int) -> int:
        """So many had cores of their own; least_ticks: of the loop on such a core."""
        return sum(is_calm(ticks, least_ticks) for ticks in self.paces)

    def counted(self, least_ticks: int) -> Counted:
        """Those that had cores of their own, or if these are too few, the CALM_MIN calmest."""
        n_calm = self.n_calm(least_ticks)
        calmest: Sequence[int] = np.argsort(self.paces, kind="stable")[: max(n_calm, CALM_MIN)].tolist()
        ns = np.array([self.ns[at] for at in sorted(calmest)])
        return Counted(ns, len(self.ns), n_calm >= CALM_MIN)
