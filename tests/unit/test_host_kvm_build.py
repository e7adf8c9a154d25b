from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.costs.costs import LogCosts, load_costs
from hostsim.costs.exits import EXCLUSIVE, SHARED
from hostsim.kvm.build import checked, exits_of, log_plan, mmu_config
from hostsim.kvm.interfaces import INTERFACES
from hostsim.kvm.plan import LogPlan
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from tests.helpers.live import live_machine

COSTS = LogCosts(
    get_ns=0.5, clear_ns=30.0, protect_ns=14.0, split_ns=26_000.0, recover_ns=36_000.0, all_set_ns=0.25, flush_ns=661.0,
    first_ipi_ns=775.0, more_ipi_ns=70.0,
)  # fmt: skip


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_current_kernel_has_every_interface(interface: str) -> None:
    plan, config = log_plan(MmuSpec(), interface), mmu_config(MmuSpec(), interface)
    assert plan.interface == interface
    assert plan.all_set == (interface == "initially-all-set")
    assert (config.ring_entries > 0) == (interface == "dirty-ring")


@pytest.mark.parametrize(
    ("interface", "mmu", "keys"),
    [
        ("clear-dirty-log", {"era": "E1"}, ["vm.dirty_tracking"]),
        ("initially-all-set", {"era": "E1"}, ["vm.dirty_tracking"]),
        ("dirty-ring", {"era": "E2"}, ["vm.dirty_tracking"]),
        ("get-dirty-log", {"era": "E3", "eager_split": True}, ["vm.mmu.eager_split"]),
        ("clear-dirty-log", {"clear_lock": "shared", "mmu": "shadow"}, ["vm.mmu.clear_lock"]),
        ("clear-dirty-log", {"clear_lock": "shared", "index": "rmap"}, ["vm.mmu.clear_lock"]),
        ("clear-dirty-log", {"clear_lock": "shared", "era": "E1"}, ["vm.dirty_tracking", "vm.mmu.clear_lock"]),
        ("get-dirty-log", {"costs": "nehalem-2010", "write_tracking": "pml"}, ["vm.mmu.write_tracking"]),
        ("get-dirty-log", {"mmu": "shadow", "write_tracking": "pml"}, ["vm.mmu.write_tracking"]),
        ("dirty-ring", {"write_tracking": "d-bit"}, ["vm.mmu.write_tracking"]),
        ("dirty-ring", {"ring_entries": 64}, ["vm.mmu.ring_entries"]),
        ("dirty-ring", {"ring_entries": 512, "write_tracking": "pml"}, ["vm.mmu.ring_entries"]),
        ("clear-dirty-log", {"era": "E1", "eager_split": True}, ["vm.dirty_tracking", "vm.mmu.eager_split"]),
        ("dirty-rings", {}, ["vm.dirty_tracking"]),
        ("get-dirty-log", {"era": "E9"}, ["era"]),
        ("get-dirty-log", {"costs": "cascade"}, ["sheet"]),
        ("get-dirty-log", {"mmu": "nested"}, ["mmu"]),
    ],
)
def test_what_is_not_offered_is_told_with_its_names(interface: str, mmu: dict[str, Any], keys: list[str]) -> None:
    with pytest.raises(InputError) as error:
        checked(MmuSpec(**mmu), interface)
    assert [problem.key for problem in error.value.problems] == keys
    assert all(problem.example for problem in error.value.problems)


def test_a_machine_is_refused_before_it_runs() -> None:
    spec = replace(live_machine().spec, mmu=MmuSpec(era="E0"), dirty_tracking="clear-dirty-log")
    with pytest.raises(InputError, match=r"E2 \(kernel 5\.10\) or later"):
        Machine(spec)


@pytest.mark.parametrize(
    ("era", "mmu", "eager", "mode", "yields"),
    [
        ("E0", "tdp", None, EXCLUSIVE, False),
        ("E1", "direct", None, EXCLUSIVE, False),
        ("E3", "tdp", None, SHARED, True),
        ("E4", "tdp", None, SHARED, True),
        ("E4", "tdp", False, SHARED, True),
        ("E4", "shadow", None, EXCLUSIVE, True),
    ],
)
def test_how_a_log_is_switched_on(era: str, mmu: str, eager: bool | None, mode: int, yields: bool) -> None:
    plan = log_plan(MmuSpec(era=era, mmu=mmu, eager_split=eager), "get-dirty-log")
    assert (plan.slot_mode, plan.slot_yields) == (mode, yields)
    assert plan.eager_split == (era == "E4" and mmu == "tdp" and eager is not False)
    assert (plan.start_unit_ns > 0, plan.stop_unit_ns > 0) == (yields, yields)


def test_only_huge_pages_are_recovered() -> None:
    plans = [log_plan(MmuSpec(era=era, page_size=size), "get-dirty-log") for era, size in (("E4", "2MiB"), ("E4", "4KiB"))]
    assert [plan.recovery for plan in plans] == ["zap", "none"]
    assert log_plan(MmuSpec(era="E6", page_size="2MiB"), "get-dirty-log").recovery == "in-place"


def test_holds_are_sums_of_their_units() -> None:
    eager = LogPlan("get-dirty-log", COSTS, lock_pair_ns=50.0)
    lazy = replace(eager, eager_split=False)
    assert (eager.start_hold_ns(2, 3), lazy.start_hold_ns(2, 3)) == (52_042, 70)
    assert (eager.clear_hold_ns(10, 1), lazy.clear_hold_ns(10, 1)) == (26_300, 314)
    assert eager.reset_hold_ns(3, 10) == 450
    assert (eager.stop_hold_ns(2), eager.stop_hold_ns(0)) == (72_000, 1)
    assert (eager.start_unit_ns, lazy.start_unit_ns) == (26_000, 64 * 14)


@pytest.mark.parametrize(("write_tracking", "soft"), [("write-protect", 4096 - 64), ("pml", 4096 - 64 - 512)])
def test_a_ring_is_full_while_a_pml_buffer_still_fits(write_tracking: Any, soft: int) -> None:
    assert mmu_config(MmuSpec(write_tracking=write_tracking), "dirty-ring").ring_soft == soft


def test_exits_cost_what_the_sheet_says() -> None:
    sheet, exits = load_costs("cascade-lake"), exits_of(MmuSpec(), 4)
    assert (exits.exit_ns, exits.entry_ns) == (round(sheet.exit_ns), round(sheet.entry_ns))
    assert (exits.pml_ns, exits_of(MmuSpec(write_tracking="pml"), 4).pml_ns > 0) == (0, True)
