"""Proactive reclaim: pages that go, pages that come back, and both during a migration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.scenario import Scenario
from hostsim.scenario.load import load_scenario
from hostsim.scenario.toml_text import scenario_text
from hostsim.study.compare.runner import replay, runs_to_do
from hostsim.study.reclaim.budget import read_budget
from hostsim.study.reclaim.measure import RECLAIM_RUN, reclaim_figures
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.reclaim.outcome import ReclaimRow, row_verdict, set_point, verdict_lines
from hostsim.study.reclaim.preset import ReclaimPlan, reclaim_plan, reclaim_scenarios
from hostsim.study.statistics import Spread

SMALL = ReclaimOptions(
    memory="1MiB", rate="1k/s", vcpus=1, ages="100ms,300ms", measure="600ms", policy="idle", bandwidth="16Mbit/s",
    timeout="4s",
)  # fmt: skip
PAGE = 4096


def taken(scenario: Scenario) -> dict[str, Any]:
    """Figures of one run."""
    found: dict[str, Any] = RECLAIM_RUN.take(scenario, lambda *_: None)["figures"]
    return found


def figures(number: int = 0, **options: Any) -> dict[str, float]:
    """Figures of row ``number`` that SMALL and ``options`` make."""
    plan = reclaim_plan(replace(SMALL, **options))
    run, plain = (taken(plan.runs_of(which)[0].scenario) for which in plan.pairs[number])
    return reclaim_figures(run, plain)


def test_what_is_never_used_goes_and_stays_away() -> None:
    _, table = reclaim_scenarios(SMALL)[0]
    table["vm"]["workload"] = [{**table["vm"]["workload"][0], "size": "4KiB"}]
    got = taken(Scenario.model_validate(table))
    assert got["reclaimed_bytes"] == 255 * PAGE
    assert got["cold_bytes"] == pytest.approx(255 * PAGE)
    assert (got["refaults_per_s"], got["work_share"], got["stall_p99_ns"]) == (0.0, pytest.approx(1.0, abs=1e-3), 0.0)


def test_an_older_age_takes_less_and_costs_less() -> None:
    young, old = figures(0), figures(1)
    for figure in ("cold_bytes", "reclaimed_bytes", "refaults_per_s", "slowdown_percent", "swapped_out_per_s"):
        assert young[figure] > old[figure] > 0, figure
    assert young["reclaimed_bytes"] <= young["cold_bytes"]


def test_memory_is_in_balance_what_goes_comes_back() -> None:
    got = figures(measure="2s")
    assert got["swapped_out_per_s"] == pytest.approx(got["refaults_per_s"], rel=0.25)


def test_a_migration_takes_longer_and_reads_pages_back() -> None:
    plan = reclaim_plan(replace(SMALL, during_migration=True))
    run, plain = (taken(plan.runs_of(which)[0].scenario) for which in plan.pairs[2])
    got = reclaim_figures(run, plain)
    assert run["completed"]
    assert plain["completed"]
    assert got["migration_ns"] > got["plain_migration_ns"]
    assert got["migration_bytes"] > got["plain_migration_bytes"] > 256 * PAGE
    assert got["read_back_pages"] > 50
    assert got["dirtied_by_swap_in_pages"] > 0


def test_a_migration_that_does_not_complete_is_given_up() -> None:
    plan = reclaim_plan(replace(SMALL, during_migration=True, bandwidth="1Mbit/s", timeout="500ms"))
    run = taken(plan.runs_of(plan.pairs[2][0])[0].scenario)
    assert not run["completed"]
    assert 500_000_000 <= run["migration_ns"] < 1_000_000_000, "the time-out ends the run, not the cap"


@pytest.mark.parametrize("policy", ["mglru-walk", "mglru-no-walk"])
def test_mglru_reclaims_too(policy: str) -> None:
    got = figures(policy=policy)
    assert 64 * PAGE < got["reclaimed_bytes"] < 256 * PAGE
    assert (got["pass_mean_ns"] == 0.0) is (policy == "mglru-no-walk"), "a walk that asks about no page takes no time"


def test_damon_reclaims_regions_that_are_idle() -> None:
    """A guest that uses the first half of its memory: the other half goes and does not come back."""
    got = figures(1, used="50%", load="uniform", rate="20k/s", policy="damon", a_bits=False)
    assert got["reclaimed_bytes"] == pytest.approx(128 * PAGE, rel=0.1)
    assert got["refaults_per_s"] < 5.0
    assert got["pass_mean_ns"] > 0


def test_a_task_that_waits_asleep_is_watched_as_well() -> None:
    halting, asleep = (figures(async_pf=on) for on in (False, True))
    assert asleep["refaults_per_s"] == pytest.approx(halting["refaults_per_s"], rel=0.3)
    assert asleep["stall_p99_ns"] > 0


def test_a_guest_without_reclaim_runs_once_for_all_policies() -> None:
    plan = reclaim_plan(replace(SMALL, policy="idle,damon,mglru", during_migration=True))
    assert len(plan.settings) == 12
    assert len(runs_to_do(plan.plan, {})) == 4 + 12
    for row, setting in enumerate(plan.settings):
        run, plain = (plan.runs_of(which)[0].scenario for which in plan.pairs[row])
        assert [both.host.memory.reclaim.warm_up for both in (run, plain)] == [warm_up_ns(setting["age"])] * 2
        assert plain.host.memory is not None
        assert not plain.host.memory.pages_out
        assert (plain.migration is None) is (setting["migration"] == "no")


def warm_up_ns(age: str) -> int:
    """Two ages, and two and a half scans of 100 ms."""
    return {"100ms": 450, "300ms": 850}[age] * 1_000_000


@pytest.mark.parametrize("other", [{"measure": "700ms"}, {"scan": "50ms"}, {"ages": "200ms,300ms", "scan": "100ms"}])
def test_what_is_measured_otherwise_is_another_run(other: dict[str, str]) -> None:
    def keys(plan: ReclaimPlan) -> set[str]:
        return {run.key for run in plan.runs_of(plan.pairs[0][0]) + plan.runs_of(plan.pairs[0][1])}

    assert not keys(reclaim_plan(SMALL)) & keys(reclaim_plan(replace(SMALL, **other)))


def test_what_is_shown_is_what_is_run(tmp_path: Path) -> None:
    more = {"policy": "mglru,damon", "swap": "zram,hdd", "load": "uniform"}
    options = replace(SMALL, **more, era="6.1", during_migration=True, async_pf=True)
    plan, shown = reclaim_plan(options), reclaim_scenarios(options)
    assert len(shown) == len(plan.pairs) == 16
    for row, (label, table) in enumerate(shown):
        assert label == ", ".join(f"{key}={value}" for key, value in plan.settings[row].items())
        path = tmp_path / f"{row}.toml"
        path.write_text(scenario_text(table))
        assert load_scenario(path).resolved() == plan.scenario(row).resolved()


def test_a_run_that_failed_names_the_command_of_its_row() -> None:
    plan = reclaim_plan(replace(SMALL, a_bits=False, async_pf=True, during_migration=True, seed=7))
    row = plan.runs_of(plan.pairs[1][0])[0]
    assert replay(plan.plan, row) == (
        "hostsim reclaim --memory 1MiB --vcpus 1 --rate 1k/s --during-migration --bandwidth 16Mbit/s --timeout 4s "
        "--no-a-bits --async-pf --scan 100ms --measure 600ms --swap nvme --policy idle --ages 300ms --seed 7"
    )
    again = replace(SMALL, a_bits=False, async_pf=True, during_migration=True, seed=7, ages="300ms", scan="100ms")
    assert row.key in {run.key for run in reclaim_plan(again).plan.runs}


def test_more_than_16_gib_have_a_place_in_swap() -> None:
    _, table = reclaim_scenarios(replace(SMALL, memory="32GiB"))[0]
    assert table["host"]["memory"]["swap_size"] == table["vm"]["memory"] == "32GiB"


def row(age: int, slow: float, p99_ns: float, migrates: bool = False) -> ReclaimRow:
    names = ("migration_ns", "plain_migration_ns", "migration_bytes", "plain_migration_bytes", "read_back_pages")
    means = {
        "slowdown_percent": slow, "stall_p99_ns": p99_ns, "reclaimed_bytes": 1e6, "refaults_per_s": 1.0,
        **dict.fromkeys(names, 1.0),
    }  # fmt: skip
    spreads = {name: Spread(1, value, None, None) for name, value in means.items()}
    settings = {"swap": "nvme", "policy": "idle", "migration": "yes" if migrates else "no", "age": f"{age}s"}
    plan = reclaim_plan(replace(SMALL, ages=f"{age}s", scan="1s", during_migration=True))
    return ReclaimRow(plan.scenario(int(migrates)), settings, spreads, {}, 1)


def test_a_percentile_may_say_that_it_is_of_faults() -> None:
    (limit,) = read_budget("p99-fault=2ms")
    assert (limit.figure, limit.most, limit.text) == ("stall_p99_ns", 2e6, "p99-fault=2ms")


def test_the_set_point_is_the_smallest_age_from_which_on_all_are_safe() -> None:
    limits = read_budget("p99=2ms,slowdown=1%")
    rows = [row(1, 0.5, 1e6), row(2, 3.0, 1e6), row(3, 0.9, 1.9e6), row(4, 0.1, 1e5)]
    assert set_point(rows, limits) is rows[2]
    assert set_point(rows[:2], limits) is None
    assert row_verdict(row(1, 3.0, 3e6), limits) == "over p99=2ms and slowdown=1%"
    told = verdict_lines([*rows, *(row(age, 2.0 if age < 4 else 0.1, 1e6, True) for age in (1, 2, 3, 4))], limits)
    safe = "VERDICT: policy idle, swap nvme: pages that are idle for 3s can be paged out, 1 MB of 1.05 MB (95 %) of memory; "
    assert told[0].startswith(safe)
    assert "while the VM migrates: pages have to be idle for 4s to keep within the budget" in told[1]
    unsafe = "(1s, 2s) the guest exceeds the budget p99=2ms, slowdown=1%: no pages can be paged out."
    assert verdict_lines(rows[:2], limits)[0].endswith(f"with each of the ages tried {unsafe}")


def test_all_bad_options_are_told_at_once() -> None:
    bad = ReclaimOptions("1", "0%", 0, "x", "0", "200%", "3s,1x", "p98=1", "tape", "fifo", bandwidth="0", timeout="0s",
                         era="E7", sheet="none", reps=0)  # fmt: skip
    with pytest.raises(InputError) as error:
        reclaim_plan(bad)
    told = {problem.file for problem in error.value.problems}
    assert told == {"--memory", "--used", "--vcpus", "--load", "--rate", "--writes", "--ages", "--budget", "--swap",
                    "--policy", "--bandwidth", "--timeout", "--era", "--sheet", "--reps"}  # fmt: skip
    with pytest.raises(InputError, match="a multiple of the time from scan to scan, 2s"):
        reclaim_plan(ReclaimOptions(ages="2s,3s"))
