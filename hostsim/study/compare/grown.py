"""Seeds added to a comparison: as many as their work affords, or ten at a time until intervals are narrow."""

from __future__ import annotations

from hostsim.study.compare.plan import Plan, with_seeds
from hostsim.study.compare.runner import Outcome
from hostsim.study.compare.summary import Summary, summarise
from hostsim.study.compare.work import BASE_WORK, work_of
from hostsim.study.statistics import BATCH, is_narrow

SEEDS = 5
"""Seeds of each combination where no number was asked for and their work is not too much."""


def first_plan(plan: Plan) -> Plan:
    """``plan`` with at least as many seeds as one batch. InputError."""
    return with_seeds(plan, max(BATCH, len(plan.seeds)))


def grown(plan: Plan, outcome: Outcome, within: float | None) -> Plan | None:
    """``plan`` with more seeds; None if it has enough, or a run failed.

    within: half width of the intervals of the total time that is wanted, as a share; None: as narrow as the work allows.
    """
    if outcome.failures:
        return None
    return _afforded(plan, outcome) if within is None else _narrower(plan, outcome, within)


def all_narrow(summary: Summary, within: float) -> bool:
    """Whether half of the interval of each mean total time is at most ``within`` of it; rows without one count as narrow."""
    times = [[value for value in row.values("total_time_ms") if value is not None] for row in summary.rows]
    return all(not values or is_narrow(values, within) for values in times)


def grown_words(summary: Summary, within: float) -> str:
    """A sentence: the rule by which seeds were added to ``summary``, and whether its intervals are as narrow as ``within``.

    within: half width of the intervals of the total time, as a share of the mean.
    """
    n, share = len(summary.seeds), f"{100 * within:g} % of its mean"
    if all_narrow(summary, within):
        return f"Seeds were added ten by ten, to {n}, until half of each interval of the total time was at most {share}."
    return f"After {n} seeds half of some interval of the total time is still more than {share}; --max-runs allows no more."


def _narrower(plan: Plan, outcome: Outcome, within: float) -> Plan | None:
    """A batch of seeds more, unless all intervals are narrow or --max-runs allows no more."""
    seeds = len(plan.seeds) + BATCH
    if all_narrow(summarise(plan, outcome.figures), within) or seeds * len(plan.combinations) > plan.request.max_runs:
        return None
    return with_seeds(plan, seeds)


def _afforded(plan: Plan, outcome: Outcome) -> Plan | None:
    """The usual number of seeds, fewer where all runs were more work than ``BASE_WORK``."""
    if not plan.request.by_work or any(_is_uncounted(plan, i) for i in range(len(plan.runs))):
        return None
    work = sum(work_of(outcome.figures[run.key] or {}, run.scenario) for run in plan.runs)
    most = min(SEEDS, BASE_WORK // max(1, work), plan.request.max_runs // len(plan.combinations))
    return with_seeds(plan, most) if most > 1 else None


def _is_uncounted(plan: Plan, index: int) -> bool:
    """Whether the figures leave out work of a run: pages that the host ages or reclaims are not counted."""
    scenario = plan.runs[index].scenario
    return scenario.ageing is not None or scenario.host.memory is not None
