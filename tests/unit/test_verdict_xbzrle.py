"""The verdict on runs with XBZRLE: blocked by QEMU's accounting, a cache that is too small, and the contents it rests on."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim.report.tables import migration_tables
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.verdict.confirm import confirmed, unconfirmed
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.mechanisms.xbzrle import CACHE, XbzrleCost
from hostsim.verdict.model import Verdict
from hostsim.verdict.render import render
from hostsim.verdict.trial import try_out

ENOUGH = float("inf")


def scenario(cache: str, size: str = "32MiB", rate: str = "2M/s", **changes: Any) -> Scenario:
    load = {
        "pattern": "uniform", "size": size, "write_rate": rate, "changed_bytes": 8, "changed_place": "same"
    }  # fmt: skip
    slow = "bandwidth" in changes  # of a slow migration most memory is zero
    migration = {
        "profile": "libvirt", "downtime_limit": "20ms", "timeout": "1500ms", "xbzrle": True, "xbzrle_cache_size": cache,
    }  # fmt: skip
    vm = {"memory": "256MiB", "workload": [load]} | ({"fill": [{"size": "48MiB"}]} if slow else {})
    return Scenario.model_validate({"duration": "30s", "vm": vm, "migration": migration | changes})


@pytest.fixture(scope="module")
def blocked() -> tuple[Scenario, RunResult, Verdict]:
    asked = scenario("32MiB")
    result = run(asked)
    return asked, result, confirmed(asked, result)


def test_a_run_that_could_finish_is_seen(blocked: tuple[Scenario, RunResult, Verdict]) -> None:
    _, result, verdict = blocked
    assert (verdict.outcome, verdict.reason) == ("blocked by xbzrle accounting", "xbzrle")
    assert verdict.numbers["outage_s"] < 0.020
    assert verdict.numbers["remaining_bytes"] > verdict.numbers["remaining_wire_bytes"] * 200
    tail = evidence_from_result(result).mechanisms["xbzrle"].tail
    assert 12 < tail.wire_bytes_per_page < 14, "14 each, but for pages in which nothing changed"


def test_the_switchover_bandwidth_is_confirmed_by_runs(blocked: tuple[Scenario, RunResult, Verdict]) -> None:
    asked, _, verdict = blocked
    remedy = verdict.remedy("avail_switchover_bandwidth")
    assert remedy.confirmed
    changes = {"migration.avail_switchover_bandwidth": round(remedy.value)}
    assert all(try_out(asked, changes, seed, ENOUGH).completed for seed in remedy.seeds)
    assert verdict.remedy("downtime_limit").confirmed


def test_the_note_names_savings_and_contents(blocked: tuple[Scenario, RunResult, Verdict]) -> None:
    _, result, verdict = blocked
    text, cache = render(verdict), result.migrations[0].query["xbzrle-cache"]
    assert "in its cache of 32 MiB" in text
    assert "Contents: a write changes 8 B at the same place of its page" in text
    assert verdict.numbers["xbzrle_saved_bytes"] == cache["pages"] * 4096 - cache["bytes"] > 0
    assert migration_tables(result.migrations[0])[-1].title.startswith("XBZRLE")


def test_a_cache_that_is_too_small_is_named_and_advised_once_a_run_has_confirmed_it() -> None:
    """A guest as that of the measured cases, an eighth as large: a cache of a quarter of its writes does not do."""
    asked = scenario("4MiB", "16MiB", "3072/s", downtime_limit="300ms", bandwidth="8MiB/s", timeout="25s")
    result = run(asked)
    bare = unconfirmed(result).remedy(CACHE)
    assert (bare.helps, bare.value, bare.command) == (False, None, "")
    assert "was not run" in bare.text
    tried = confirmed(asked, result).remedy(CACHE)
    completes = [try_out(asked, {"migration.xbzrle_cache_size": 16 << 20}, seed, ENOUGH).completed for seed in (1, 2, 3)]
    assert all(completes)
    assert tried.helps
    assert tried.confirmed
    assert "missed it and were sent whole: the guest writes to 16.8 MB" in render(confirmed(asked, result))


def test_the_least_cache_that_holds_everything() -> None:
    cost = XbzrleCost(1 << 20, 10, 5000, 0, 0, 1025, 1025, ((8, "same"),))
    assert (cost.fitting_bytes, cost.is_too_small) == (2048 * 4096, True)
    assert not XbzrleCost(1 << 20, 5000, 1025, 0, 0, 1025, 1025, ()).is_too_small, "each missed once: the first re-send"
    assert not XbzrleCost(8 << 20, 10, 5000, 0, 0, 1025, 1025, ()).is_too_small, "the cache holds them all"


def test_contents_that_the_file_leaves_out_are_named() -> None:
    asked = scenario("32MiB")
    load = asked.vm.workload[0].model_dump(exclude={"changed_bytes", "changed_place"}, exclude_unset=True)
    vm = {"memory": "64MiB", "workload": [{**load, "size": "32MiB", "write_rate": "2M/s"}]}
    result = run(Scenario.model_validate({"duration": "10s", "vm": vm, "migration": {"xbzrle": True, "timeout": "1s"}}))
    assert any("changes 64 bytes in a row anywhere in its page" in text for text in result.assumptions)
