"""The budget of ``hostsim reclaim``: upper limits of stalls and slowdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import parse_duration, parse_fraction
from hostsim.study.option_text import listed
from hostsim.study.statistics import Spread

STALLS = ("p50", "p90", "p99", "p99.9")
SLOWDOWN = "slowdown"
OF_FAULTS = "-fault"
"""May stand behind a percentile, as in p99-fault=2ms: stalls are those of faults."""
WANTED = f"limits as {STALLS[2]}=2ms or {SLOWDOWN}=1%: one of {', '.join((*STALLS, SLOWDOWN))}, and a time or a share"


@dataclass(frozen=True)
class Limit:
    """An upper limit of a figure. figure: its name; most: the limit in the figure's unit; text: the limit as typed."""

    figure: str
    most: float
    text: str

    def is_met(self, figures: Mapping[str, Spread]) -> bool:
        """Whether the mean of the figure is within the limit."""
        return figures[self.figure].mean <= self.most


def read_budget(text: str) -> tuple[Limit, ...]:
    """Limits of ``p99=2ms,slowdown=1%``. InputError for anything else."""
    return tuple(_limit(part) for part in listed(text))


def budget_problems(text: str) -> Iterator[Problem]:
    """A problem for each part that is no limit."""
    for part in listed(text):
        try:
            _limit(part)
        except InputError as error:
            yield from error.problems


def _limit(part: str) -> Limit:
    key, _, value = part.partition("=")
    key = key.removesuffix(OF_FAULTS)
    wrong = InputError([Problem("--budget", "", repr(part), WANTED, "--budget p99=2ms,slowdown=1%")])
    if key not in PARSERS:
        raise wrong
    try:
        most = float(PARSERS[key](value))
    except InputError:
        raise wrong from None
    return Limit("slowdown_percent" if key == SLOWDOWN else f"stall_{key}_ns", most, part)


def _percent(text: str) -> float:
    return 100.0 * parse_fraction(text)


PARSERS: dict[str, Callable[[str], float]] = {**dict.fromkeys(STALLS, parse_duration), SLOWDOWN: _percent}
