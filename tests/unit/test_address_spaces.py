"""Guests that write their page tables under shadow paging: exits, syncs, what a log and two-dimensional paging change."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim import simulation
from hostsim.core.clock import Clock
from hostsim.core.errors import InputError
from hostsim.core.knobs import Knobs
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.costs import load_costs
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.page_tables import VcpuSpaces, directories, spaces_of
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.table_work import table_costs
from hostsim.kvm.tally import TableCounts
from hostsim.machine.trackers import TRACKERS
from hostsim.report.verdict_texts import verdict_texts
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.spte_index.spte import WRITABLE

SHEET = "zen4-pvm"
N_TABLES, FIRST = 4, 4096
N_PAGES = FIRST + 512
MS = 1_000_000
WRITER = Workload(
    "tables", "sequential", (0,), FIRST, N_TABLES, Fraction(1000), cr3_load_rate_per_s=Fraction(100),
)  # fmt: skip
"""A write each millisecond, a CR3 load each ten of them."""


def vm_of(load: Workload = WRITER, mode: Any = "shadow", n_vcpus: int = 1) -> LiveVm:
    memory = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]))
    mmu = MmuSpec(era="E4", costs=SHEET, mmu=mode)
    return live_vm(Clock(), memory, build_guest([load], seed=1), n_vcpus, 0, mmu, "get-dirty-log")


def counts_at(vm: LiveVm, until_ns: int) -> TableCounts:
    vm.env.run(until=until_ns)
    assert vm.table_counts is not None
    return vm.table_counts


def test_a_cr3_load_syncs_each_table_that_was_written() -> None:
    vm = vm_of()
    counts = counts_at(vm, 15 * MS)
    assert (counts.cr3_loads, counts.unsync_tables) == (1, N_TABLES)
    assert counts.dropped_sptes == 10, "the writes before the CR3 load"
    assert counts.synced_sptes == 512 * N_TABLES
    assert vm.tally().wp_faults == 2 * N_TABLES, "the first writes, and those after the sync"


def test_a_cr3_load_with_no_unsync_table_is_an_exit_and_an_entry() -> None:
    vm = vm_of(replace(WRITER, write_rate_per_s=Fraction(1)))
    vm.engine.mmu.write_protect(np.arange(FIRST, FIRST + N_TABLES), 0)
    counts, costs = counts_at(vm, 500 * MS), vm.engine.kvm.costs
    assert counts.cr3_loads > 40
    synced_loads = counts.unsync_tables
    assert synced_loads == 1, "the write at 0"
    assert vm.lock.hold_ns > 0
    empty_ns = (counts.cr3_loads - 1) * int(costs.exit_ns + costs.entry_ns)
    assert counts.cr3_ns - empty_ns == pytest.approx(table_costs(SHEET).sync_spte_ns * 512, rel=0.2)


def test_a_sync_takes_what_the_sheet_says() -> None:
    vm, costs = vm_of(), table_costs(SHEET)
    exits = vm.engine.kvm.costs
    took_ns = counts_at(vm, 15 * MS).cr3_ns - int(exits.exit_ns + exits.entry_ns)
    work_ns = N_TABLES * costs.sync_table_ns + 512 * N_TABLES * costs.sync_spte_ns + 10 * costs.sync_drop_ns
    assert took_ns == pytest.approx(work_ns + 2 * load_costs(SHEET).flush_local_ns, abs=3)


def test_tables_are_protected_after_a_sync_and_lost_sptes_fault() -> None:
    vm = vm_of()
    vm.env.run(until=10 * MS + 500_000)
    flags = vm.engine.kvm.sptes.spte
    assert not (flags[FIRST : FIRST + N_TABLES] & WRITABLE).any()
    assert [int(np.count_nonzero(flags[512 * i : 512 * i + 512] == 0)) for i in range(N_TABLES)] == [3, 3, 2, 2]


def test_a_table_that_the_log_protects_stays_unsync() -> None:
    vm = vm_of(replace(WRITER, write_rate_per_s=Fraction(500)))
    tracker = TRACKERS["get-dirty-log"](vm, Knobs(), 0)

    def harvests() -> Generator[Any, Any, None]:
        yield from tracker.start_log()
        yield vm.env.timeout(9 * MS)
        yield from tracker.sync(np.zeros(N_PAGES, np.uint8))

    vm.env.run(until=vm.env.process(harvests()))
    assert not (vm.engine.kvm.sptes.spte[FIRST : FIRST + N_TABLES] & WRITABLE).any(), "the harvest has protected all"
    assert counts_at(vm, 12 * MS).unsync_tables == N_TABLES


def test_vcpus_with_tables_of_their_own_sync_these_alone() -> None:
    load = replace(WRITER, vcpus=(0, 1), write_rate_per_s=Fraction(2000), cr3_load_rate_per_s=Fraction(200))
    shared, split = (counts_at(vm_of(replace(load, split=split), n_vcpus=2), 25 * MS) for split in (False, True))
    assert shared.cr3_loads == split.cr3_loads == 4
    assert split.unsync_tables == 2 * N_TABLES
    assert shared.unsync_tables >= split.unsync_tables


@pytest.mark.parametrize("mode", ["tdp", "direct"])
def test_two_dimensional_paging_sees_no_cr3_load(mode: str) -> None:
    vm = vm_of(mode=mode)
    vm.env.run(until=15 * MS)
    assert vm.table_counts is None
    assert vm.tally().cr3_loads == vm.tally().wp_faults == 0


def test_a_sheet_of_another_machine_lends_its_prices(tmp_path: Any) -> None:
    sheet = tmp_path / "own.toml"
    sheet.write_text('machine = "own"\npml = false\notherwise = "skylake"\n')
    assert table_costs(str(sheet)) == table_costs("skylake") == table_costs(SHEET)


SWITCHER = replace(WRITER, n_pages=8, processes=2, invlpg_rate_per_s=Fraction(200))
"""INVLPG each five milliseconds, two processes of four page tables."""


def test_invlpg_drops_one_spte_and_leaves_the_table_unsync() -> None:
    vm = vm_of(replace(WRITER, n_pages=1, invlpg_rate_per_s=Fraction(200)))
    counts = counts_at(vm, 6 * MS)
    assert (counts.invlpgs, counts.dropped_sptes, counts.cr3_loads) == (1, 1, 0)
    assert counts.table_exits_ns < 10_000
    assert counts_at(vm, 11 * MS).dropped_sptes == 10, "INVLPG twice, the CR3 load the other eight"
    assert counts.synced_sptes == 512 - 2
    vm.env.run(until=12 * MS)
    assert vm.tally().wp_faults == 1 + 1, "the first write, and the one after the sync"


def test_a_cr3_load_syncs_the_tables_of_its_process_alone() -> None:
    counts = counts_at(vm_of(SWITCHER), 11 * MS)
    assert (counts.cr3_loads, counts.unsync_tables, counts.root_misses) == (1, 4, 1)


@pytest.mark.parametrize(("processes", "misses"), [(1, 0), (2, 1), (4, 3), (5, 17)])
def test_kvm_keeps_the_roots_of_four_processes(processes: int, misses: int) -> None:
    counts = counts_at(vm_of(replace(WRITER, n_pages=8, processes=processes)), 180 * MS)
    assert counts.cr3_loads == 17
    assert counts.root_misses == misses


def test_a_fork_protects_the_parent_and_unmaps_the_process_that_ended() -> None:
    vm = vm_of(replace(SWITCHER, invlpg_rate_per_s=Fraction(0), fork_rate_per_s=Fraction(300)))
    flags = vm.engine.kvm.sptes.spte
    counts = counts_at(vm, 5 * MS)
    assert (counts.forks, counts.emulated_writes, counts.zapped_directories) == (1, 3 + 1 + 1, 1)
    assert not (flags[: 4 * 512] & WRITABLE).any(), "sptes of the parent"
    assert not flags[4 * 512 : 8 * 512].any(), "sptes of the process that ended"
    assert counts.table_exits_ns > 4 * 512 * table_costs(SHEET).sync_spte_ns


def test_the_next_process_finds_shadow_tables_of_the_one_that_ended() -> None:
    vm = vm_of(replace(SWITCHER, invlpg_rate_per_s=Fraction(0), fork_rate_per_s=Fraction(101)))
    counts = counts_at(vm, 15 * MS)
    assert (counts.forks, counts.cr3_loads, counts.root_misses) == (1, 1, 1)
    assert counts.dropped_sptes == 5 + 4 * 512, "entries that the parent has changed, and all of the process that ended"


@pytest.mark.parametrize(
    ("tables", "entries"),
    [(1, [1, 1, 1]), (4, [4, 1, 1]), (513, [512, 1, 2, 1]), (512 * 512 + 1, [512] * 512 + [1, 512, 1, 2])],
)
def test_directories_above_tables(tables: int, entries: list[int]) -> None:
    assert directories(tables) == entries


@given(processes=st.integers(1, 9), loads=st.lists(st.booleans(), max_size=40))
def test_roots_that_are_cached_are_those_of_the_last_four_loads(processes: int, loads: list[bool]) -> None:
    """loads: whether the process that is loaded has been replaced before."""
    clocks = build_guest([WRITER], seed=1).clocks
    spaces = VcpuSpaces(next(spaces_of(replace(WRITER, n_pages=9, processes=processes), clocks)))
    loaded = [spaces.current.root]
    for is_new in loads:
        if is_new:
            spaces.following.replace(0)
        root = spaces.following.root
        distinct = list(dict.fromkeys(reversed(loaded)))[:4]
        assert spaces.load_following() == (root in distinct)
        loaded.append(root)


@given(st.integers(1, 6), st.integers(6, 40), st.integers(1, 3))
def test_processes_divide_all_tables(processes: int, tables: int, vcpus: int) -> None:
    load = replace(WRITER, n_pages=tables * vcpus, vcpus=tuple(range(vcpus)), split=True, processes=processes)
    clocks = build_guest([load], seed=1).clocks
    gfns = [gfn for own in spaces_of(load, clocks) for space in own for gfn in range(space.first, space.end)]
    assert gfns == list(range(FIRST, FIRST + load.n_pages))


def ran(**changes: Any) -> RunResult:
    return simulation.run(Scenario.model_validate(scenario(**changes)))


def scenario(**vm: Any) -> dict[str, Any]:
    load = {"pattern": "uniform", "at": "60MiB", "size": "64KiB", "write_rate": "4000/s", "cr3_load_rate": "1000/s"}
    mmu = {"mode": "shadow", "costs": SHEET} | vm.pop("mmu", {})
    load |= vm.pop("load", {})
    return {
        "vm": {"memory": "64MiB", "dirty_tracking": "get-dirty-log", "mmu": mmu, "workload": [load], **vm},
        "migration": {"start": "100ms"}, "link": {"bandwidth": "1Gbit/s"},
    }  # fmt: skip


def test_a_run_says_what_page_tables_cost() -> None:
    result = ran()
    (kvm,) = (one.kvm for one in result.migrations)
    assert kvm is not None
    assert kvm.page_tables is not None
    assert kvm.page_tables["cr3_loads"] > 100
    assert kvm.page_tables["cr3_ns"] < kvm.logged["stall_ns"]
    assert "Shadow paging: the guest lost" in "".join(verdict_texts(result, "text"))


def test_a_run_says_what_forks_cost() -> None:
    result = ran(load={"processes": 4, "fork_rate": "100/s", "invlpg_rate": "500/s"})
    (kvm,) = (one.kvm for one in result.migrations)
    assert kvm is not None
    assert kvm.page_tables is not None
    assert kvm.page_tables["forks"] > 10
    assert kvm.page_tables["table_exits_ns"] < kvm.logged["stall_ns"]
    words = "".join(verdict_texts(result, "text"))
    assert "INVLPGs, to" in words
    assert "forks, each of which ended a process" in words


def test_a_run_is_told_where_page_tables_cost_nothing() -> None:
    result = ran(mmu={"mode": "tdp", "costs": "cascade-lake"})
    assert any("cr3_load_rate of vm has no effect" in text for text in result.warnings)
    (kvm,) = (one.kvm for one in result.migrations)
    assert kvm is not None
    assert "page_tables" not in kvm.to_dict()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"mmu": {"page_size": "2MiB"}}, "vm.mmu.page_size"),
        ({"mmu": {"index": "rmap"}}, "vm.mmu.index"),
        ({"load": {"size": "256KiB"}}, "vm.workload[0].size"),
        ({"load": {"cr3_load_rate": "200k/s"}}, "vm.workload[0].cr3_load_rate"),
        ({"load": {"write_rate": "0/s", "read_rate": "1/s"}}, "vm.workload[0].cr3_load_rate"),
        ({"load": {"invlpg_rate": "200k/s"}}, "vm.workload[0].invlpg_rate"),
        ({"load": {"fork_rate": "10/s"}}, "vm.workload[0].fork_rate"),
        ({"load": {"processes": 2, "fork_rate": "20k/s"}}, "vm.workload[0].fork_rate"),
        ({"load": {"processes": 17}}, "vm.workload[0].processes"),
        ({"load": {"processes": 2}, "vcpus": 2}, "vm.workload[0].split"),
        ({"load": {"cr3_load_rate": "0/s", "processes": 2}}, "vm.workload[0].processes"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        Scenario.model_validate(scenario(**changes))
    assert key in [problem.key for problem in caught.value.problems]


def test_tasks_that_sleep_for_pages_load_no_cr3() -> None:
    short = scenario() | {"host": {"memory": {"size": "48MiB", "swap": "nvme", "async_page_faults": True}}}
    with pytest.raises(InputError, match="false with cr3_load_rate"):
        Scenario.model_validate(short)


def test_data_among_the_tables_is_refused() -> None:
    both = scenario()
    both["vm"]["workload"].append({"pattern": "uniform", "write_rate": "10/s"})
    with pytest.raises(InputError, match="a region with page tables that no other workload accesses"):
        Scenario.model_validate(both)


def test_two_writers_on_a_vcpu_are_refused() -> None:
    twice = scenario()
    twice["vm"]["workload"] *= 2
    with pytest.raises(InputError, match="one workload with cr3_load_rate a vCPU"):
        Scenario.model_validate(twice)
