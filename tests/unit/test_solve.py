"""Targets, and the least change that reaches one."""

from __future__ import annotations

import pytest

import hostsim
from hostsim.core.errors import InputError
from hostsim.report.charts.chart import Bars
from hostsim.report.charts.solve import changes_chart
from hostsim.report.solve_words import solution_lines
from hostsim.study.predict.knobs import KNOBS
from hostsim.study.solve.target import Target, read_target
from tests.helpers.predicted import run_figures, small_guest, solved


def test_a_target_is_read_whole() -> None:
    assert read_target("converge=0.95,downtime<=500ms,total<=10min") == Target(0.95, 500.0, 600_000.0)
    assert read_target(" total <= 1min ") == Target(0.95, None, 60_000.0)
    assert read_target(Target(0.5, 100.0, None).text) == Target(0.5, 100.0, None)


@pytest.mark.parametrize(
    "text", ["", "converge", "converge<=1", "converge=1", "converge=0", "downtime=5ms", "downtime<=5", "total<=0s",
             "speed<=1s", "total<=1s,total<=2s"],
)  # fmt: skip
def test_a_target_that_says_nothing_clear_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--target"):
        read_target(text)


def test_a_run_meets_a_target_within_all_limits() -> None:
    assert Target(0.95, 300.0, 5000.0).met(run_figures(0))
    assert not Target(0.95, 300.0, 5000.0).met(run_figures(1))
    assert not Target().met(run_figures(0, "active"))


def test_the_least_change_is_confirmed_with_other_seeds() -> None:
    stuck = KNOBS[0].turned(small_guest(), 8_000)
    found = hostsim.solve(stuck, "converge=0.9,downtime<=200ms", vary=("downtime-limit", "bandwidth"), reps=4, workers=1)
    assert not found.is_met
    limit, speed = found.changes
    assert limit.helps
    assert isinstance(limit.value, float)
    assert 20 < limit.value <= 200
    assert speed.helps
    assert not set(limit.seeds) & set(found.seeds)
    assert found.best == limit
    assert any(cell.computed for cell in found.frontier)
    assert any(cell.runs and cell.reached == cell.runs for cell in found.frontier)


def test_a_target_out_of_reach_says_what_stands_in_the_way() -> None:
    stuck = KNOBS[0].turned(small_guest(), 50_000)
    found = hostsim.solve(stuck, "converge=0.9,downtime<=40ms", vary=("downtime-limit",), reps=2, workers=1)
    assert found.best is None
    text = "\n".join(solution_lines(found))
    assert "no change that was tried reaches the target" in text
    assert "In the way" in text


def test_a_target_that_is_reached_needs_no_change() -> None:
    found = hostsim.solve(small_guest(), "converge=0.9", reps=3, workers=1)
    assert found.is_met
    assert found.changes == ()
    assert "without a change" in solution_lines(found)[0]


def test_an_unknown_kind_of_change_is_refused() -> None:
    with pytest.raises(InputError, match="--vary"):
        hostsim.solve(small_guest(), vary=("luck",))


def test_the_answer_names_commands_and_obstacles() -> None:
    text = "\n".join(solution_lines(solved()))
    assert "virsh migrate-setmaxdowntime DOMAIN 305" in text
    assert "does not reach it" in text
    assert "--reps 73" in text


def test_each_change_has_a_bar_with_the_runs_that_reach_the_target() -> None:
    found = solved()
    (bars,) = changes_chart(found.today, found.changes).panels
    assert isinstance(bars, Bars)
    drawn = dict(zip(bars.rows, bars.groups[0][1], strict=True))
    assert drawn["unchanged"].words == f"{found.today.k} of {found.today.n} runs"
    for change, bar in zip(found.changes, bars.groups[0][1][1:], strict=True):
        if change.reached is None:
            assert bar.words == change.obstacle
        else:
            assert (bar.value, bar.low) == (100 * change.reached.share, 100 * change.reached.low)
