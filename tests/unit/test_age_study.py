"""Trials of ageing: what they count, against closed forms and against each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.memory.policies.registry import policy_of
from hostsim.memory.policies.two_list import TwoListScan
from hostsim.report.studies import value_words
from hostsim.scenario.load import load_scenario
from hostsim.scenario.toml_text import scenario_text
from hostsim.study.ageing.options import AgeOptions
from hostsim.study.ageing.outcome import row_verdict, verdict_lines
from hostsim.study.ageing.preset import age_plan, age_tables
from hostsim.study.compare.runner import replay, runs_to_do
from tests.helpers.aged import SMALL, aged_figures, rows_of


def test_with_a_bits_the_guest_pays_nothing_and_with_a_flush_it_is_seen() -> None:
    got = aged_figures(era="E6")
    assert (got["vcpu_slowdown_percent"], got["faults_per_pass"], got["host_lock_wait_p99_ns"]) == (0.0, 0.0, 0.0)
    assert got["notifier_calls_per_s"] == pytest.approx(256 / 0.02, rel=0.3)
    flushed = aged_figures(policy="two-list", era="E4")
    assert flushed["false_old_pages"] < 0.05 * flushed["used_pages"]


def test_a_guest_that_fits_into_the_tlb_looks_idle_without_a_flush() -> None:
    got = aged_figures(era="E4")
    assert got["false_old_pages"] > 0.9 * got["used_pages"]


def test_without_a_bits_a_pass_costs_the_working_set_in_faults() -> None:
    """Oracle O14: w(P) faults a pass."""
    got = aged_figures(era="E4", a_bits=False)
    assert got["faults_per_pass"] == pytest.approx(got["used_pages"], abs=5.0)
    assert 0.5 < got["vcpu_slowdown_percent"] < 3.0


@pytest.mark.parametrize("era", ["E4", "E6"])
def test_mglru_sees_guests_if_its_walk_asks_kvm(era: str) -> None:
    got = aged_figures(policy="mglru", era=era, a_bits=False)
    blind = era == "E4"
    assert (got["notifier_calls_per_s"] == 0) is blind
    assert (got["false_old_pages"] > 0.9 * got["used_pages"]) is blind
    assert policy_of("mglru", era, "age") is policy_of("mglru-no-walk" if blind else "mglru-walk", era, "age")


def test_damon_asks_about_a_page_a_region_and_finds_the_pages_in_use() -> None:
    damon, idle = (aged_figures(policy=policy, era="E6", a_bits=False) for policy in ("damon", "idle"))
    assert damon["notifier_calls_per_s"] > idle["notifier_calls_per_s"], "20 samples of a small memory are more than a scan"
    assert damon["working_set_pages"] == pytest.approx(damon["used_pages"], rel=0.1)
    assert damon["faults_per_pass"] > 0


def test_lockless_ageing_waits_for_nobody() -> None:
    faulting = {"under": "faulting", "period": "50us", "vcpus": "2"}
    locked, lockless = (aged_figures(notifier=how, **faulting) for how in ("locked", "lockless"))
    assert lockless["lock_held_percent"] == 0 < locked["lock_held_percent"]
    assert lockless["host_lock_wait_p99_ns"] == 0 < locked["host_lock_wait_p99_ns"]
    assert lockless["pass_mean_ns"] <= locked["pass_mean_ns"]
    assert lockless["vcpu_slowdown_percent"] <= locked["vcpu_slowdown_percent"]


def test_new_pages_are_seen_while_memory_is_populated() -> None:
    got = aged_figures(under="faulting", period="100us")
    assert got["passes"] > 3
    assert got["young_pages"] == pytest.approx(got["used_pages"], rel=0.1)


def test_an_idle_guest_is_seen_as_idle() -> None:
    got = aged_figures(under="idle")
    assert (got["young_pages"], got["used_pages"], got["false_old_pages"]) == (0.0, 0.0, 0.0)


def test_a_scan_of_the_two_lists_asks_for_all_or_holds_them_in_use() -> None:
    policy, young, rng = TwoListScan(700), np.zeros(700, np.uint8), np.random.default_rng(1)
    policy.insert(np.arange(700))
    for _ in range(30):
        young[rng.integers(0, 700, 300)] = 1
        asked = set(policy.age(young).asked.tolist())
        assert len(asked) + len(policy.held_in_use()) == 700
        assert asked.isdisjoint(policy.held_in_use().tolist())
        assert len(policy.resident_pages()) == 700


def test_workers_and_order_move_nothing() -> None:
    plan = age_plan(replace(SMALL, policy="idle,two-list", reps=2, a_bits=False, rate="2k/s"))
    one, two = (rows_of(plan, workers) for workers in (1, 2))
    assert [row.figures for row in one] == [row.figures for row in two]
    assert verdict_lines(one, ["policy"])[0].startswith("VERDICT: 1 of 2 combinations")
    assert row_verdict(one[0]).endswith("finds the used pages")


def test_pages_taken_for_used_are_judged_as_pages_taken_for_idle_are() -> None:
    """A guest that accesses a few of its pages: the two lists hold more of them on the active list."""
    plan = age_plan(replace(SMALL, policy="two-list,mglru", a_bits=False, rate="2k/s"))
    lists, blind = rows_of(plan)
    assert (lists.sees, blind.sees) == (False, False)
    assert lists.surplus_share > 0.1 > lists.missed_share
    assert blind.missed_share > 0.9 > blind.surplus_share == 0
    surplus, error = lists.mean("false_young_pages"), lists.mean("working_set_pages") - lists.mean("used_pages")
    assert surplus - lists.mean("false_old_pages") == pytest.approx(error)
    told = f"counts {surplus:.0f} idle pages as used, {100 * lists.surplus_share:.0f} % of the used ones"
    assert told in row_verdict(lists)
    assert "counts 100 % of the used pages as idle" in row_verdict(blind)
    lines = verdict_lines([lists, blind], ["policy"])
    assert lines[0].startswith("VERDICT: 0 of 2 combinations are off by at most 10 % of the used pages")
    why = "counts idle pages as used: a page of the active list counts as used until it is asked for."
    assert f"Why policy=two-list {why}" in lines
    assert any(line.startswith("Why policy=mglru counts used pages as idle: ") for line in lines)


def test_all_bad_options_are_told_at_once() -> None:
    bad = AgeOptions("x", "0", "1", "y", "E9", "z", "u", load="zipf:9", rate="0", period="0s", passes=1, reps=0, sheet="s")
    with pytest.raises(InputError) as error:
        age_plan(bad)
    told = {problem.file for problem in error.value.problems}
    assert told == {"--policy", "--vcpus", "--mem-per-vcpu", "--index", "--era", "--notifier", "--under", "--load", "--rate",
                    "--period", "--passes", "--reps", "--sheet"}  # fmt: skip
    with pytest.raises(InputError, match="at most 3 runs"):
        age_plan(AgeOptions(reps=2, max_runs=3))
    with pytest.raises(InputError, match=r"--a-bits: .* page tables that have D bits have A bits"):
        age_plan(AgeOptions(index="book3s-hv", a_bits=False))
    with pytest.raises(InputError, match=r"--mem-per-vcpu: got 4KiB, wanted at least 1MiB for all vCPUs"):
        age_plan(AgeOptions(mem_per_vcpu="4KiB"))
    with pytest.raises(InputError, match="policy"):
        policy_of("none", "E4", "age")


def test_a_guest_that_is_not_aged_runs_once_for_all_policies() -> None:
    plan = age_plan(replace(SMALL, policy="idle,two-list,mglru", vcpus="1,2"))
    assert len(plan.settings) == 6
    assert len(runs_to_do(plan.plan, {})) == 8
    assert [plan.pairs[row][1] for row in range(6)] == [0, 0, 0, 4, 4, 4]
    assert plan.runs_of(0)[0].scenario.ageing is None


def test_what_is_shown_is_what_is_run(tmp_path: Path) -> None:
    options = replace(SMALL, policy="two-list,damon", under="touching,faulting", era="6.1", load="uniform,zipf:0.5")
    plan, shown = age_plan(options), age_tables(options)
    assert len(shown) == len(plan.pairs) == 8
    for row, (label, table) in enumerate(shown):
        assert label == ", ".join(f"{key}={value}" for key, value in plan.settings[row].items())
        path = tmp_path / f"{row}.toml"
        path.write_text(scenario_text(table))
        assert load_scenario(path).resolved() == plan.scenario(row).resolved()


def test_a_run_that_failed_names_the_command_of_its_row() -> None:
    plan = age_plan(replace(SMALL, a_bits=False, rate="2k/s", under="touching,idle", seed=7)).plan
    assert replay(plan, plan.runs[3]) == (
        "hostsim age --mem-per-vcpu 1MiB --no-a-bits --rate 2k/s --period 20ms --under idle --era E4 --notifier era "
        "--index measured --load zipf:0.9 --vcpus 1 --policy idle --seed 7"
    )


def test_figures_are_written_as_in_all_other_tables() -> None:
    assert [value_words("x_ns", ns) for ns in (0, 7, 7168, 1.5e6, 2e9)] == ["0 ns", "7 ns", "7.17 us", "1.5 ms", "2 s"]
    assert value_words("x_bytes", 4_194_304.0) == "4.19 MB"
    assert value_words("x_percent", 1.25) == "1.25 %"
