"""Targets, and the least change that reaches one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import hostsim
from hostsim.core.errors import InputError
from hostsim.report.charts.chart import Bars
from hostsim.report.html.kinds.solve import changes_chart
from hostsim.report.solve_report import command_lines, commands_of, frontier_table, runs_grid, solution_lines
from hostsim.scenario.assumed import assumptions_of
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.given import Given
from hostsim.study.predict.guest import Guest, scenario_of, tracking_overrides
from hostsim.study.predict.knobs import KNOBS
from hostsim.study.predict.margins import margins_of
from hostsim.study.solve import frontier
from hostsim.study.solve.candidates import Candidate, Search, goal_of, may_reach, throttled, why_not, with_mode
from hostsim.study.solve.solution import Cell
from hostsim.study.solve.solve import _assumptions
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
    surely = [cell for cell in found.frontier if cell.confirmed]
    assert surely
    assert all(cell.runs == 4 and cell.low < cell.share <= cell.high for cell in surely)
    assert all(cell.share in (0.0, 1.0) for cell in found.frontier if not cell.runs)
    alone = {(limit.value, limit.reached), (limit.today, speed.reached)}
    held = {(cell.downtime_limit_ms, cell.reached) for cell in surely}
    assert {(value, share.k) for value, share in alone if share is not None} <= held


def test_a_mechanism_that_compresses_names_the_assumed_ratio() -> None:
    stuck = KNOBS[0].turned(small_guest(), 8_000)
    found = hostsim.solve(stuck, "converge=0.9", vary=("mode",), reps=2, workers=1)
    (change,) = found.changes
    assert change.helps
    assumed = [text for text in found.assumptions if "compress pages to" in text]
    assert bool(assumed) == ("multifd-z" in str(change.value))
    compressed = stuck.model_copy(update={"migration": stuck.migration.model_copy(
        update={"multifd": True, "multifd_compression": "zlib"})})  # fmt: skip
    brought = _assumptions(stuck, [Candidate(change, compressed)], [change])
    assert sum("zlib is assumed to compress" in text for text in brought) == 1
    refuted = replace(change, obstacle="refuted")
    assert _assumptions(stuck, [Candidate(refuted, compressed)], [refuted]) == assumptions_of(stuck)


def test_a_target_out_of_reach_says_what_stands_in_the_way() -> None:
    stuck = KNOBS[0].turned(small_guest(), 50_000)
    found = hostsim.solve(stuck, "converge=0.9,downtime<=40ms", vary=("downtime-limit",), reps=2, workers=1)
    assert found.best is None
    text = "\n".join(solution_lines(found))
    assert "no change that was tried reaches the target" in text
    assert "Obstacle" in text


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


def test_runs_move_the_frontier_where_they_refute_the_computation() -> None:
    base = KNOBS[0].turned(small_guest(), 8_000)
    cells = tuple(Cell(2.5e7, limit, True, 1.0, limit == 20.0, settings={}) for limit in (20.0, 40.0, 5_000.0))
    found = frontier.confirmed(base, Target(0.9, 60_000.0), cells, 3, Bench(0))
    shares = [(cell.runs, cell.share, cell.confirmed) for cell in found]
    assert shares == [(2, 0.0, False), (2, 0.0, False), (3, 1.0, True)]


def test_each_answer_has_a_command_that_runs_it() -> None:
    found = replace(solved(), command="hostsim run my.toml --set vm.vcpus=2 --seed 7")
    commands = [one["command"] for one in commands_of(found)]
    assert "hostsim run my.toml --set vm.vcpus=2 --seed 7 --set link.bandwidth=320Mbit/s" in commands
    assert len(commands) == 3 + 2  # three changes that help, two pairs on the frontier
    lines = command_lines(commands_of(found))
    assert all(len(line) <= 80 for line in lines)
    told = "\n".join(lines).replace(" \\\n", "")
    assert all(" ".join(command.split()) in " ".join(told.split()) for command in commands)


def test_the_command_of_a_guest_of_options_runs_the_saved_file() -> None:
    options = Given(None, Guest(ram="64MiB"), (), None)
    assert options.command("out/x-solve/scenario.toml") == "hostsim run out/x-solve/scenario.toml"
    given = Given(Path("my vm.toml"), Guest(downtime_limit="80ms"), ("vm.vcpus=2",), 3)
    assert given.command("") == (
        "hostsim run 'my vm.toml' --set migration.downtime_limit=80ms --set vm.vcpus=2 --seed 3"
    )


def test_the_table_of_pairs_says_how_sure_each_is() -> None:
    grid = runs_grid(solved())
    assert [row[2:5] for row in grid.cells] == [("0.95 [0.76, 0.99]", "20", "other seeds")] * 2
    assert frontier_table(solved()).columns["p_low"].tolist()[2] == pytest.approx(0.764, abs=0.001)


def _throttled_guest(tracking: str = "") -> Guest:
    """16 MiB at 200 Mbit/s, of which 4 MiB are written at 262 Mbit/s: a throttle of about a quarter lets it converge."""
    return Guest("16MiB", "200Mbit", "8000 pages/s", "4MiB", "20ms", tracking=tracking)


@pytest.mark.parametrize(
    ("tracking", "found"), [("", "initially-all-set"), ("get-dirty-log", "get-dirty-log"), ("tcg", "tcg")]
)
def test_a_throttle_is_searched_under_the_log_that_the_guest_has(tracking: str, found: str) -> None:
    """Under TCG a sync waits for throttled vCPUs; a scenario that names no log is one of KVM, as in predict --mode."""
    base, _ = scenario_of(_throttled_guest(tracking))
    one = throttled(base, Target(), 40)
    assert one is not None
    assert one.vm.dirty_tracking == found


def test_a_throttle_says_under_which_log_it_was_run() -> None:
    base, _ = scenario_of(_throttled_guest())
    found = hostsim.solve(base, "converge=0.9", vary=("throttle",), reps=2, workers=1)
    (change,) = found.changes
    assert change.helps
    assert change.settings is not None
    assert change.settings["vm.dirty_tracking"] == "initially-all-set"
    lower = throttled(base, Target(), int(change.value or 0) - 10) if change.value not in (20.0, None) else None
    assert lower is None or not Search(Target(), Bench(1), 1e9).reaches(lower)
    assert "initially-all-set, as the scenario names none" in "\n".join(solution_lines(found))


def test_a_search_that_is_too_much_work_says_how_much() -> None:
    search = Search(Target(), Bench(1), 1000)
    assert not search.reaches(small_guest())
    assert search.bench.done == 0
    assert search.dear_words == "a run is work of 1 million pages and the search has 1 million pages"


def test_a_mechanism_that_needs_rings_gets_them() -> None:
    base, _ = scenario_of(_throttled_guest())
    assert tracking_overrides(base.vm, "dirty-limit") == ["vm.dirty_tracking=dirty-ring"]
    assert tracking_overrides(base.vm, "postcopy") == []


def test_a_mechanism_that_ends_any_migration_is_run_whatever_is_computed() -> None:
    """The computation gives post-copy three passes, which is more time than a run of the search has."""
    base, _ = scenario_of(Guest("64GiB", "10Gbit", "15Gbit", "8GiB"))
    switched, wider = (with_mode(base, name, Target()) for name in ("postcopy", "multifd"))
    assert switched is not None
    assert wider is not None
    assert may_reach(switched, Target())
    assert not may_reach(wider, Target())


def test_a_downtime_that_leaves_no_limit_says_why() -> None:
    """It said that the search had run out of work, and that the limit was 1 ms now."""
    base, _ = scenario_of(Guest("16MiB", "200Mbit", "2Gbit", "16MiB"))
    found = hostsim.solve(base, "converge=0.9,downtime<=10ms", vary=("downtime-limit",), reps=2, workers=1)
    (change,) = found.changes
    assert change.today == 300
    assert "a downtime of 10 ms leaves a limit of 1 ms at most, and that misses it" in change.obstacle


def test_a_value_that_was_too_dear_to_run_is_told_as_computed() -> None:
    base, _ = scenario_of(Guest("2TiB", "100Gbit", "20Gbit", "300GiB"))
    (margin,) = margins_of(base, False, goal_of(base, Target()), Bench(1), [KNOBS[2]], 4e8)
    text = why_not(base, margin, Target())
    assert text.startswith("by computation 34")
    assert text.endswith("the search has 400 million pages")


def test_a_downtime_that_is_missed_asks_for_a_shorter_limit() -> None:
    """With 300 ms QEMU stops the guest 373 ms. It said that no limit up to 156 ms reached 200 ms, which 78 ms does."""
    base, _ = scenario_of(Guest("64MiB", "200Mbit", "40Mbit", "16MiB"))
    found = hostsim.solve(base, "converge=0.9,downtime<=200ms", vary=("downtime-limit",), reps=3, workers=1)
    (change,) = found.changes
    assert change.helps
    assert change.today == 300
    assert change.value in (156.0, 78.0, 39.0, 20.0)
    assert found.best == change


def test_advice_beside_a_shorter_limit_names_the_limit() -> None:
    """Runs of a faster link took the longest limit that the target leaves; the command left the scenario's longer one."""
    base, _ = scenario_of(Guest("64MiB", "200Mbit", "400Mbit", "32MiB"))
    kinds = ("bandwidth", "downtime-limit")
    found = hostsim.solve(base, "converge=0.9,downtime<=200ms", vary=kinds, reps=2, workers=1)
    assert all("migration.downtime_limit=" in one["command"] for one in commands_of(found))
    faster = next(change for change in found.changes if change.kind == "bandwidth")
    assert faster.helps
    assert "together with a downtime limit of 156 ms" in "\n".join(solution_lines(found))
