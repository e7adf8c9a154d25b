"""A row of a study: one case, its figures over all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hostsim.core.latency import Latencies, merged
from hostsim.study.statistics import Spread, spread_of

Case = TypeVar("Case")


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
    """The spread over the trials of each figure in ``names_of``; a figure that no trial has is left out."""
    found = {name: spread_of([figures[name] for figures in trials]) for name in names_of}
    return {name: spread for name, spread in found.items() if spread is not None}


def latencies_of(trials: Sequence[Mapping[str, Latencies]]) -> dict[str, Latencies]:
    """Latencies of all trials together, by name."""
    return {name: merged(latencies[name] for latencies in trials) for name in trials[0]}
