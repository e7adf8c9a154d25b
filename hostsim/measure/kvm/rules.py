"""Rules of a measurement: expected counters, the limit of a busy machine, slope and intercept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

REPETITIONS_MIN = 7
"""A number is the median of so many at least."""
BUSY_SHARE = 0.08
"""Foreign processor time, of all processors', above which a machine is busy."""


@dataclass(frozen=True)
class Expected:
    """A counter of KVM has to move by at least ``least`` and at most ``most``."""

    counter: str
    least: float
    most: float


def about(counter: str, count: float, slack: float = 0.01) -> Expected:
    """``count`` moves, give or take a share ``slack`` and 8: the VM's own pages may fault as well."""
    off = abs(count) * slack + 8
    return Expected(counter, count - off, count + off)


def none_of(counter: str) -> Expected:
    """Next to none: 8 may be of the VM's own pages, or of a page that the host touched."""
    return Expected(counter, -8, 8)


def complaint(counters: Mapping[str, int], expected: Sequence[Expected]) -> str:
    """The first counter that is not as expected, in words; empty if all are."""
    for one in expected:
        got = counters.get(one.counter, 0)
        if not one.least <= got <= one.most:
            return f"{one.counter} moved by {got}, expected {one.least:.0f} to {one.most:.0f}"
    return ""


def slope(units: Sequence[float], ns: Sequence[float]) -> tuple[float, float]:
    """(ns a unit, ns at none) of the straight line nearest to the points, by least squares."""
    assert len(units) >= 2
    per_unit, at_none = np.polyfit(np.asarray(units, np.float64), np.asarray(ns, np.float64), 1)
    return float(per_unit), float(at_none)


def foreign_share(busy_s: float, own_s: float, elapsed_s: float, n_cpus: int) -> float:
    """Share of all processors' time that others took: busy_s of all, own_s of this process; never below 0."""
    return max(0.0, busy_s - own_s) / (elapsed_s * n_cpus) if elapsed_s > 0 else 0.0
