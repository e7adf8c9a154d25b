"""Answers to query-migrate, against the fields of real ones (tests/data/query_migrate_answers.jsonl, QEMU 7.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostsim.results.qmp import QmpCounters, query_at_cancel, query_migrate

LINES = (Path(__file__).parents[1] / "data" / "query_migrate_answers.jsonl").read_text().splitlines()
REAL: list[dict[str, Any]] = [json.loads(line) for line in LINES]


def counters_of(answer: dict[str, Any]) -> QmpCounters:
    """The counters that a real answer was made of."""
    ram = answer.get("ram", {})
    inner = {"remaining", "total", "transferred", "duplicate", "normal", "mbps"}
    hyphened = {
        "dirty-pages-rate", "dirty-sync-count", "pages-per-second", "precopy-bytes", "downtime-bytes",
        "page-size", "dirty-sync-missed-zero-copy",
    }  # fmt: skip
    fields = {name.replace("-", "_"): ram[name] for name in inner | hyphened if name in ram}
    fields["ram"] = {name: ram[name] for name in ("postcopy-bytes", "postcopy-requests", "multifd-bytes") if name in ram}
    for name in ("total-time", "setup-time", "downtime", "expected-downtime"):
        fields[f"{name.replace('-', '_')}_ms"] = answer.get(name, 0)
    throttle = answer.get("cpu-throttle-percentage", 0)
    return QmpCounters(answer["status"], "7.2", cpu_throttle_percentage=throttle, **fields)


@pytest.mark.parametrize("real", REAL, ids=lambda real: f"{real['status']}-{real.get('total-time', 0)}")
def test_a_real_answer_is_rebuilt_whole(real: dict[str, Any]) -> None:
    assert query_migrate(counters_of(real)) == real


def test_the_samples_cover_the_states_that_matter() -> None:
    seen = {(answer["status"], "cpu-throttle-percentage" in answer) for answer in REAL}
    assert {("active", False), ("active", True), ("completed", False), ("cancelled", False)} <= seen


@pytest.mark.parametrize(("status", "has"), [("active", "expected-downtime"), ("completed", "downtime")])
def test_downtime_or_expected_downtime_never_both(status: str, has: str) -> None:
    answer = query_migrate(QmpCounters(status, downtime_ms=5, expected_downtime_ms=7))
    assert {"downtime", "expected-downtime"} & set(answer) == {has}


def test_nothing_remains_on_completion() -> None:
    ram = query_migrate(QmpCounters("completed", remaining=4096, dirty_pages_rate=9))["ram"]
    assert (ram["remaining"], ram["dirty-pages-rate"]) == (0, 0)


@pytest.mark.parametrize("status", ["setup", "cancelled", "failed", "wait-unplug"])
def test_some_states_have_no_figures(status: str) -> None:
    assert query_migrate(QmpCounters(status, transferred=1)) == {"status": status}


def test_no_migration_has_no_answer() -> None:
    assert query_migrate(QmpCounters("none")) == {}


def test_a_failure_says_why() -> None:
    answer = query_migrate(QmpCounters("failed", error_desc="no route to host"))
    assert answer == {"status": "failed", "error-desc": "no route to host"}


def test_the_answer_at_a_cancel_keeps_the_figures() -> None:
    answer = query_at_cancel(QmpCounters("cancelled", transferred=4104, remaining=8192, expected_downtime_ms=900))
    assert answer["status"] == "cancelled"
    assert (answer["ram"]["transferred"], answer["ram"]["remaining"]) == (4104, 8192)
    assert answer["expected-downtime"] == 900


@pytest.mark.parametrize(("qemu", "there"), [("7.2", True), ("9.0", True), ("9.1", False), ("10.2", False)])
def test_skipped_went_away(qemu: str, there: bool) -> None:
    assert ("skipped" in query_migrate(QmpCounters("active", qemu))["ram"]) is there


@pytest.mark.parametrize(("mbps", "text"), [(480.0, "480"), (0.0, "0"), (480.00528, "480.00528")])
def test_whole_numbers_have_no_point(mbps: float, text: str) -> None:
    assert json.dumps(query_migrate(QmpCounters("active", mbps=mbps))["ram"]["mbps"]) == text
