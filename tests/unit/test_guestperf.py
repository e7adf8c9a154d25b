"""guestperf: its table of scenarios, and its report, written by a run and read by explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.logs.sniff import read_logs
from hostsim.results.guestperf import guestperf_figures, report_of
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.study.compare.guestperf import COMPARISONS, guestperf_plan
from hostsim.study.compare.plan import Request
from hostsim.verdict import diagnose, evidence_from_result, explain_log
from hostsim.verdict.words import bytes_words

SMALL = """
[vm]
memory = "32MiB"
[[vm.workload]]
pattern = "uniform"
size = "8MiB"
write_rate = "20000/s"
[link]
bandwidth = "400Mbit/s"
"""
READ = {
    "": "hardware scenario progress_history guest_timings qemu_timings vcpu_timings result binary dst_host kernel initrd "
        "transport sleep",
    "hardware": "cpus mem src_cpu_bind src_mem_bind dst_cpu_bind dst_mem_bind prealloc_pages huge_pages locked_pages "
                "dirty_ring_size",
    "scenario": "name downtime bandwidth max_iters max_time pause pause_iters post_copy post_copy_iters auto_converge "
                "auto_converge_step compression_mt compression_mt_threads compression_xbzrle compression_xbzrle_cache "
                "multifd multifd_channels multifd_compression",
    "progress_history": "status ram now duration downtime downtime_expected setup_time throttle_pcent "
                        "dirty_limit_throttle_time_per_round dirty_limit_ring_full_time",
    "ram": "transferred_bytes remaining_bytes total_bytes duplicate_pages skipped_pages normal_pages normal_bytes "
           "dirty_rate_pps transfer_rate_mbs iterations",
    "qemu_timings": "tid timestamp value", "guest_timings": "tid timestamp value", "vcpu_timings": "tid timestamp value",
    "result": "success",
}  # fmt: skip
"""Keys that QEMU 10.2's deserialize functions read, by part of the report."""


@pytest.fixture(scope="module")
def guestperf() -> RunResult:
    """guestperf's guest, too small for its program to matter, with auto-converge."""
    table: dict[str, Any] = {
        "name": "small", "vm": {"memory": "1GiB", "fill": [{"at": "512MiB", "size": "512MiB"}],
                                "workload": [{"preset": "guestperf", "write_rate": "200k/s"}]},
        "migration": {"start": "3s", "bandwidth": "400MiB/s", "auto_converge": True, "cancel_after_round": 12,
                      "cpu_throttle_initial": 60},
        "link": {"bandwidth": "10Gbit/s"},
    }  # fmt: skip
    return run(Scenario.model_validate(table))


def test_the_table_is_guestperfs() -> None:
    assert len(COMPARISONS) == 11
    names = [row.name for rows in COMPARISONS.values() for row in rows]
    assert len(names) == len(set(names)) == 42
    gone = {row.name for rows in COMPARISONS.values() for row in rows if row.gone}
    assert gone == {"compr-mt-threads-1", "compr-mt-threads-2", "compr-mt-threads-4", "compr-multifd-compression-qpl",
                    "compr-multifd-compression-uadk"}  # fmt: skip


