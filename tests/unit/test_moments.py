"""Advice for a guest that works in windows holds from each start, and is the least that does."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim import Scenario, run
from hostsim.verdict import Verdict, evidence_from_result, render
from hostsim.verdict.confirm import confirmed, tried
from hostsim.verdict.model import Remedy
from hostsim.verdict.moments import moments_of
from hostsim.verdict.trial import seeds_of, try_out
from hostsim.verdict.trial_budget import SEEDS

ENOUGH = 1e9


def windowed(length: str, period: str, rate: str, *, link: str = "1Gbit/s", **migration: Any) -> Scenario:
    load = {"pattern": "uniform", "size": "128MiB", "write_rate": rate, "active": {"length": length, "period": period}}
    vm = {"memory": "256MiB", "workload": [load]}
    return Scenario.model_validate({"duration": "60s", "vm": vm, "link": {"bandwidth": link}, "migration": migration})


SHORT_PAUSES = windowed("3s", "4s", "200k/s", link="700Mbit/s", timeout="12s", downtime_limit="20ms")
LATE_PAUSE = windowed("8s", "10s", "60k/s", timeout="7s", downtime_limit="100ms")


def from_each_start(asked: Scenario, kind: str, value: float) -> list[bool]:
    evidence, moments = evidence_from_result(run(asked)), moments_of(asked, SEEDS)
    changes = tried()[kind].changes(value, evidence)
    each = enumerate(seeds_of(asked, SEEDS))
    return [try_out(asked, moments.changes(asked, changes, i), seed, ENOUGH).completed for i, seed in each]


def of_kind(verdict: Verdict, kind: str) -> tuple[Remedy, float]:
    remedy = verdict.remedy(kind)
    assert remedy is not None
    assert remedy.value is not None
    return remedy, remedy.value


@pytest.mark.parametrize("asked", [SHORT_PAUSES, LATE_PAUSE], ids=["short pauses", "late pause"])
def test_the_advised_value_does_from_each_start_and_three_quarters_of_the_change_do_not(asked: Scenario) -> None:
    result = run(asked)
    verdict, evidence = confirmed(asked, result), evidence_from_result(result)
    now = {"downtime_limit": evidence.limit_s * 1000, "bandwidth": evidence.bandwidth_bytes_per_s or 0.0}
    for kind, present in now.items():
        remedy, value = of_kind(verdict, kind)
        assert remedy.confirmed
        assert all(from_each_start(asked, kind, value))
        assert not all(from_each_start(asked, kind, present + 0.7 * (value - present)))


def test_a_pause_ends_a_migration_that_is_given_time_for_it() -> None:
    verdict = confirmed(LATE_PAUSE, run(LATE_PAUSE))
    remedy, value_s = of_kind(verdict, "timeout")
    assert "when the guest pauses" in remedy.text
    longer = LATE_PAUSE.model_copy(
        update={"migration": LATE_PAUSE.migration.model_copy(update={"timeout": int(value_s * 1e9)})}  # type: ignore[union-attr]
    )
    assert run(longer).migrations[0].status == "completed"
    assert verdict.remedy("auto_converge").helps is False  # type: ignore[union-attr]


def test_work_that_ends_lets_a_migration_end() -> None:
    """The job ends at 30 s, and the time-out comes at 20 s: the value to raise is the time-out."""
    once = windowed("30s", "never", "100k/s", timeout="20s")
    verdict = confirmed(once, run(once))
    _, value_s = of_kind(verdict, "timeout")
    assert 30 < value_s < 40


def test_a_guest_that_thinks_gets_the_least_value_too() -> None:
    thinks = thinking("500ms")
    verdict, limit_ms = confirmed(thinks, run(thinks)), 100
    _, value = of_kind(verdict, "downtime_limit")
    assert all(from_each_start(thinks, "downtime_limit", value))
    assert not all(from_each_start(thinks, "downtime_limit", limit_ms + 0.7 * (value - limit_ms)))


def test_pauses_shorter_than_a_window_of_qemu_are_none() -> None:
    assert moments_of(thinking("50ms"), SEEDS).period_ns == 0
    assert moments_of(thinking("500ms"), SEEDS).period_ns == 10**9


def thinking(sleep: str) -> Scenario:
    load = {"pattern": "uniform", "size": "128MiB", "write_rate": "100k/s", "think": {"work": "500ms", "sleep": sleep}}
    vm, migration = {"memory": "256MiB", "workload": [load]}, {"timeout": "20s", "downtime_limit": "100ms"}
    return Scenario.model_validate({"duration": "60s", "vm": vm, "link": {"bandwidth": "1Gbit/s"}, "migration": migration})


def test_the_verdict_tells_the_starts() -> None:
    assert "started now, 3.33 s and 6.67 s later" in render(confirmed(LATE_PAUSE, run(LATE_PAUSE)))


def test_a_guest_without_windows_starts_as_the_scenario_says() -> None:
    always = windowed("3s", "never", "60k/s", timeout="7s")
    assert moments_of(always, SEEDS).changes(always, {"seed": 1}, 2) == {"seed": 1}


def test_a_later_start_leaves_the_migration_its_time() -> None:
    moments = moments_of(SHORT_PAUSES, SEEDS)
    changes = moments.changes(SHORT_PAUSES, {}, 1)
    assert SHORT_PAUSES.migration is not None
    later_ns = changes["migration.start"] - SHORT_PAUSES.migration.start
    assert later_ns == moments.period_ns // SEEDS == changes["duration"] - SHORT_PAUSES.duration
