"""A claim of the argument, with the verdict and the figures from running the structures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "holds if", "fails"]
APART, STEPS_MAX = 2e-4, 40
"""The search for a crossing ends at a step below this share of x; after so many steps without one it finds none."""
OFF_MAX = 0.002
"""A measured crossing that is further from the computed one than this share says why."""


@dataclass(frozen=True)
class Crossing:
    """The point where two costs meet. measured: by ``meet`` over runs; computed: root of the closed form; nan: none."""

    what: str
    measured: float
    computed: float
    unit: str
    formula: str
    why: str = ""

    @property
    def off(self) -> float:
        """Measured over computed, less 1."""
        return self.measured / self.computed - 1.0

    @property
    def apart(self) -> str:
        """``+0.3%``, "-" if there is nothing to compare."""
        return "-" if math.isnan(self.off) else f"{self.off:+.1%}"


@dataclass(frozen=True)
class Curve:
    """Points of one line of a picture. level: a figure to compare with, not run."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    level: bool = False


@dataclass(frozen=True)
class Panel:
    """A picture: axes and lines. crosses: crossings lie on its axis of x."""

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = True
    crosses: bool = True


@dataclass(frozen=True)
class Claim:
    """A claim. number, says, who: of the thread; condition: of the verdict, with the numbers found."""

    number: int
    says: str
    who: str
    verdict: Verdict
    condition: str
    crossings: tuple[Crossing, ...]
    panel: Panel


Cost = Callable[[float], float]


def meet(one: Cost, other: Cost | float, low: float, high: float) -> float:
    """The x between ``low`` and ``high`` (both above 0) at which two costs, both above 0, are equal; nan if there is none.

    Regula falsi between logarithms, where a cost that grows with a power of x is a line; an end that stays counts half
    (Illinois), and an interval that shrinks too slowly is halved. Ends with a step below a share APART.
    """
    at = _log_ratio(one, other)
    at_low, at_high = at(low), at(high)
    middle, before, moved = low, 0.0, 0
    if math.copysign(1.0, at_low) == math.copysign(1.0, at_high):
        return math.nan
    for step in range(STEPS_MAX):
        share = 0.5 if step % 4 == 3 else at_low / (at_low - at_high)
        middle = low * math.exp(share * math.log(high / low))
        at_middle = at(middle)
        if abs(middle - before) < APART * middle:
            return middle
        before = middle
        if math.copysign(1.0, at_middle) == math.copysign(1.0, at_low):
            low, at_low, at_high, moved = middle, at_middle, at_high * (0.5 if moved == 1 else 1.0), 1
        else:
            high, at_high, at_low, moved = middle, at_middle, at_low * (0.5 if moved == -1 else 1.0), -1
    return math.nan


def _log_ratio(one: Cost, other: Cost | float) -> Cost:
    return lambda x: math.log(one(x) / (other(x) if callable(other) else other))


def curve(name: str, xs: Sequence[float], y: Callable[[float], float]) -> Curve:
    """``y`` at each of ``xs``."""
    return Curve(name, tuple(xs), tuple(y(x) for x in xs))
