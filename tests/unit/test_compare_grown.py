"""Seeds that a comparison gets by itself: as many as their work affords, the same on all machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hostsim.study.compare.axes import read_axes
from hostsim.study.compare.grown import SEEDS, grown
from hostsim.study.compare.plan import Plan, Request, make_plan, with_seeds
from hostsim.study.compare.runner import Failure, Outcome
from hostsim.study.compare.work import BASE_WORK
from tests.helpers.command import QUICK

AXES = read_axes(["migration.bandwidth=16MiB/s,32MiB/s"])


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "quick.toml").write_text(QUICK)
    return make_plan(Request(tmp_path / "quick.toml", AXES, seed=7, by_work=True))


def outcome_of(plan: Plan, pages: int) -> Outcome:
    """Each run has sent ``pages``, in no time."""
    figures = {"status": "completed", "total_time_ms": 0, "normal_pages_sent": pages}
    return Outcome({run.key: figures for run in plan.runs}, {}, frozenset())


def test_more_seeds_are_the_same_runs_and_others(plan: Plan) -> None:
    asked = make_plan(replace(plan.request, n_seeds=3))
    more = with_seeds(plan, 3)
    assert more.seeds == asked.seeds == (7, 8, 9)
    assert [(run.combination, run.key) for run in more.runs] == [(run.combination, run.key) for run in asked.runs]
    assert (more.name, more.combinations) == (asked.name, asked.combinations)


@pytest.mark.parametrize(
    ("pages", "seeds"), [(1, SEEDS), (BASE_WORK // 2 // SEEDS, SEEDS), (BASE_WORK // 2 // 3, 3), (BASE_WORK // 2, 1)]
)
def test_work_decides_how_many(plan: Plan, pages: int, seeds: int) -> None:
    more = grown(plan, outcome_of(plan, pages), None)
    assert (1 if more is None else len(more.seeds)) == seeds
    assert more is None or grown(more, outcome_of(more, pages), None) is None, "once"


def test_a_number_that_was_asked_for_is_kept(plan: Plan) -> None:
    asked = replace(plan, request=replace(plan.request, by_work=False))
    assert grown(asked, outcome_of(asked, 1), None) is None


def test_a_run_that_failed_ends_it(plan: Plan) -> None:
    done = outcome_of(plan, 1)
    failed = Outcome(done.figures, {plan.runs[0].key: Failure("a law broke", 3)}, frozenset())
    assert grown(plan, failed, None) is None


def test_max_runs_holds(plan: Plan) -> None:
    few = replace(plan, request=replace(plan.request, max_runs=7))
    more = grown(few, outcome_of(few, 1), None)
    assert more is not None
    assert len(more.seeds) == 3


def test_a_host_that_ages_or_reclaims_memory_gets_one(tmp_path: Path) -> None:
    """Its pages are not counted as work, so no rule says how long more runs take."""
    (tmp_path / "aged.toml").write_text(f'{QUICK}\n[ageing]\npolicy = "idle"\nperiod = "1s"\n')
    plan = make_plan(Request(tmp_path / "aged.toml", AXES, overrides=("vm.dirty_tracking=get-dirty-log",), by_work=True))
    assert grown(plan, outcome_of(plan, 1), None) is None
