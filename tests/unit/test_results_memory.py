"""Results of a host: run.json, tables, verdict lines and pictures of memory that runs short and is aged."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from hostsim import simulation
from hostsim.report.compare_report import ended_words, verdict_lines
from hostsim.report.html.registry import pictures_of, run_content
from hostsim.report.tables import host_tables
from hostsim.report.verdict_texts import verdict_texts
from hostsim.results.encode import json_bytes
from hostsim.results.memory import HostResult
from hostsim.results.store import run_files
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.study.compare.figures import figures_of
from hostsim.study.compare.summary import Row, Summary
from hostsim.theory.working_set import age_counts, expected_counts, misplaced_share, page_rates_per_s
from hostsim.verdict.memory import host_verdict

LOCK = ("mmu-lock", "mmu-lock-waits")
LOAD = {"pattern": "hotcold", "hot_size": "1MiB", "hot_share": 0.95, "write_rate": "20000/s", "read_rate": "20000/s"}
VM = {"memory": "4MiB", "dirty_tracking": "get-dirty-log", "workload": [LOAD]}
SHORT = {"memory": {"size": "4MiB", "swap": "nvme"}, "setup_ns": 100_000, "switchover_ns": 100_000}
TABLES: dict[str, dict[str, Any]] = {
    "all": {
        "vm": VM, "neighbour": [{"memory": "2MiB", "workload": [LOAD]}], "host": SHORT, "duration": "400ms",
        "ageing": {"policy": "idle", "period": "50ms"}, "migration": {"start": "250ms", "bandwidth": "100MB/s"},
    },
    "aged": {"vm": VM, "ageing": {"policy": "scan", "period": "10ms", "call_pages": 16, "flush": True}, "duration": "205ms"},
    "ran out": {
        "vm": VM | {"filled": "none"}, "host": {"memory": {"size": "3MiB", "swap": "none"}}, "duration": "3s",
        "migration": {"start": "10ms", "bandwidth": "1MB/s"},
    },
    "neighbours": {"vm": VM, "neighbour": [{"memory": "2MiB", "workload": [LOAD]}], "duration": "250ms"},
    "plain": {"vm": VM, "duration": "100ms"},
}  # fmt: skip


@cache
def ran(name: str) -> RunResult:
    return simulation.run(Scenario.model_validate(TABLES[name]))


def host_of(name: str) -> HostResult:
    host = ran(name).host
    assert host is not None
    return host


def test_a_scenario_without_the_tables_has_none_of_it() -> None:
    assert ran("plain").host is None
    assert not {"status", "memory", "ageing", "latencies"} & ran("plain").to_dict().keys()
    assert set(run_files(ran("plain"))) == {"run.json", "provenance.json"}


def test_run_json_adds_up() -> None:
    found = json.loads(json_bytes(ran("all").to_dict()))
    memory = found["memory"]
    assert found["status"] == "ended"
    assert [row["vm"] for row in memory["vms"]] == [row["vm"] for row in found["ageing"]] == ["vm", "neighbour[0]"]
    assert memory["frames"] == 1024
    assert sum(row["swapped_pages"] for row in memory["vms"]) == memory["swap_used_pages"] > 0
    assert sum(row["resident_pages"] for row in memory["vms"]) <= memory["frames"] - memory["free_frames"]
    for one in found["latencies"]:
        assert sum(count for _, count in one["buckets"]) == one["count"] > 0
        assert one["p50_ns"] <= one["p90_ns"] <= one["p99_ns"] <= one["p99.9_ns"] <= one["max_ns"]
    reads = {one["what"]: one["count"] for one in found["latencies"] if one["vm"] == "host"}
    majors = sum(one["count"] for one in found["latencies"] if one["what"] in ("fault_major", "migration_fault_major"))
    swapped_in = sum(row["swapped_in"] for row in memory["vms"])
    assert 0 <= reads["swap_read"] - swapped_in <= 3, "what two vCPUs and the migration wait for at the end"
    assert majors >= swapped_in - 3


def test_the_series_tells_what_was_swapped() -> None:
    host = host_of("all")
    series, memory = host.tables["memory_series"], host.memory
    assert memory is not None
    for row in memory["vms"]:
        mine = series["vm"] == row["vm"]
        assert series["swapped_in_pages"][mine].sum() == row["swapped_in"]
        assert series["swapped_out_pages"][mine].sum() == row["swapped_out"]
        assert series["resident_pages"][mine][-1] == row["resident_pages"]
        assert np.diff(series["t_ns"][mine]).max() <= 100_000_000
        assert -1e-9 <= series["guest_slowdown"][mine].min() <= series["guest_slowdown"][mine].max() <= 1


def test_all_latencies_are_in_the_table() -> None:
    host = host_of("all")
    table = host.tables["latencies"]
    assert table["count"].sum() == sum(one.latencies.count for one in host.latencies)
    assert {"exit_map_faults", "lock_wait_host", "notifier_clear_flush_young", "fault_major"} <= set(table["what"].tolist())


def test_passes_and_map_are_of_each_vm() -> None:
    host = host_of("all")
    passes, ages = host.tables["ageing_passes"], host.tables["age_map"]
    assert host.ageing is not None
    for row in host.ageing:
        mine = passes["vm"] == row["vm"]
        assert mine.sum() == row["passes"] > 3
        assert (passes["asked"][mine] == passes["calls"][mine]).all()
        assert passes["false_old"][mine].sum() == pytest.approx(row["false_old_pages"])
        bins = ages["vm"] == row["vm"]
        assert bins.sum() == 64 * row["passes"]
        assert ages["end_gfn"][bins].max() == {"vm": 1024, "neighbour[0]": 512}[row["vm"]]


def test_ageing_tells_the_working_set_of_a_guest() -> None:
    """Young pages of a scan are Bernoulli by page: 5 sigma of their mean; ages are those of the rates."""
    assert host_of("aged").ageing is not None
    (row,) = host_of("aged").ageing or []
    passes = host_of("aged").tables["ageing_passes"]
    true = passes["working_set_pages"][1:]
    assert np.isnan(passes["working_set_pages"][0])
    assert row["working_set_pages"] == pytest.approx(float(true.mean()))
    sigma = np.sqrt(true.mean() / len(true))
    assert abs(row["working_set_estimate_pages"] - row["working_set_pages"]) < 5 * sigma
    assert sum(row["age_histogram_pages"]) == pytest.approx(sum(row["age_expected_pages"])) == 1024
    assert row["age_misplaced_share"] < 0.08


@pytest.mark.parametrize(("policy", "least", "most"), [("damon", 0.2, 1.0), ("two-list", 1.1, 2.0)])
def test_an_estimate_has_the_pages_that_its_policy_takes_for_used_unasked(policy: str, least: float, most: float) -> None:
    """DAMON asks about one page of a region, the two lists about no page of the active list: young pages alone are few."""
    load = {"pattern": "uniform", "read_rate": "10000/s", "size": "64MiB"}
    tables = {
        "vm": {"memory": "64MiB", "dirty_tracking": "get-dirty-log", "workload": [load]}, "duration": "8100ms",
        "ageing": {"policy": policy, "period": "1s"},
    }  # fmt: skip
    host = simulation.run(Scenario.model_validate(tables)).host
    assert host is not None
    (row,) = host.ageing or []
    passes = host.tables["ageing_passes"]
    both = passes["young"][1:] + passes["in_use"][1:]
    assert row["working_set_estimate_pages"] == pytest.approx(float(both.mean()))
    assert row["working_set_unasked_pages"] > 0
    true = row["working_set_pages"]
    assert least * true < row["working_set_estimate_pages"] < most * true


def test_the_working_set_of_a_sweep_is_told() -> None:
    """2000 pages/s of 2048: 1000 pages in half a second; all of them in two seconds."""
    load = {"pattern": "sequential", "read_rate": "2000/s", "size": "8MiB"}
    for period, pages in (("500ms", 1000), ("2s", 2048)):
        tables = {
            "vm": {"memory": "16MiB", "dirty_tracking": "get-dirty-log", "workload": [load]}, "duration": "7s",
            "ageing": {"policy": "idle", "period": period},
        }  # fmt: skip
        host = simulation.run(Scenario.model_validate(tables)).host
        assert host is not None
        (row,) = host.ageing or []
        assert row["working_set_pages"] == pytest.approx(pages, rel=1e-3)
        assert row["working_set_estimate_pages"] == pytest.approx(pages, rel=5e-3)


def test_comparisons_say_what_ran_out_and_hold_nothing_of_it_against_others() -> None:
    figures = figures_of(ran("ran out"))
    assert figures["status"] == "out-of-memory"
    assert "guest_slowdown_percent" not in figures
    assert figures["memory.stall_share"] > 0
    summary = Summary((Row({"a": "1"}, (figures,)), Row({"a": "2"}, (figures_of(ran("plain")),))), (1,))
    assert [ended_words(row) for row in summary.rows] == ["out of memory", "at its end"]
    ran_out = "VERDICT: 1 of 2 combinations ran to their end; the scenario has no migration; out of memory: a=1."
    assert verdict_lines(summary, [])[0] == ran_out


def test_memory_that_ran_out_is_told_first_and_alone() -> None:
    result = ran("ran out")
    found = result.to_dict()
    assert (found["status"], found["out_of_memory"]["vm"]) == ("out-of-memory", "vm")
    assert found["out_of_memory"]["t_ns"] == result.end_ns < 3_000_000_000
    (text,) = verdict_texts(result, "text")
    assert text.startswith("VERDICT: out of memory after ")
    assert found["memory"]["vms"][0]["stall_share"] > 0.4, "those that still wait count"


def test_verdicts_say_what_each_vm_lost() -> None:
    text = "\n".join(verdict_texts(ran("all"), "text"))
    assert [text.count(f"Memory: {vm} ended with") for vm in ("vm", "neighbour[0]")] == [1, 1]
    assert text.count("Ageing: ") == 2
    assert text.count("of their time for pages in swap or for free memory") == 2
    assert text.count("Memory: the migration thread waited") == 1
    assert "swap-ins; 99 % of them took at most" in text
    assert "- *Memory:* vm ended with" in "\n".join(verdict_texts(ran("all"), "markdown"))


@pytest.mark.parametrize(("period", "says"), [("100us", True), ("500ms", False)])
def test_the_verdict_says_that_passes_take_longer_than_their_period(period: str, says: bool) -> None:
    table = {
        "vm": {"memory": "64MiB", "dirty_tracking": "get-dirty-log"}, "duration": "2s",
        "ageing": {"policy": "scan", "period": period},
    }  # fmt: skip
    result = simulation.run(Scenario.model_validate(table))
    assert result.host is not None
    (row,) = result.host.ageing or []
    assert 100_000 < row["pass_mean_ns"] < 500_000_000
    (line,) = host_verdict(result)
    told = f"longer than its period of {period[:3]} {period[3:]}: passes follow one another without a pause"
    assert (told in line) is says


def test_tables_follow_what_there_is() -> None:
    assert [len(host_tables(host_of(name))) for name in ("all", "aged", "neighbours")] == [3, 2, 1]


@pytest.mark.parametrize(
    ("name", "stems"),
    [
        # A run with all of it is written twice through the command, in tests/e2e/test_memory_run.py.
        pytest.param("all", {"latencies", "stall", "age_map", "migration", "kvm", *LOCK}, marks=pytest.mark.swarm),
        ("aged", {"latencies", "stall", "age_map", "mmu-lock-waits"}),
        pytest.param("ran out", {"latencies", "stall", "migration", "kvm", *LOCK}, marks=pytest.mark.swarm),
        ("neighbours", {"stall"}), ("plain", set()),
    ],
)  # fmt: skip
def test_pictures_are_drawn_the_same_twice(name: str, stems: set[str]) -> None:
    first = pictures_of(run_content(ran(name), []))
    assert {file.partition(".")[0] for file in first} == stems
    assert all(content.startswith((b"\x89PNG", b"<?xml")) for content in first.values())
    assert pictures_of(run_content(ran(name), [])) == first


def test_a_comparison_has_figures_of_memory() -> None:
    figures, (row, _) = figures_of(ran("all")), host_of("all").memory["vms"]  # type: ignore[index]
    assert figures["memory.stall_share"] == row["stall_share"] > 0
    assert figures["memory.swapped_in"] == row["swapped_in"]
    assert 10_000 < figures["memory.swap_in_p99_ns"] < 10_000_000  # type: ignore[operator]
    assert not any(name.startswith("memory.") for name in figures_of(ran("aged")))


def test_a_comparison_has_figures_of_ageing() -> None:
    figures, (row,) = figures_of(ran("aged")), host_of("aged").ageing or []
    assert figures["ageing.pass_mean_ns"] == row["pass_mean_ns"] > 0
    assert figures["ageing.pass_max_ns"] == row["pass_max_ns"] >= row["pass_mean_ns"]
    assert figures["ageing.young_pages"] == round(row["young_pages"] / row["passes"])
    waits = [one for one in host_of("aged").latencies if (one.what, one.vm) == ("lock_wait_vcpu", "vm")]
    assert figures["ageing.lock_wait_p99_ns"] == sum(one.latencies.percentile_ns(99) for one in waits)
    assert not any(name.startswith("ageing.") for name in figures_of(ran("plain")))


def test_rates_are_those_of_the_workloads() -> None:
    tables = [
        LOAD, {"pattern": "zipf", "at": "2MiB", "write_rate": "1000/s"}, {"pattern": "uniform", "read_rate": "512/s"},
    ]  # fmt: skip
    from hostsim.scenario.build import build

    spec = build(Scenario.model_validate({"vm": VM | {"workload": tables}}))
    rates = page_rates_per_s(spec.workloads, 1024)
    assert rates is not None
    assert rates.sum() == pytest.approx(40_000 + 1000 + 512)
    assert rates[:256].sum() == pytest.approx(0.95 * 40_000 + 128)
    assert rates[512:].sum() == pytest.approx(0.05 * 40_000 * 512 / 768 + 1000 + 256)
    swept = build(Scenario.model_validate({"vm": VM | {"workload": [{"pattern": "sequential", "write_rate": "9/s"}]}}))
    assert page_rates_per_s(swept.workloads, 1024) is None


def test_ages_are_counted_and_held_against_the_truth() -> None:
    ages = np.array([0, 0, 1, 3, 9, -1])
    assert age_counts(ages, 4).tolist() == [2, 1, 0, 2]
    expected = expected_counts(np.array([0.0, np.log(2), np.log(2), 1e9]), 1.0, 3)
    assert expected == pytest.approx([2.0, 0.5, 1.5])
    assert misplaced_share(np.array([2, 0, 2]), expected) == pytest.approx(0.125)
