"""How the kernel of an era handles mmu-notifier events on a machine."""

from __future__ import annotations

from hostsim.host.kvm.live_vm import LiveVm
from hostsim.host.kvm.mmu_notifier import MmuNotifier, NotifierPlan
from hostsim.host.kvm.spec import MmuSpec
from hostsim.mmu.costs import MODES, load_costs
from hostsim.mmu.era import load_era


def notifier_plan(mmu: MmuSpec) -> NotifierPlan:
    """From the words of a machine. InputError for names that do not exist."""
    # Model limit: a page that goes costs what a page that is aged costs, one atomic operation on its spte.
    costs, era = load_costs(mmu.costs), load_era(mmu.era)
    return NotifierPlan(
        age_page_ns=costs.age_page_ns,
        zap_page_ns=costs.age_page_ns,
        lock_pair_ns=2 * costs.atomic_ns,
        lock_mode=MODES.index(era.ageing_lock),
        flush=era.flush_when_ageing,
    )


def notifier_of(vm: LiveVm, mmu: MmuSpec) -> MmuNotifier:
    """The mmu notifier of ``vm``."""
    return MmuNotifier(vm.env, vm.engine, vm.lock, vm.flush, notifier_plan(mmu))
