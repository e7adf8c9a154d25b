"""A machine that pages out a VM's idle pages by the clock: the pages that go, the counts, the results of a run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.machine.machine import Machine
from hostsim.memory.pages import SWAPPED
from hostsim.memory.proactive import cold_policy
from hostsim.memory.spec import NO_RECLAIM, ReclaimSpec
from hostsim.scenario import Scenario
from hostsim.simulation import kinds_of, run
from tests.helpers.host_memory import MS, host, memory_of, pages_of, touches

ROOM = 2048
BUSY = touches("uniform", 256, writes=20_000, arrivals="poisson")


def machine(policy: str, *, warm_up_ms: int = 0, age_scans: int = 2, ms: int = 100) -> Machine:
    """A VM that writes to the first half of its 512 pages all the time, scanned each 10 ms."""
    return host(ROOM, 512, None, BUSY, ms=ms, reclaim=ReclaimSpec(policy, age_scans, 10 * MS, warm_up_ms * MS))


def test_idle_pages_go_to_swap_and_busy_ones_stay() -> None:
    one = machine("idle", age_scans=4)
    one.run()
    assert one.reclaim is not None
    assert [scan.start_ns for scan in one.reclaim.scans[:3]] == [10 * MS, 20 * MS, 30 * MS]
    assert [scan.cold for scan in one.reclaim.scans[:3]] == [0, 0, 0], "no page is of that age yet"
    assert (pages_of(one).where[256:] == SWAPPED).all()
    assert 200 < one.reclaim.scans[-1].resident <= 256


def test_without_a_policy_all_pages_stay() -> None:
    one = machine(NO_RECLAIM, warm_up_ms=50)
    one.run()
    assert one.reclaim is None
    assert one.window is not None
    assert pages_of(one).counts == Counter()
    assert pages_of(one).charged == 512
    assert one.window.work_ns == 50 * MS


def test_a_machine_without_reclaim_measures_no_window() -> None:
    one = host(ROOM, 512, None, BUSY)
    assert (one.reclaim, one.window) == (None, None)


def test_what_came_before_the_warm_up_is_over_is_not_counted() -> None:
    """The same run, measured from a later moment: the events are equal, the counts are smaller."""
    early, late = machine("idle", age_scans=1), machine("idle", age_scans=1, warm_up_ms=55)
    for one in (early, late):
        one.run()
    assert pages_of(early).counts == pages_of(late).counts
    assert early.live_vms[0].work_ns() == late.live_vms[0].work_ns()
    assert late.window is not None
    assert 0 < late.window.counts["swapped_out"] < pages_of(late).counts["swapped_out"]
    waits = [one.live_vms[0].page_waits.latencies.count for one in (early, late)]
    assert 0 < waits[1] < waits[0]
    assert 40 * MS < late.window.work_ns < 55 * MS


def test_a_host_checks_its_pages_where_they_go_by_the_clock() -> None:
    one = machine("damon")
    one.run()
    memory_of(one).check()
    one.vm.check_host()


@pytest.mark.parametrize(("era", "asked"), [("E4", 0), ("E5", 512)])
def test_the_policy_is_that_of_kernels_of_the_era(era: str, asked: int) -> None:
    """The walk of MGLRU asks KVM since 6.13."""
    policy = cold_policy(ReclaimSpec("mglru", 1, 10 * MS), era, 512, 1)
    assert policy is not None
    policy.insert(np.arange(512))
    assert len(policy.age(np.ones(512, np.uint8)).asked) == asked


def test_a_policy_that_pages_nothing_out_is_refused() -> None:
    with pytest.raises(InputError, match="policy: got 'two-list'"):
        cold_policy(ReclaimSpec("two-list", 1, 10 * MS), "E4", 512, 1)


def scenario(policy: str = "idle", **tables: object) -> Scenario:
    ages = {} if policy == NO_RECLAIM else {"age": "200ms", "scan": "100ms"}
    load = {"pattern": "uniform", "size": "1MiB", "read_rate": "20k/s"}
    return Scenario.model_validate({
        "duration": "600ms", "vm": {"memory": "2MiB", "dirty_tracking": "clear-dirty-log", "workload": [load]},
        "host": {"memory": {"size": "8MiB", "reclaim": {"policy": policy, **ages}}}, **tables,
    })  # fmt: skip


def test_a_run_of_a_scenario_tells_what_went() -> None:
    result, compared = run(scenario()), run(scenario(NO_RECLAIM))
    assert result.host is not None
    assert result.host.memory is not None
    (vm,) = result.host.memory["vms"]
    assert 256 <= vm["swapped_pages"] <= 300
    assert vm["swapped_out"] >= 256
    assert compared.host is not None
    assert compared.host.memory is not None
    assert compared.host.memory["vms"][0]["swapped_out"] == 0


def test_a_migration_reads_back_what_went() -> None:
    result = run(scenario(duration="60s", migration={"start": "500ms"}))
    assert result.migrations[0].status == "completed"
    assert result.host is not None
    assert result.host.memory is not None
    assert result.host.memory["vms"][0]["read_back"] >= 256


def test_loops_of_ageing_are_compiled_for_it() -> None:
    assert "ageing" in kinds_of(scenario())
    assert "ageing" not in kinds_of(scenario(NO_RECLAIM))
