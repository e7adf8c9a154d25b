"""A claim of the argument, with what running the structures says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "holds if", "fails"]
OFF_MAX = 0.25
"""A measured crossing that is further from the computed one than this share says why."""


@dataclass(frozen=True)
class Crossing:
    """Where two costs meet. measured: by bisection over runs; computed: root of the closed form; nan: none in range."""

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


@dataclass(frozen=True)
class Curve:
    """Points of one line of a picture. level: a figure to compare with, not run."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    level: bool = False


@dataclass(frozen=True)
class Panel:
    """A picture: axes and lines."""

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = True


@dataclass(frozen=True)
class Claim:
    """number, says and who: of the thread. condition: what the verdict depends on, with the numbers found."""

    number: int
    says: str
    who: str
    verdict: Verdict
    condition: str
    crossings: tuple[Crossing, ...]
    panel: Panel


def bisect(difference: Callable[[float], float], low: float, high: float, steps: int = 8) -> float:
    """Where ``difference`` changes its sign between ``low`` and ``high`` (both above 0), nan if nowhere.

    Halves on a logarithmic scale; what remains is split in proportion: the differences are smooth.
    """
    at_low, at_high = difference(low), difference(high)
    if math.copysign(1.0, at_low) == math.copysign(1.0, at_high):
        return math.nan
    for _ in range(steps):
        middle = math.sqrt(low * high)
        at = difference(middle)
        if math.copysign(1.0, at) == math.copysign(1.0, at_low):
            low, at_low = middle, at
        else:
            high, at_high = middle, at
    return low + (high - low) * at_low / (at_low - at_high)


def curve(name: str, xs: Sequence[float], y: Callable[[float], float]) -> Curve:
    """``y`` at each of ``xs``."""
    return Curve(name, tuple(xs), tuple(y(x) for x in xs))
