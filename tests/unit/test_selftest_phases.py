"""dirty_log_perf_test: counts are exact, times are those of the closed forms, law 3 is checked."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InvariantError
from hostsim.costs.exits import WP
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import PageSize
from hostsim.measure.selftest.dirty_log_perf_test import (
    CLEAR,
    DIRTY_MEMORY,
    DISABLE,
    ENABLE,
    GET,
    POPULATE,
    Plan,
    SelftestResult,
    run_selftest,
)
from hostsim.measure.selftest.walked_vm import Walk, WalkedVm
from tests.helpers.kvm import DRAIN_NS, ENTRY_NS, EXIT_NS, HOLD_NS, LOG, LOOP_NS, READ_LOOP_NS, round_sheet, walked

PAGES = 2048
LAZY: dict[str, Any] = {"eager_split": False, "era": "E4"}
PML: dict[str, Any] = {"write_tracking": "pml"}
Run = Callable[..., SelftestResult]


@pytest.fixture
def sheet(tmp_path: Path) -> str:
    return round_sheet(tmp_path)


@pytest.fixture
def run(sheet: str) -> Run:
    def ran(
        n_vcpus: int, pages: int, plan: Plan | None = None, interface: Interface = "clear-dirty-log", **mmu: Any
    ) -> SelftestResult:
        return run_selftest(walked(sheet, n_vcpus, pages, interface, **mmu), plan or Plan())

    return ran


def test_the_phases_are_those_of_the_selftest(run: Run) -> None:
    names = [(phase.name, phase.iteration) for phase in run(2, PAGES).phases]
    iterations = [(name, i) for i in (1, 2) for name in (DIRTY_MEMORY, GET, CLEAR)]
    assert names == [(POPULATE, 0), (ENABLE, 0), *iterations, (DISABLE, 0)]


def test_without_manual_protect_get_clears(run: Run) -> None:
    result = run(2, PAGES, interface="get-dirty-log")
    assert result.of(CLEAR) == []
    assert [phase.pages for phase in result.of(GET)] == [2 * PAGES] * 2
    assert [phase.tally.wp_faults for phase in result.of(DIRTY_MEMORY)] == [2 * PAGES] * 2
    assert result.of(GET)[0].duration_ns == round(2 * PAGES * LOG.get_ns) + 2 * PAGES * 30 + 661


@pytest.mark.parametrize("vcpus", [1, 3, 8])
def test_a_lockless_pass_lasts_as_long_as_one_vcpu(run: Run, vcpus: int) -> None:
    """K1: the entry, pages x (loop + exit + hold + entry), whatever the number of vCPUs; then the exit to user space."""
    result = run(vcpus, PAGES)
    per_page = LOOP_NS + EXIT_NS + HOLD_NS[WP] + ENTRY_NS
    assert [p.duration_ns for p in result.of(DIRTY_MEMORY)] == [ENTRY_NS + PAGES * per_page + EXIT_NS] * 2
    assert all(p.tally.wait_ns == p.tally.hold_ns == 0 for p in result.of(DIRTY_MEMORY))


@pytest.mark.parametrize("vcpus", [1, 2, 16])
def test_an_exclusive_lock_bounds_a_pass(tmp_path: Path, vcpus: int) -> None:
    """O20 with deterministic times: K max(Z + S, N S), and a cycle at the ends."""
    hold = 500
    result = run_selftest(walked(round_sheet(tmp_path, exclusive_base_ns=hold), vcpus, PAGES, mmu="shadow"), Plan())
    think = LOOP_NS + EXIT_NS + ENTRY_NS
    bound = PAGES * max(think + hold, vcpus * hold)
    for phase in result.of(DIRTY_MEMORY):
        assert bound <= phase.duration_ns <= bound + think + vcpus * hold
        assert phase.tally.hold_ns == vcpus * PAGES * hold


def test_the_lock_holds_of_readers_overlap(run: Run) -> None:
    phase = run(8, PAGES, era="E2").of(DIRTY_MEMORY)[0]
    assert phase.tally.hold_ns == 8 * PAGES * HOLD_NS[WP]
    assert phase.tally.wait_ns == 0


@pytest.mark.parametrize("page_size", ["2MiB", "1GiB"])
@pytest.mark.parametrize("write_every", [1, 8])
def test_split_on_a_fault_every_page_faults_whatever_is_written(run: Run, page_size: PageSize, write_every: int) -> None:
    first, second = run(2, PAGES, Plan(2, write_every), page_size=page_size, **LAZY).of(DIRTY_MEMORY)
    assert first.tally.faults == 2 * PAGES
    assert first.tally.split_faults == 2 * PAGES // 512, "memory below 1 GiB has no spte larger than 2 MiB"
    assert second.tally.faults == second.tally.wp_faults == 2 * PAGES // write_every


def test_reads_after_a_split_on_a_fault_inflate_the_dirty_set(run: Run) -> None:
    lazy = run(1, PAGES, Plan(2, 8), page_size="2MiB", **LAZY)
    assert [p.pages for p in lazy.of(GET)] == [PAGES, PAGES // 8]
    eager = run(1, PAGES, Plan(2, 8), page_size="2MiB")
    assert [p.pages for p in eager.of(GET)] == [PAGES // 8] * 2


@pytest.mark.parametrize("write_every", [1, 3, 20])
def test_eager_split_leaves_only_written_pages_to_fault(run: Run, write_every: int) -> None:
    result = run(2, PAGES, Plan(2, write_every), page_size="1GiB")
    wanted = 2 * -(-PAGES // write_every)
    assert [p.tally.faults for p in result.of(DIRTY_MEMORY)] == [wanted] * 2
    assert result.of(ENABLE)[0].pages == 2 * PAGES // 512
    assert result.of(ENABLE)[0].duration_ns == 2 * PAGES // 512 * 26_000 + 661


def test_reads_take_the_loop_and_no_more(run: Run) -> None:
    phase = run(1, 2047, Plan(2, 20)).of(DIRTY_MEMORY)[0]
    writes = -(-2047 // 20)
    loops = writes * LOOP_NS + (2047 - writes) * READ_LOOP_NS
    assert phase.duration_ns == ENTRY_NS + loops + writes * (EXIT_NS + HOLD_NS[WP] + ENTRY_NS) + EXIT_NS


def test_pml_has_an_exit_for_each_512_pages_and_loses_none(run: Run) -> None:
    pages = 5 * 512 + 100
    result = run(2, pages, **PML)
    for phase in result.of(DIRTY_MEMORY):
        assert (phase.tally.faults, phase.tally.pml_full) == (0, 2 * 5)
        full = EXIT_NS + DRAIN_NS + ENTRY_NS
        last = EXIT_NS + DRAIN_NS * 100 // 512
        assert phase.duration_ns == ENTRY_NS + pages * (LOOP_NS + 40) + 5 * full + last
    assert [p.pages for p in result.of(GET)] == [2 * pages] * 2


def test_initially_all_set_protects_at_the_first_clear(run: Run) -> None:
    """kvm_mmu_slot_apply_flags returns before its flush: nothing was protected."""
    result = run(2, PAGES, Plan(3, 4), "initially-all-set", page_size="2MiB")
    enable, clears, walks = result.of(ENABLE)[0], result.of(CLEAR), result.of(DIRTY_MEMORY)
    assert (enable.pages, enable.duration_ns) == (0, 2 * PAGES // 4)
    assert [p.pages for p in result.of(GET)] == [2 * PAGES, PAGES // 2, PAGES // 2]
    assert [p.tally.faults for p in walks] == [0, PAGES // 2, PAGES // 2]
    assert clears[0].duration_ns == 2 * PAGES // 512 * 26_000 + 661, "a split protects the pages of its region, too"
    assert clears[1].duration_ns == PAGES // 2 * 30 + 661


def test_a_clear_of_large_sptes_takes_a_walk_a_word(run: Run) -> None:
    """No page of theirs has a 4 KiB spte to clear: kvm_tdp_mmu_clear_dirty_pt_masked looks at each word and finds none."""
    n = 2 * PAGES
    lazy = run(2, PAGES, Plan(3), "initially-all-set", page_size="2MiB", eager_split=False)
    assert lazy.of(CLEAR)[0].duration_ns == n // 64 * 128 + n // 512 * 16 + 661
    assert lazy.of(CLEAR)[1].duration_ns == n * 30 + 661


def test_overlapping_walks_find_what_another_vcpu_mapped(run: Run) -> None:
    result = run(4, PAGES, overlap=True)
    populate = result.of(POPULATE)[0].tally
    assert populate.map_faults + populate.spurious >= PAGES
    assert populate.map_faults <= 4 * PAGES
    assert [p.pages for p in result.of(GET)] == [PAGES] * 2


def test_slots_are_flushed_one_by_one(run: Run) -> None:
    result = run(2, PAGES, n_slots=4)
    assert [p.tally.flushes for p in (*result.of(ENABLE), *result.of(CLEAR))] == [4, 4, 4]
    assert result.of(ENABLE)[0].duration_ns == 2 * PAGES * 16 + 4 * 661
    assert result.of(CLEAR)[0].duration_ns == 2 * PAGES * 30 + 4 * 661


def test_a_slot_whose_pages_are_large_again_is_flushed_once_or_by_region_or_by_spte(run: Run) -> None:
    regions = 4 * PAGES // 512
    once, each, sptes = (run(4, PAGES, page_size="2MiB", era=era).of(DISABLE)[0] for era in ("E5", "E4", "E3"))
    spte_ns = round(36_000 / 512)
    assert (once.pages, once.tally.flushes, once.duration_ns) == (regions, 1, regions * 36_000 + 661)
    assert (each.pages, each.tally.flushes, each.duration_ns) == (regions, regions, regions * (36_000 + 661))
    assert (sptes.pages, sptes.tally.flushes, sptes.duration_ns) == (regions, 4 * PAGES, 4 * PAGES * (spte_ns + 661))


@pytest.mark.parametrize("mmu", ["direct", "shadow"])
def test_the_rmap_is_flushed_once_in_every_era(run: Run, mmu: str) -> None:
    found = [run(4, PAGES, page_size="2MiB", era=era, mmu=mmu).of(DISABLE)[0].tally.flushes for era in ("E2", "E4", "E6")]
    assert found == [1, 1, 1]


def test_nothing_is_flushed_where_nothing_was_recovered(run: Run) -> None:
    phase = run(2, PAGES).of(DISABLE)[0]
    assert (phase.pages, phase.tally.flushes, phase.duration_ns) == (0, 0, 1)


def test_a_flush_interrupts_the_vcpus_that_run(run: Run) -> None:
    """Each flush waits for the vCPUs in guest mode; a vCPU that is in an exit is not waited for."""
    regions = 4 * PAGES // 512
    phase = run(4, PAGES, Plan(2, 1, run_while_disabling=True), page_size="2MiB", era="E4").of(DISABLE)[0]
    assert phase.tally.flushes == regions
    assert regions * (36_000 + 661) < phase.tally.host_hold_ns < regions * (36_000 + 661 + 775 + 3 * 70)
    assert regions * 661 < phase.tally.flush_ns < regions * (661 + 775 + 3 * 70), "faults keep vCPUs out of guest mode"


GRID = list(product(["4KiB", "2MiB", "1GiB"], [False, True], [False, True], [False, True], [1, 4]))


@pytest.mark.parametrize(("page_size", "pml", "eager", "manual", "write_every"), GRID)
def test_what_is_harvested_is_what_was_dirtied(
    run: Run, page_size: PageSize, pml: bool, eager: bool, manual: bool, write_every: int
) -> None:
    tracking, interface = "pml" if pml else "write-protect", "clear-dirty-log" if manual else "get-dirty-log"
    plan = Plan(3, write_every)
    result = run(
        3, 1024, plan, interface, page_size=page_size, write_tracking=tracking, eager_split=eager, era="E4"
    )
    per_pass = [3 * 1024 // write_every] * 3
    if not eager and page_size != "4KiB":
        per_pass[0] = 3 * 1024
    assert [phase.pages for phase in result.of(GET)] == per_pass


def ended(vm: WalkedVm, *works: Any) -> None:
    for work in works:
        vm.env.process(work)
        vm.env.run()


def test_a_lost_write_is_an_invariant_that_breaks(sheet: str) -> None:
    vm = WalkedVm(walked(sheet, 2, PAGES))
    ended(vm, vm.run(Walk()), vm.enable(), vm.run(Walk(4, 4)), vm.get())
    found = int(vm.bitmap.sum())
    vm.check_harvest(Walk(4, 4), found)
    with pytest.raises(InvariantError, match="harvested"):
        vm.check_harvest(Walk(4, 4), found + 1)
    vm.bitmap[8] = 0
    with pytest.raises(InvariantError, match="1 of them lost"):
        vm.check_harvest(Walk(4, 4), found)


def test_a_get_drains_the_pml_buffers_of_vcpus_in_guest_mode(sheet: str) -> None:
    """200 of 300 pages are written and lie in the PML buffer: without the IPI a GET would not find them."""
    vm = WalkedVm(walked(sheet, 1, 300, **PML))
    ended(vm, vm.run(Walk()), vm.enable())
    vm.env.process(vm.run(Walk()))
    vm.env.run(until=vm.env.now_ns + ENTRY_NS + 200 * (LOOP_NS + 40) + 50)
    assert vm.vm.engine.log.mark_due(np.zeros(300, np.uint8), 0, 300) == 0
    ended(vm, vm.get())
    assert vm.bitmap.nonzero()[0].tolist() == list(range(200))


def test_a_host_process_beside_the_vcpus_moves_nothing(sheet: str) -> None:
    """The engine stops at every host event; where it stops changes no time and no count."""

    def end(every_ns: int) -> tuple[object, bytes]:
        vm = WalkedVm(walked(sheet, 3, PAGES, mmu="shadow"))
        done = vm.env.process(vm.run(Walk()))

        def ticks() -> Any:
            while not done.processed:
                yield vm.env.timeout(every_ns)

        if every_ns:
            vm.env.process(ticks())
        vm.env.run(until=done)
        return vm.tally(), vm.sptes.spte.tobytes()

    assert end(0) == end(777) == end(100_000)
