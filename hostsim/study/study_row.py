"""What studies of cases and seeds have in common: a row a case, and the options that say how all of them run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hostsim.errors import InputError, Problem
from hostsim.host.latency import Latencies, merged
from hostsim.mmu.cost_file import is_path
from hostsim.mmu.costs import sheet_names
from hostsim.mmu.era import era_names
from hostsim.study.compare.spread import Spread, spread_of
from hostsim.study.option_text import listed, load_of, names, quantity, whole_numbers
from hostsim.units import parse_rate

Case = TypeVar("Case")
VCPUS_MAX, REPS_MAX = 256, 10_000


@dataclass(frozen=True)
class StudyRow(Generic[Case]):
    """settings as text; figures: over the seeds; latencies: of all seeds together."""

    case: Case
    settings: dict[str, str]
    figures: dict[str, Spread]
    latencies: dict[str, Latencies]

    def mean(self, name: str) -> float:
        """The mean of a figure."""
        return self.figures[name].mean


def spreads_of(trials: Sequence[Mapping[str, float]], names_of: Sequence[str]) -> dict[str, Spread]:
    """Figures of that name, trial by trial, as one each; those that no trial has are left out."""
    found = {name: spread_of([figures[name] for figures in trials]) for name in names_of}
    return {name: spread for name, spread in found.items() if spread is not None}


def latencies_of(trials: Sequence[Mapping[str, Latencies]]) -> dict[str, Latencies]:
    """Of all trials together, by name."""
    return {name: merged(latencies[name] for latencies in trials) for name in trials[0]}


def option_problems(era: str, sheet: str, vcpus: str, load: str, rate: tuple[str, str], reps: int) -> Iterator[Problem]:
    """What is wrong with options that every study has, as typed; rate: with an example of one."""
    yield from names("--era", era, era_names())
    yield from names("--sheet", sheet, (sheet,) if is_path(sheet) else sheet_names())
    yield from whole_numbers("--vcpus", vcpus, 1, VCPUS_MAX)
    yield from whole_numbers("--reps", str(reps), 1, REPS_MAX)
    yield from quantity("--rate", rate[0], parse_rate, rate[1])
    for part in listed(load):
        try:
            load_of(part)
        except InputError as error:
            yield from error.problems