def test_every_row_that_has_a_model_is_a_scenario(tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    file.write_text(SMALL)
    found = guestperf_plan(Request(file, ()), "guestperf:all")
    assert len(found.plan.runs) == 37
    assert len(found.left_out) == 5
    assert "removed in QEMU 9.1" in found.left_out["compr-mt-threads-1"]
    assert set(found.with_rings) == {row.name for name in ("compr-dirty-limit", "compr-dirty-limit-period")
                                     for row in COMPARISONS[name]}  # fmt: skip
    by_name = dict(zip(found.plan.axes[0].labels, (one.scenario for one in found.plan.runs), strict=True))
    pause, post = by_name["pause-iters-20"].migration, by_name["post-copy-iters-5"].migration
    assert pause is not None
    assert post is not None
    assert (pause.suspend_after_round, pause.cancel_after_round, pause.timeout) == (20, 31, 300 * 10**9)
    assert (post.postcopy_after_rounds, post.downtime_limit, post.bandwidth) == (4, 500 * 10**6, 125_000 << 20)
    cache = by_name["compr-xbzrle-cache-50"].migration
    assert cache is not None
    assert cache.xbzrle_cache_size == 16 << 20, "half of 32 MiB is a power of two"


@pytest.mark.parametrize(
    ("text", "told"), [("guestperf:compr-xbzr", "compr-xbzrle"), ("guestperf:compr-mt", "removed in QEMU")]
)
def test_what_cannot_run_is_refused(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    file.write_text(SMALL)
    with pytest.raises(InputError, match=told):
        guestperf_plan(Request(file, ()), text)


def test_a_longer_name_of_a_comparison_is_known(tmp_path: Path) -> None:
    file = tmp_path / "vm.toml"
    file.write_text(SMALL)
    assert len(guestperf_plan(Request(file, ()), "guestperf:compression-xbzrle").plan.runs) == 4


def test_the_report_has_every_key_that_guestperf_reads(guestperf: RunResult) -> None:
    report = json.loads(json.dumps(report_of(guestperf)))
    parts = {"": report, "ram": report["progress_history"][0]["ram"]}
    for name, keys in READ.items():
        part = parts.get(name, report.get(name))
        for one in part if isinstance(part, list) else [part]:
            assert set(keys.split()) <= set(one), name
    assert report["scenario"]["auto_converge"] is True
    assert (report["scenario"]["bandwidth"], report["scenario"]["max_iters"], report["sleep"]) == (400, 11, 3.0)
    iterations = [entry["ram"]["iterations"] for entry in report["progress_history"]]
    assert iterations == sorted(iterations)
    assert report["progress_history"][-1]["status"] == guestperf.migrations[0].status


def test_the_guest_writes_slower_while_it_is_throttled(guestperf: RunResult) -> None:
    timings = report_of(guestperf)["guest_timings"]
    start = 3.0
    before = [one["value"] for one in timings if one["timestamp"] <= start]
    assert before == [pytest.approx(1311, abs=1)] * len(before)
    assert len(before) == 2
    assert max(one["value"] for one in timings if one["timestamp"] > start + 1) > 1400
    figures = guestperf_figures(guestperf, guestperf.migrations[0])
    assert figures["guest_before_ms"] == pytest.approx(1310.72)
    assert figures["guest_during_ms"] > figures["guest_before_ms"]


def test_explain_reads_back_the_verdict(guestperf: RunResult, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps(report_of(guestperf)))
    (log,) = read_logs(report)
    told, own = explain_log(log), diagnose(evidence_from_result(guestperf))
    assert log.format == "guestperf"
    assert told.outcome == own.outcome
    sent = guestperf.migrations[0].query["ram"]["transferred"]
    assert f"{bytes_words(sent)} sent for {bytes_words(1 << 30)}" in told.headline
    assert f"{bytes_words(sent)} sent for {bytes_words(1 << 30)}" in own.headline


@pytest.mark.parametrize(
    ("keys", "ended", "syncs"),
    [({"suspend_after_round": 3}, "completed", 4), ({"cancel_after_round": 4}, "cancelled", 4)],
)
def test_an_operator_acts_with_a_sync(keys: dict[str, int], ended: str, syncs: int) -> None:
    """A guest that dirties faster than the link: it is stopped, or given up, with the sync of that number."""
    table: dict[str, Any] = {
        "vm": {"memory": "32MiB", "workload": [{"pattern": "uniform", "size": "32MiB", "write_rate": "50k/s"}]},
        "migration": {"bandwidth": "20MiB/s", "downtime_limit": "10ms", **keys},
    }  # fmt: skip
    migration = run(Scenario.model_validate(table)).migrations[0]
    assert migration.status == ended
    assert int(migration.query["ram"]["dirty-sync-count"]) >= syncs
    assert int(migration.series["round"].max()) <= syncs + 1
