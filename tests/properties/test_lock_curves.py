"""Passes of 1 to 256 vCPUs on every sheet: more vCPUs take longer, and no number of them makes a jump."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest

from hostsim.costs.costs import load_costs, sheet_names
from hostsim.costs.era import load_era
from hostsim.costs.exit_costs import crowd_table_ns, exit_costs
from hostsim.kvm.spec import MmuSpec
from hostsim.measure.selftest.access_tracking_perf_test import AGEING, POPULATE, AccessPlan, run_access_test
from hostsim.validation.kvm_machine import dirtied, logged, machine

SIZES = (1, 2, 4, 5, 8, 12, 16, 17, 24, 32, 33, 56, 57, 64, 112, 113, 160, 256)
PAGES = 16
SHEETS = ("arm64-jing", "cascade-lake", "zen4-pvm")
LOCKS = {"exclusive": ("E0", "tdp"), "shared": ("E2", "tdp"), "lockless": ("E3", "tdp"), "rmap": ("E4", "shadow")}
"""Era and MMU whose write-protection faults take mmu_lock so."""
STEEPEST = 1.7
"""Exponent of the time in the number of vCPUs: 1 is a lock that is never free, and its hand-over grows besides."""


@cache
def pass_ns(sheet: str, lock: str, n_vcpus: int) -> int:
    """Time in which ``n_vcpus`` vCPUs write memory of their own that was write-protected."""
    era, mmu = LOCKS[lock]
    return dirtied(logged(machine(sheet, era, n_vcpus, PAGES, mmu=mmu))).now_ns


def grows(times: dict[int, int], slack: float = 0.01) -> list[str]:
    """Where ``times`` fall, or grow too steeply, from one number of vCPUs to the next."""
    return [
        f"{n} vCPUs {times[n]} ns, {more} {times[more]} ns"
        for n, more in pairwise(times)
        if not 1 - slack <= times[more] / times[n] <= (more / n) ** STEEPEST * (1 + slack)
    ]


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("sheet", SHEETS)
def test_a_pass_of_more_vcpus_takes_longer_and_has_no_knee(sheet: str, lock: str) -> None:
    assert grows({n: pass_ns(sheet, lock, n) for n in SIZES}) == []


@pytest.mark.parametrize("sheet", SHEETS)
def test_without_a_lock_all_take_as_long_as_one(sheet: str) -> None:
    assert {pass_ns(sheet, "lockless", n) for n in SIZES} == {pass_ns(sheet, "lockless", 1)}


@pytest.mark.parametrize("sheet", SHEETS)
def test_the_shared_lock_is_faster_where_many_want_it(sheet: str) -> None:
    slower = [n for n in SIZES if n >= 12 and pass_ns(sheet, "shared", n) > pass_ns(sheet, "exclusive", n)]
    assert slower == []


@pytest.mark.parametrize("sheet", SHEETS)
@pytest.mark.parametrize("n_vcpus", [1, 4, 64, 256])
def test_a_lock_costs_more_than_none(sheet: str, n_vcpus: int) -> None:
    assert pass_ns(sheet, "lockless", n_vcpus) < pass_ns(sheet, "shared", n_vcpus)


@pytest.mark.parametrize("ages", [False, True])
def test_populating_takes_longer_with_more_vcpus_and_has_no_knee(ages: bool) -> None:
    times = {}
    for n in SIZES:
        result = run_access_test(AccessPlan(MmuSpec(era="E4"), n, PAGES, True, True, ages))
        times[n] = result.of(POPULATE)[0].duration_ns
        assert not ages or result.of(AGEING)[0].young > 0
    assert grows(times, 0.05) == []


@pytest.mark.parametrize("name", sheet_names())
def test_every_table_grows_with_those_at_the_lock_and_with_the_vcpus(name: str) -> None:
    sheet, era = load_costs(name), load_era("E4")
    last = exit_costs(sheet, era, n_vcpus=1).queue_ns
    for n in range(2, 257):
        costs = exit_costs(sheet, era, n_vcpus=n)
        for mode in (1, 2):
            row = costs.queue_ns[mode].tolist()
            assert row == sorted(row)
            assert row[-1] >= last[mode].tolist()[-1]
        crowd = crowd_table_ns(sheet, n).tolist()
        assert crowd == sorted(crowd)
        assert crowd[-1] >= crowd_table_ns(sheet, n - 1).tolist()[-1]
        last = costs.queue_ns
