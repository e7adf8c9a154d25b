"""The handling of mmu-notifier events by the kernel of an era, on a machine."""

from __future__ import annotations

from dataclasses import replace

from hostsim.core.errors import InputError, Problem
from hostsim.costs.costs import MODES, load_costs
from hostsim.costs.era import is_before, load_era
from hostsim.costs.exits import EXCLUSIVE, NONE
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.mmu_notifier import MmuNotifier, NotifierPlan
from hostsim.kvm.spec import AgeingLock, MmuSpec, pins_pages

LOCK_MODES = {"locked": EXCLUSIVE, "lockless": NONE}
BATCHED_SINCE = "E2"
"""Reclaim defers flushes of the host's TLBs since 4.3 (mm/rmap.c::should_defer_flush); in E1 most kernels are older."""


def notifier_plan(mmu: MmuSpec) -> NotifierPlan:
    """The plan of the era and cost sheet of ``mmu``. InputError for names that do not exist."""
    # Model limit: zapping a page costs as much as ageing a page, one atomic operation on its spte.
    costs, era = load_costs(mmu.costs), load_era(mmu.era)
    return NotifierPlan(
        age_page_ns=costs.age_page_ns,
        zap_page_ns=costs.age_page_ns,
        lock_pair_ns=2 * costs.atomic_ns,
        lock_mode=MODES.index(era.ageing_lock),
        flush=era.flush_when_ageing,
        batches=not is_before(era, BATCHED_SINCE),
    )


def notifier_of(vm: LiveVm, mmu: MmuSpec, ageing_lock: AgeingLock = "era") -> MmuNotifier:
    """The mmu notifier of ``vm``. InputError if the VM's kernel pins guest pages and has no notifier."""
    if pins_pages(mmu.index, mmu.era):
        got = f"'{mmu.index}' with era {mmu.era} and a host that ages or reclaims its memory"
        wanted = "neither beside it: its pages were pinned in 2010; or a later era, where ageing finds all old"
        raise InputError([Problem("", "vm.mmu.index", got, wanted, 'era = "E0b"')])
    plan = notifier_plan(mmu)
    if ageing_lock != "era":
        plan = replace(plan, lock_mode=LOCK_MODES[ageing_lock])
    return MmuNotifier(vm.env, vm.engine, vm.lock, vm.flush, plan, vm.indexed)
