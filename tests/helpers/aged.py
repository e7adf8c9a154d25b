"""Rows of `hostsim age` in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hostsim.study.ageing.measure import AGED_RUN, age_figures
from hostsim.study.ageing.options import AgeOptions
from hostsim.study.ageing.outcome import AgeRow, age_rows
from hostsim.study.ageing.preset import AgePlan, age_plan
from hostsim.study.compare.runner import run_plan, runs_to_do

SMALL = AgeOptions(policy="idle", mem_per_vcpu="1MiB", period="20ms")


def rows_of(plan: AgePlan, workers: int = 1) -> list[AgeRow]:
    """All rows of ``plan``."""
    outcome = run_plan(runs_to_do(plan.plan, {}), {}, workers, measure=plan.plan.request.measure)
    assert not outcome.failures
    return age_rows(plan, outcome.figures)


def aged_figures(seed: int = 1, **options: Any) -> dict[str, float]:
    """Figures of the one row that SMALL and ``options`` make."""
    plan = age_plan(replace(SMALL, seed=seed, **options))
    (pair,) = plan.pairs
    aged, plain = (AGED_RUN.take(plan.runs_of(which)[0].scenario, lambda *_: None)["figures"] for which in pair)
    return age_figures(aged, plain)
