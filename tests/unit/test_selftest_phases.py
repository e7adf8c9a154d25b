"""dirty_log_perf_test: counts are exact, times are those of the closed forms, law 3 is checked."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from hostsim.core.clock import Clock
from hostsim.core.errors import InvariantError
from hostsim.costs.exits import SHARED, WP
from hostsim.kvm import dirty_log
from hostsim.kvm.setup import Backing, KvmSetup, LogPolicy
from hostsim.kvm.vm import KvmVm, Walk
from hostsim.measure.selftest.dirty_log_perf_test import (
    CLEAR,
    DIRTY_MEMORY,
    DISABLE,
    ENABLE,
    GET,
    POPULATE,
    Plan,
    SelftestResult,
    check_harvest,
    run_selftest,
)
from tests.helpers.kvm import ENTRY_NS, EXIT_NS, HOLD_NS, LOG, LOOP_NS, READ_LOOP_NS, exclusive_costs, round_costs

PAGES = 2048
LAZY = LogPolicy(eager_split=False)
PML = LogPolicy(pml=True)


def run(setup: KvmSetup, plan: Plan | None = None) -> SelftestResult:
    return run_selftest(setup, round_costs(), plan or Plan())


def test_the_phases_are_those_of_the_selftest() -> None:
    names = [(phase.name, phase.iteration) for phase in run(KvmSetup(2, PAGES)).phases]
    iterations = [(name, i) for i in (1, 2) for name in (DIRTY_MEMORY, GET, CLEAR)]
    assert names == [(POPULATE, 0), (ENABLE, 0), *iterations, (DISABLE, 0)]


def test_without_manual_protect_get_clears() -> None:
    result = run(KvmSetup(2, PAGES, policy=LogPolicy(manual_protect=False)))
    assert result.of(CLEAR) == []
    assert [phase.pages for phase in result.of(GET)] == [2 * PAGES] * 2
    assert [phase.tally.wp_faults for phase in result.of(DIRTY_MEMORY)] == [2 * PAGES] * 2
    assert result.of(GET)[0].duration_ns == round(2 * PAGES * LOG.get_ns) + 2 * PAGES * 30 + 661


@pytest.mark.parametrize("vcpus", [1, 3, 8])
def test_a_lockless_pass_lasts_as_long_as_one_vcpu(vcpus: int) -> None:
    """K1: pages x (loop + exit + hold + entry), whatever the number of vCPUs; then the exit to user space."""
    result = run(KvmSetup(vcpus, PAGES))
    per_page = LOOP_NS + EXIT_NS + HOLD_NS[WP] + ENTRY_NS
    assert [p.duration_ns for p in result.of(DIRTY_MEMORY)] == [PAGES * per_page + EXIT_NS] * 2
    assert all(p.tally.wait_ns == p.tally.hold_ns == 0 for p in result.of(DIRTY_MEMORY))


@pytest.mark.parametrize("vcpus", [1, 2, 16])
def test_an_exclusive_lock_bounds_a_pass(vcpus: int) -> None:
    """O20 with deterministic times: K max(Z + S, N S), and a cycle at the ends."""
    hold = 500
    costs = exclusive_costs()
    costs.exits.hold_ns[WP] = hold
    result = run_selftest(KvmSetup(vcpus, PAGES), costs, Plan())
    think = LOOP_NS + EXIT_NS + ENTRY_NS
    bound = PAGES * max(think + hold, vcpus * hold)
    for phase in result.of(DIRTY_MEMORY):
        assert bound <= phase.duration_ns <= bound + think + vcpus * hold
        assert phase.tally.hold_ns == vcpus * PAGES * hold


def test_the_lock_holds_of_readers_overlap() -> None:
    costs = round_costs({WP: SHARED})
    phase = run_selftest(KvmSetup(8, PAGES), costs, Plan()).of(DIRTY_MEMORY)[0]
    assert phase.tally.hold_ns == 8 * PAGES * HOLD_NS[WP]
    assert phase.tally.wait_ns == 0


@pytest.mark.parametrize("backing", ["2MiB", "1GiB"])
@pytest.mark.parametrize("write_every", [1, 8])
def test_split_on_a_fault_every_page_faults_whatever_is_written(backing: Backing, write_every: int) -> None:
    result = run(KvmSetup(2, PAGES, backing=backing, policy=LAZY), Plan(2, write_every))
    first, second = result.of(DIRTY_MEMORY)
    assert first.tally.faults == 2 * PAGES
    assert first.tally.split_faults == 2 * PAGES // 512, "memory below 1 GiB has no spte larger than 2 MiB"
    assert second.tally.faults == second.tally.wp_faults == 2 * PAGES // write_every


def test_reads_after_a_split_on_a_fault_inflate_the_dirty_set() -> None:
    setup = KvmSetup(1, PAGES, backing="2MiB", policy=LAZY)
    assert [p.pages for p in run(setup, Plan(2, 8)).of(GET)] == [PAGES, PAGES // 8]
    eager = replace(setup, policy=LogPolicy())
    assert [p.pages for p in run(eager, Plan(2, 8)).of(GET)] == [PAGES // 8] * 2


@pytest.mark.parametrize("write_every", [1, 3, 20])
def test_eager_split_leaves_only_written_pages_to_fault(write_every: int) -> None:
    result = run(KvmSetup(2, PAGES, backing="1GiB"), Plan(2, write_every))
    wanted = 2 * -(-PAGES // write_every)
    assert [p.tally.faults for p in result.of(DIRTY_MEMORY)] == [wanted] * 2
    assert result.of(ENABLE)[0].pages == 2 * PAGES // 512
    assert result.of(ENABLE)[0].duration_ns == 2 * PAGES // 512 * 26_000 + 661


def test_reads_take_the_loop_and_no_more() -> None:
    phase = run(KvmSetup(1, 2047), Plan(2, 20)).of(DIRTY_MEMORY)[0]
    writes = -(-2047 // 20)
    loops = writes * LOOP_NS + (2047 - writes) * READ_LOOP_NS
    assert phase.duration_ns == loops + writes * (EXIT_NS + HOLD_NS[WP] + ENTRY_NS) + EXIT_NS


def test_pml_has_an_exit_for_each_512_pages_and_loses_none() -> None:
    pages = 5 * 512 + 100
    result = run(KvmSetup(2, pages, policy=PML))
    for phase in result.of(DIRTY_MEMORY):
        assert (phase.tally.faults, phase.tally.pml_full) == (0, 2 * 5)
        full = EXIT_NS + 2000 + ENTRY_NS
        last = EXIT_NS + 2000 * 100 // 512
        assert phase.duration_ns == pages * (LOOP_NS + 40) + 5 * full + last
    assert [p.pages for p in result.of(GET)] == [2 * pages] * 2


def test_initially_all_set_protects_at_the_first_clear() -> None:
    policy = LogPolicy(initially_all_set=True)
    result = run(KvmSetup(2, PAGES, backing="2MiB", policy=policy), Plan(3, 4))
    enable, clears, walks = result.of(ENABLE)[0], result.of(CLEAR), result.of(DIRTY_MEMORY)
    assert (enable.pages, enable.duration_ns) == (0, 2 * PAGES // 4 + 661)
    assert [p.pages for p in result.of(GET)] == [2 * PAGES, PAGES // 2, PAGES // 2]
    assert [p.tally.faults for p in walks] == [0, PAGES // 2, PAGES // 2]
    assert clears[0].duration_ns == 2 * PAGES * 30 + 2 * PAGES // 512 * 26_000 + 661
    assert clears[1].duration_ns == PAGES // 2 * 30 + 661


def test_overlapping_walks_find_what_another_vcpu_mapped() -> None:
    result = run(KvmSetup(4, PAGES, overlap=True))
    populate = result.of(POPULATE)[0].tally
    assert populate.map_faults + populate.spurious >= PAGES
    assert populate.map_faults <= 4 * PAGES
    assert [p.pages for p in result.of(GET)] == [PAGES] * 2


def test_slots_are_flushed_one_by_one() -> None:
    result = run(KvmSetup(2, PAGES, n_slots=4))
    assert [p.tally.flushes for p in (*result.of(ENABLE), *result.of(CLEAR))] == [4, 4, 4]
    assert result.of(CLEAR)[0].duration_ns == 2 * PAGES * 30 + 4 * 661


def test_a_flush_interrupts_the_vcpus_that_run() -> None:
    setup = KvmSetup(4, PAGES, backing="2MiB")
    regions = 4 * PAGES // 512
    quiet = run(setup).of(DISABLE)[0]
    each = replace(setup, policy=LogPolicy(flush_each=True))
    evil = run(each, Plan(2, 1, run_while_disabling=True)).of(DISABLE)[0]
    assert (quiet.pages, quiet.tally.flushes, quiet.duration_ns) == (regions, 1, regions * 36_000 + 661)
    assert evil.tally.flushes == regions
    assert evil.duration_ns == regions * (36_000 + 661 + 775 + 3 * 70)


GRID = list(product(["4KiB", "2MiB", "1GiB"], [False, True], [False, True], [False, True], [1, 4]))


@pytest.mark.parametrize(("backing", "pml", "eager", "manual", "write_every"), GRID)
def test_what_is_harvested_is_what_was_dirtied(
    backing: Backing, pml: bool, eager: bool, manual: bool, write_every: int
) -> None:
    policy = LogPolicy(pml=pml, eager_split=eager, manual_protect=manual)
    result = run(KvmSetup(3, 1024, backing=backing, policy=policy), Plan(3, write_every))
    per_pass = [3 * 1024 // write_every] * 3
    if not eager and backing != "4KiB":
        per_pass[0] = 3 * 1024
    assert [phase.pages for phase in result.of(GET)] == per_pass


def test_a_lost_write_is_an_invariant_that_breaks() -> None:
    vm = KvmVm(Clock(), KvmSetup(2, PAGES), round_costs())
    for work in (vm.run(Walk()), dirty_log.enable(vm), vm.run(Walk(4, 4)), dirty_log.get(vm)):
        vm.env.process(work)
        vm.env.run()
    found = int(vm.bitmap.sum())
    check_harvest(vm, Walk(4, 4), found)
    with pytest.raises(InvariantError, match="harvested"):
        check_harvest(vm, Walk(4, 4), found + 1)
    vm.bitmap[8] = 0
    with pytest.raises(InvariantError, match="1 of them lost"):
        check_harvest(vm, Walk(4, 4), found)


def test_a_log_read_before_the_vcpus_have_left_the_guest_is_found_short() -> None:
    """300 pages lie in the PML buffer: the exit to user space drains it, and without that they would be lost."""
    vm = KvmVm(Clock(), KvmSetup(1, 300, policy=PML), round_costs())
    for work in (dirty_log.enable(vm), vm.run(Walk())):
        vm.env.process(work)
        vm.env.run(until=vm.env.now_ns + 300 * (LOOP_NS + 40))
    with pytest.raises(InvariantError, match="300 of them lost"):
        check_harvest(vm, Walk(), vm.engine.log.mark_due(vm.bitmap, 0, 300))
    vm.env.run()
    check_harvest(vm, Walk(), vm.engine.log.mark_due(vm.bitmap, 0, 300))


def test_a_host_process_beside_the_vcpus_moves_nothing() -> None:
    """The engine stops at every host event; where it stops changes no time and no count."""
    setup, costs = KvmSetup(3, PAGES), exclusive_costs()

    def ended(every_ns: int) -> tuple[object, bytes]:
        vm = KvmVm(Clock(), setup, costs)
        done = vm.env.process(vm.run(Walk()))

        def ticks() -> object:
            while not done.processed:
                yield vm.env.timeout(every_ns)

        if every_ns:
            vm.env.process(ticks())
        vm.env.run(until=done)
        return vm.tally(), vm.sptes.spte.tobytes()

    assert ended(0) == ended(777) == ended(100_000)
