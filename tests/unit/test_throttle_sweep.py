"""hostsim sweep auto-converge: its runs, the settings that no other beats, and whether a throttle can help."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.report.sweep_reports import content_of, sweep_table, verdict_lines, write_sweep
from hostsim.scenario import load_scenario
from hostsim.study.compare.plan import Plan, Request
from hostsim.study.compare.runner import Outcome, run_plan, runs_to_do
from hostsim.study.compare.summary import Row, Summary, summarise
from hostsim.study.sweeps import SWEEPS
from hostsim.study.throttle_sweep import bound_of, sweep_plan, tuned, unbeaten

SMALL = """
[vm]
memory = "32MiB"
[[vm.workload]]
pattern = "uniform"
size = "24MiB"
write_rate = "20k/s"
{pacing}
[migration]
bandwidth = "64MiB/s"
timeout = "30s"
downtime_limit = "20ms"
"""
VALUES = {"max": "99", "initial": "20,60", "increment": "20"}


def ran(tmp_path: Path, pacing: str = "") -> tuple[Plan, Outcome, Summary]:
    file = tmp_path / "vm.toml"
    file.write_text(SMALL.format(pacing=pacing))
    plan = sweep_plan(SWEEPS["auto-converge"], Request(file, (), name="auto-converge"), VALUES)
    outcome = run_plan(runs_to_do(plan, {}), {}, 1, measure=plan.request.measure)
    return plan, outcome, summarise(plan, outcome.figures)


def test_the_first_row_has_no_throttle_and_the_others_have_theirs(tmp_path: Path) -> None:
    plan, outcome, summary = ran(tmp_path)
    assert [one.scenario.migration.auto_converge for one in plan.runs] == [False, True, True]  # type: ignore[union-attr]
    assert not summary.rows[0].converges
    lines = verdict_lines(plan, summary)
    first = "VERDICT: 2 of 2 settings of auto-converge complete the migration; without auto-converge it does not complete."
    assert lines[0] == first
    assert not any("cannot help" in line for line in lines)
    slow, fast = tuned(summary)
    assert fast.spread("total_time_ms").mean < slow.spread("total_time_ms").mean  # type: ignore[union-attr]
    reached = [row.spread("throttle.to_20_percent_ms") for row in (slow, fast)]
    assert all(spread is not None for spread in reached)
    assert reached[1].mean == reached[0].mean  # type: ignore[union-attr]
    assert "to 20 %" in [column.title for column in sweep_table(summary).columns]
    paths = write_sweep(tmp_path / "out", content_of(plan, outcome, summary), plan, outcome, summary)
    assert {"auto-converge.json", "auto-converge.csv", "runs.csv", "verdict.txt"} <= {path.name for path in paths}


def test_writes_by_the_clock_are_told(tmp_path: Path) -> None:
    plan, _, summary = ran(tmp_path, 'pacing = "open"\ncatch_up = 20.0')
    bound = bound_of(plan.runs[0].scenario)
    assert (bound.share, bound.from_percent) == (0.0, pytest.approx(95.0))
    told = [line for line in verdict_lines(plan, summary) if "cannot help" in line]
    assert len(told) == 1
    assert "below 95 %: 100 % of the page writes are not bound to the CPU" in told[0]


def test_a_row_that_another_beats_in_both_is_left_out() -> None:
    def row(total: float, lost: float) -> Row:
        return Row({}, ({"status": "completed", "total_time_ms": total, "guest_lost_ms": lost},))

    best = unbeaten([row(10, 5), row(20, 3), row(21, 4), row(10, 5), row(30, 1)])
    assert [one.by_seed[0]["total_time_ms"] for one in best] == [10, 20, 30]  # type: ignore[index]


@pytest.mark.parametrize("values", [{"initial": "0,10"}, {"increment": "x"}, {"max": "100"}])
def test_no_throttle_is_refused(values: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    file.write_text(SMALL.format(pacing=""))
    with pytest.raises(InputError, match=f"--{next(iter(values))}"):
        sweep_plan(SWEEPS["auto-converge"], Request(file, ()), VALUES | values)


def test_a_mixed_guest_is_bound_by_its_share(tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    more = '[[vm.workload]]\npattern = "uniform"\nname = "clock"\nwrite_rate = "5k/s"\npacing = "open"\ncatch_up = 4.0\n'
    file.write_text(SMALL.format(pacing=more))
    bound = bound_of(load_scenario(file))
    assert (bound.share, bound.from_percent) == (pytest.approx(0.8), pytest.approx(75.0))
