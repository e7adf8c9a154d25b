"""Proactive reclaim: what goes, what comes back, what a migration makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.study.compare.spread import Spread
from hostsim.study.reclaim.budget import read_budget
from hostsim.study.reclaim.case import ReclaimCase
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.reclaim.outcome import ReclaimRow, row_verdict, set_point, verdict_lines
from hostsim.study.reclaim.preset import reclaim_plan
from hostsim.study.reclaim.trial import ReclaimTrial, reclaim_trial

SMALL = ReclaimOptions(
    memory="1MiB", rate="1k/s", vcpus=1, ages="100ms,300ms", measure="600ms", policy="idle", bandwidth="16Mbit/s",
    timeout="4s",
)  # fmt: skip
PAGE = 4096


def case(**more: Any) -> ReclaimCase:
    return replace(reclaim_plan(SMALL).cases[0], **more)


def test_what_is_never_used_goes_and_stays_away() -> None:
    got = reclaim_trial(case(rate_per_s=0 * SMALL.vcpus), 1).figures
    assert got["reclaimed_bytes"] == got["cold_bytes"] == 256 * PAGE
    assert (got["refaults_per_s"], got["slowdown_percent"], got["stall_p99_ns"]) == (0.0, 0.0, 0.0)


def test_an_older_age_takes_less_and_costs_less() -> None:
    young, old = (reclaim_trial(case(age_scans=scans), 1).figures for scans in (1, 3))
    for figure in ("cold_bytes", "reclaimed_bytes", "refaults_per_s", "slowdown_percent", "swapped_out_per_s"):
        assert young[figure] > old[figure] > 0, figure
    assert young["reclaimed_bytes"] <= young["cold_bytes"]


def test_memory_is_in_balance_what_goes_comes_back() -> None:
    got = reclaim_trial(case(measure_ns=2_000_000_000), 1).figures
    assert got["swapped_out_per_s"] == pytest.approx(got["refaults_per_s"], rel=0.25)


def test_a_migration_takes_longer_and_reads_pages_back() -> None:
    trial: ReclaimTrial = reclaim_trial(case(migrates=True), 1)
    got = trial.figures
    assert trial.completed
    assert got["migration_ns"] > got["plain_migration_ns"]
    assert got["migration_bytes"] > got["plain_migration_bytes"] > 256 * PAGE
    assert got["read_back_pages"] > 50
    assert got["dirtied_by_swap_in_pages"] > 0


@pytest.mark.parametrize("policy", ["mglru-walk", "mglru-no-walk"])
def test_mglru_reclaims_too(policy: str) -> None:
    got = reclaim_trial(case(policy=policy), 1).figures
    assert 64 * PAGE < got["reclaimed_bytes"] < 256 * PAGE
    assert (got["pass_mean_ns"] == 0.0) is (policy == "mglru-no-walk"), "a walk that asks nobody takes no time"


def test_damon_reclaims_regions_that_are_idle() -> None:
    """A guest that uses the first half of its memory: the other half goes and does not come back."""
    half = reclaim_plan(replace(SMALL, used="50%", load="uniform", rate="20k/s", policy="damon", a_bits=False))
    got = reclaim_trial(half.cases[-1], 1).figures
    assert got["reclaimed_bytes"] == pytest.approx(128 * PAGE, rel=0.1)
    assert got["refaults_per_s"] < 5.0
    assert got["pass_mean_ns"] > 0


def test_a_task_that_waits_asleep_is_watched_as_well() -> None:
    halting, asleep = (reclaim_trial(case(async_pf=on), 1).figures for on in (False, True))
    assert asleep["refaults_per_s"] == pytest.approx(halting["refaults_per_s"], rel=0.3)
    assert asleep["stall_p99_ns"] > 0


def row(age: int, slow: float, p99_ns: float, migrates: bool = False) -> ReclaimRow:
    names = ("migration_ns", "plain_migration_ns", "migration_bytes", "plain_migration_bytes", "read_back_pages")
    figures = {
        "slowdown_percent": slow, "stall_p99_ns": p99_ns, "reclaimed_bytes": 1e6, "refaults_per_s": 1.0,
        **dict.fromkeys(names, 1.0),
    }  # fmt: skip
    spreads = {name: Spread(1, value, None, None) for name, value in figures.items()}
    settings = {"swap": "nvme", "policy": "idle", "migration": "yes" if migrates else "no", "age": f"{age}s"}
    return ReclaimRow(case(age_scans=age, migrates=migrates), settings, spreads, {}, 1)


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
    unsafe = "within the budget p99=2ms, slowdown=1%, whichever of 1s, 2s they have to be idle for."
    assert verdict_lines(rows[:2], limits)[0].endswith(unsafe)


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
