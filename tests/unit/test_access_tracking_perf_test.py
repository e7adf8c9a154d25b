"""access_tracking_perf_test: what its phases take is what their faults take, and ageing meets the vCPUs at mmu_lock."""

from __future__ import annotations

import pytest

from hostsim.core.errors import InputError
from hostsim.costs.costs import load_costs
from hostsim.costs.era import load_era
from hostsim.costs.exit_costs import exit_costs
from hostsim.kvm.spec import MmuSpec
from hostsim.measure.selftest.access_lines import access_lines
from hostsim.measure.selftest.access_options import AccessOptions, access_plan
from hostsim.measure.selftest.access_tracking_perf_test import (
    ACCESSES,
    AGEING,
    MARK_IDLE,
    POPULATE,
    READ,
    READ_IDLE,
    WRITE,
    WRITE_IDLE,
    AccessPlan,
    AccessResult,
    loop_ns,
    run_access_test,
)

pytestmark = pytest.mark.quick
PAGES = 256
SHEET = load_costs("cascade-lake")


def run(era: str = "E4", vcpus: int = 2, *, a_bits: bool = True, **asked: bool) -> AccessResult:
    return run_access_test(AccessPlan(MmuSpec(era=era, a_bits=a_bits), vcpus, PAGES, **asked))


def took_ns(result: AccessResult, name: str) -> int:
    return result.of(name)[0].duration_ns


def test_the_phases_are_those_of_the_selftest() -> None:
    names = [phase.name for phase in run().phases]
    assert names == [POPULATE, WRITE, READ, MARK_IDLE, WRITE_IDLE, MARK_IDLE, READ_IDLE]


def test_with_a_bits_idle_memory_costs_what_other_memory_does() -> None:
    result, costs = run(), exit_costs(SHEET, load_era("E4"), n_vcpus=2)
    for name, idle in ((WRITE, WRITE_IDLE), (READ, READ_IDLE)):
        assert took_ns(result, name) == took_ns(result, idle)
        assert took_ns(result, name) == PAGES * loop_ns(SHEET, name) + costs.exit_ns + costs.entry_ns
    assert [result.of(name)[0].tally.faults for name in ACCESSES] == [2 * PAGES, 0, 0, 0, 0]


@pytest.mark.parametrize("era", ["E3", "E6"])
def test_without_a_bits_each_page_costs_a_lockless_fault(era: str) -> None:
    result, costs = run(era, a_bits=False), exit_costs(SHEET, load_era(era), n_vcpus=2)
    fault_ns = costs.exit_ns + costs.entry_ns + round(SHEET.lockless_hold_ns)
    for name in (WRITE_IDLE, READ_IDLE):
        own_ns = PAGES * loop_ns(SHEET, name) + costs.exit_ns + costs.entry_ns
        assert result.of(name)[0].tally.track_faults == 2 * PAGES
        assert took_ns(result, name) == own_ns + PAGES * fault_ns


def test_marking_idle_takes_three_system_calls_and_one_notifier_call_a_page() -> None:
    word_ns = exit_costs(SHEET, load_era("E4"), n_vcpus=2).word_ns  # of mmu_lock, which a vCPU had last
    for mglru, calls_ns in ((False, 3 * SHEET.idle_syscall_ns), (True, 0.0)):
        marked = run(mglru=mglru).of(MARK_IDLE)
        assert [phase.young for phase in marked] == [2 * PAGES] * 2
        assert marked[0].duration_ns == pytest.approx(2 * PAGES * (calls_ns + SHEET.age_page_ns) + word_ns, abs=2)


def test_ageing_under_the_lock_makes_populating_and_itself_slower() -> None:
    alone = run(vcpus=4, mglru=True, during_populate=True)
    without = run("E6", vcpus=4, mglru=True, during_populate=True)
    undisturbed = run_access_test(AccessPlan(MmuSpec(), 4, PAGES, mglru=True, during_populate=True, ages=False))
    walls = [took_ns(result, POPULATE) for result in (undisturbed, without, alone)]
    assert walls[0] == walls[1] < walls[2]
    passes = [result.of(AGEING)[0].duration_ns / result.of(AGEING)[0].passes for result in (without, alone)]
    assert passes[0] == pytest.approx(4 * PAGES * SHEET.age_page_ns, rel=0.01)
    assert passes[1] > 1.2 * passes[0]
    assert alone.of(AGEING)[0].tally.host_wait_ns > 0


def test_lines_are_those_of_the_selftest() -> None:
    lines = list(access_lines(run(mglru=True)))
    assert lines[0].startswith("Populating memory             : 0.000")
    assert lines[3].startswith("Mark memory idle (lru_gen)    : ")
    heads = [line.split(":")[0].rstrip() for line in access_lines(run("E6", mglru=True, during_populate=True))]
    assert heads == ["Running lru_gen benchmark...", "vcpu wall time", "lru_gen avg pass duration"]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        access_plan(AccessOptions(vcpus=0, size="1.3G", during_populate=True, era="E9"))
    assert [problem.file for problem in caught.value.problems] == ["-v", "-b", "--era", "-p"]


def test_memory_of_any_size_is_aged_while_it_is_populated() -> None:
    for era in ("E4", "E6"):
        assert access_plan(AccessOptions(mglru=True, during_populate=True, era=era)).n_pages == 262_144
