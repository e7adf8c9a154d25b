"""Figures of each combination over its runs, and their differences from the baseline, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hostsim.results.mechanism import is_converged
from hostsim.study.compare.figures import NO_MIGRATION, OUTCOMES, RAN_OUT, Figures, figure_names
from hostsim.study.compare.plan import Plan
from hostsim.study.statistics import Spread, spread_of

Effect = Literal["less", "more", "same", "within noise", "not known"]
"""How a combination differs from another; not known: too few seeds to separate an effect from chance."""


@dataclass(frozen=True)
class Difference:
    """One combination against another over the seeds both have: ratio of means, and the paired differences."""

    ratio: float | None
    spread: Spread
    effect: Effect


@dataclass(frozen=True)
class Row:
    """One combination. ``by_seed``: figures of each seed, None where its run failed."""

    settings: Mapping[str, str]
    by_seed: tuple[Figures | None, ...]

    @property
    def statuses(self) -> tuple[str, ...]:
        """How each seed's run ended."""
        return tuple("failed" if figures is None else str(figures["status"]) for figures in self.by_seed)

    @property
    def n_converged(self) -> int:
        """Seeds that completed (without a migration: that ran)."""
        return sum(is_converged(status) or status == NO_MIGRATION for status in self.statuses)

    @property
    def converges(self) -> bool:
        """Whether the run completed with every seed."""
        return self.n_converged == len(self.by_seed)

    def values(self, name: str) -> list[float | None]:
        """Figure ``name`` for each seed, None where the run lacks the figure or the figure does not count."""
        return [_counted(figures, name) for figures in self.by_seed]

    def spread(self, name: str) -> Spread | None:
        """The spread of figure ``name`` over the seeds that have it."""
        return spread_of([value for value in self.values(name) if value is not None])

    def against(self, other: Row, name: str) -> Difference | None:
        """Figure ``name`` of this combination against ``other``; None if no seed has the figure in both."""
        both = zip(self.values(name), other.values(name), strict=True)
        pairs = [(mine, theirs) for mine, theirs in both if mine is not None and theirs is not None]
        spread = spread_of([mine - theirs for mine, theirs in pairs])
        if spread is None:
            return None
        base = sum(theirs for _, theirs in pairs)
        ratio = sum(mine for mine, _ in pairs) / base if base > 0 else None
        return Difference(ratio, spread, _effect(spread))


@dataclass(frozen=True)
class Summary:
    """All combinations in the order of the plan."""

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]

    def baseline(self, name: str) -> int:
        """Index of the combination that figure ``name`` is compared with: the first that has the figure."""
        return next((i for i, row in enumerate(self.rows) if row.spread(name) is not None), 0)

    def against_baseline(self, row: Row, name: str) -> Difference | None:
        """``row`` against the baseline of ``name``; None if either has no such figure."""
        return row.against(self.rows[self.baseline(name)], name)

    @property
    def has_migration(self) -> bool:
        """Whether any run had a migration."""
        return any(status not in {NO_MIGRATION, RAN_OUT, "failed"} for row in self.rows for status in row.statuses)

    def names(self) -> list[str]:
        """Every figure that any run has, the judged figures first."""
        runs = [figures for row in self.rows for figures in row.by_seed if figures is not None]
        return figure_names(runs)


def summarise(plan: Plan, figures: Mapping[str, Figures | None]) -> Summary:
    """``figures``: by key of the run, None for one that failed."""
    n = len(plan.seeds)
    found = [figures.get(run.key) for run in plan.runs]
    settings = [plan.settings(i) for i in range(len(plan.combinations))]
    return Summary(tuple(Row(one, tuple(found[i * n : (i + 1) * n])) for i, one in enumerate(settings)), plan.seeds)


def _counted(figures: Figures | None, name: str) -> float | None:
    if figures is None or (name in OUTCOMES and figures["status"] != "completed"):
        return None
    value = figures.get(name)
    return float(value) if isinstance(value, int | float) else None


def _effect(spread: Spread) -> Effect:
    if spread.low == 0.0 == spread.high or (spread.n == 1 and spread.mean == 0.0):
        return "same"
    if spread.is_zero_within is None:
        return "not known"
    if spread.is_zero_within:
        return "within noise"
    return "less" if spread.mean < 0.0 else "more"
