"""dirty-limit in verdicts: the limit that held, a limit that slows no vCPU, and a lower one that ends the migration."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hostsim import Scenario, run
from hostsim.verdict.confirm import confirmed
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.model import Verdict

DIRTIES_MIB = 60_000 / 256
"""Of a vCPU that is free [MiB/s]; the link takes 119."""


def scenario(quota: int, **migration: Any) -> Scenario:
    load = [{"pattern": "sequential", "size": "128MiB", "write_rate": "60k/s"}]
    return Scenario.model_validate(
        {
            "vm": {"memory": "160MiB", "dirty_tracking": "dirty-ring", "workload": load},
            "migration": {
                "bandwidth": "unlimited", "dirty_limit": True, "vcpu_dirty_limit": quota, "timeout": "15s",
                **migration,
            },
            "link": {"bandwidth": "1Gbit/s"},
        }
    )  # fmt: skip


def verdict_of(quota: int, **migration: Any) -> Verdict:
    return diagnose(evidence_from_result(run(scenario(quota, **migration))))


def held_back(verdict: Verdict) -> str:
    (line,) = (line for line in verdict.findings if line.startswith("Held back"))
    return line


def test_a_limit_above_the_writes_holds_no_vcpu_back_and_the_verdict_says_so() -> None:
    line = held_back(verdict_of(1000))
    assert line.startswith("Held back: nothing. dirty-limit allows each vCPU 1000 MiB/s")
    dirties = float(line.removesuffix(" MiB/s.").rsplit(" ", 1)[1])
    assert dirties == pytest.approx(DIRTIES_MIB, rel=0.1)


@pytest.mark.parametrize("quota", [100, 150])
def test_a_cancel_lifts_the_limit_but_the_verdict_compares_with_the_limit_that_held(quota: int) -> None:
    assert "above its limit of 0" not in held_back(verdict_of(quota))


@pytest.mark.parametrize("quota", [150, 1000])
def test_no_remedy_needs_a_capability_that_qemu_refuses_beside_dirty_limit(quota: int) -> None:
    throttle = verdict_of(quota).remedy("auto_converge")
    assert throttle is not None
    assert not throttle.helps
    assert "QEMU refuses both" in throttle.text


def test_the_advised_lower_limit_ends_the_migration_and_comes_from_the_bandwidth() -> None:
    plan = scenario(1000)
    result = run(plan)
    remedy = confirmed(plan, result, all_of_it=True).remedy("vcpu_dirty_limit")
    assert remedy is not None
    assert remedy.confirmed
    assert remedy.value is not None
    assert 1 <= remedy.value <= 125e6 / 2**20 / 1.1, "one writer dirties less than the link takes"
    assert run(scenario(int(remedy.value), timeout="never")).migrations[0].status == "completed"


def two_writers() -> Scenario:
    """Full rings of 2 x 4096 pages are 33.6 MB, above the 12.5 MB that the link sends within the downtime limit."""
    load = [{"pattern": "uniform", "size": "128MiB", "write_rate": "120k/s"}]
    return Scenario.model_validate(
        {
            "vm": {"memory": "160MiB", "vcpus": 2, "dirty_tracking": "dirty-ring", "workload": load},
            "migration": {
                "bandwidth": "unlimited", "dirty_limit": True, "vcpu_dirty_limit": 5, "timeout": "30s",
                "downtime_limit": "100ms",
            },
            "link": {"bandwidth": "1Gbit/s"},
        }
    )  # fmt: skip


def test_full_rings_above_the_threshold_are_named_and_no_lower_limit_is_advised() -> None:
    result = run(two_writers())
    evidence = evidence_from_result(result)
    verdict = diagnose(evidence)
    assert not verdict.converged
    assert min(r.newly_dirty_pages for r in evidence.rounds[-6:-1]) >= 0.85 * 2 * 4096, "some pages are in both rings"
    assert held_back(verdict).endswith("33.6 MB together: a lower limit leaves hardly less.")
    assert verdict.remedy("vcpu_dirty_limit") is None


def test_an_iteration_that_waits_for_its_sync_sends_no_more_than_there_was() -> None:
    result = run(two_writers())
    (why,) = (line for line in diagnose(evidence_from_result(result)).findings if line.startswith("Why"))
    found = re.search(r"sends (\d+\.?\d*) MB", why)
    assert found, why
    assert 30 < float(found[1]) < 60, "two rings and the pages that are left"
