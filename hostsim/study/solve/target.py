"""``--target 'converge=0.95,downtime<=500ms,total<=10min'``: what a migration has to reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hostsim.core.constants import NS_PER_MS
from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import parse_duration, parse_fraction, shown
from hostsim.results.mechanism import is_converged
from hostsim.study.compare.figures import Figures
from hostsim.study.predict.forecast import Forecast

SOURCE = "--target"
EXAMPLE = "--target 'converge=0.95,downtime<=500ms,total<=10min'"
CONVERGE = 0.95
_PART = re.compile(r"\s*(converge|downtime|total)\s*(<=|>=|=)\s*(\S+)\s*")


@dataclass(frozen=True)
class Target:
    """converge: the wanted share of migrations; downtime_ms, total_ms: the most of each, None: any."""

    converge: float = CONVERGE
    downtime_ms: float | None = None
    total_ms: float | None = None

    def met(self, figures: Figures) -> bool:
        """Whether a run completed within the limits."""
        if not is_converged(figures["status"]):
            return False
        both = ((figures.get("downtime_ms"), self.downtime_ms), (figures.get("total_time_ms"), self.total_ms))
        return all(most is None or (isinstance(got, int | float) and got <= most) for got, most in both)

    def computed(self, found: Forecast) -> bool:
        """Whether a computed migration completes within the limits; its downtime is that of the scenario's limit."""
        return found.completes and (self.total_ms is None or 1000 * found.total_s <= self.total_ms)

    @property
    def text(self) -> str:
        """As it is written on a command line."""
        parts = [f"converge={self.converge:g}"]
        parts += [] if self.downtime_ms is None else [f"downtime<={self.downtime_ms:g}ms"]
        return ",".join([*parts, *([] if self.total_ms is None else [f"total<={self.total_ms / 1000:g}s"])])


def read_target(text: str) -> Target:
    """The target in ``text``; InputError with all problems."""
    found: dict[str, float] = {}
    problems: list[Problem] = []
    for part in text.split(","):
        one = _PART.fullmatch(part)
        if one is None:
            problems.append(_problem(part, "converge=SHARE, downtime<=TIME or total<=TIME, with commas between them"))
            continue
        problems += _read(one[1], one[2], one[3], found)
    if problems:
        raise InputError(problems)
    return Target(found.get("converge", CONVERGE), found.get("downtime"), found.get("total"))


def _read(name: str, sign: str, value: str, found: dict[str, float]) -> Iterator[Problem]:
    if name in found:
        yield _problem(name, f"{name} once")
    if (name == "converge") == (sign == "<="):
        yield _problem(f"{name}{sign}", "converge=SHARE" if name == "converge" else f"{name}<=TIME")
        return
    try:
        number = parse_fraction(value) if name == "converge" else parse_duration(value) / NS_PER_MS
    except UnitError as error:
        yield _problem(value, f"{name} as {error.wanted}")
        return
    if not number > 0 or (name == "converge" and number >= 1):
        yield _problem(value, "a share above 0 and below 1: no number of runs shows 1" if name == "converge" else "a time")
        return
    found[name] = number


def _problem(got: str, wanted: str) -> Problem:
    return Problem(SOURCE, "", shown(got), wanted, EXAMPLE)
