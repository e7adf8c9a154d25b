"""``--until-ci``: seeds added to a comparison, ten at a time, until the interval of every total time is narrow enough."""

from __future__ import annotations

from dataclasses import replace

from hostsim.study.compare.plan import Plan, make_plan
from hostsim.study.compare.runner import Outcome
from hostsim.study.compare.summary import Summary, summarise
from hostsim.study.statistics import BATCH, is_narrow


def first_plan(plan: Plan) -> Plan:
    """``plan`` with at least as many seeds as one batch. InputError."""
    return make_plan(replace(plan.request, n_seeds=max(BATCH, plan.request.n_seeds)))


def grown(plan: Plan, outcome: Outcome, within: float) -> Plan | None:
    """``plan`` with a batch of seeds more; None once all intervals are narrow, or where --max-runs allows no more."""
    if all_narrow(summarise(plan, outcome.figures), within):
        return None
    seeds = plan.request.n_seeds + BATCH
    if seeds * len(plan.combinations) > plan.request.max_runs:
        return None
    return make_plan(replace(plan.request, n_seeds=seeds))


def all_narrow(summary: Summary, within: float) -> bool:
    """Whether half of the interval of each mean total time is at most ``within`` of it; rows without one count as narrow."""
    times = [[value for value in row.values("total_time_ms") if value is not None] for row in summary.rows]
    return all(not values or is_narrow(values, within) for values in times)


def grown_words(summary: Summary, within: float) -> str:
    """The rule that ended the runs."""
    n, share = len(summary.seeds), f"{100 * within:g} % of its mean"
    if all_narrow(summary, within):
        return f"Seeds were added ten by ten, to {n}, until half of each interval of the total time was at most {share}."
    return f"After {n} seeds half of some interval of the total time is still more than {share}; --max-runs allows no more."
