"""Builds a VM with its engine from an MmuSpec: costs, era and interface, checked together."""

from __future__ import annotations

from dataclasses import replace

from hostsim.core.clock import Clock
from hostsim.core.errors import InputError
from hostsim.core.memory import GuestMemory
from hostsim.costs.costs import load_costs, log_costs, number
from hostsim.costs.era import Prefetch, load_era, unknown_name
from hostsim.costs.exit_costs import exit_costs, populate_ns
from hostsim.costs.exits import EXCLUSIVE, SHARED, ExitCosts
from hostsim.guest.workload import Guest
from hostsim.kvm.address_spaces import AddressSpaces
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.index_costs import (
    IndexCosts,
    added_to_faults,
    index_costs,
    kernel_has,
    locked_for,
    shares_lock,
    unmap_all_ns,
)
from hostsim.kvm.indexed import IndexedSptes, index_of
from hostsim.kvm.interfaces import INTERFACES, Interface, with_rings
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import N_HOSTS
from hostsim.kvm.plan import LogPlan
from hostsim.kvm.rules import conflicts, ring_reserve, sheet_conflicts
from hostsim.kvm.spec import BACKING_PAGES, MEASURED, MmuSpec, pins_pages, splits_eagerly, traits_of
from hostsim.kvm.table_work import table_costs
from hostsim.kvm.tlb import TlbReach
from hostsim.spte_index.book3s_pr import BITS, LINK_BYTES, REST_BYTES
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.spte import REGION_PAGES
from hostsim.spte_index.tables import HPTE_BYTES


def live_vm(
    env: Clock,
    memory: GuestMemory,
    guest: Guest,
    n_vcpus: int,
    stop_ns: int,
    mmu: MmuSpec,
    interface: str,
    log_capacity: int = 0,
    *,
    running: bool = True,
) -> LiveVm:
    """A VM under KVM on ``env``, its vCPUs in the guest or, with ``running`` false, held in user space.

    stop_ns: time of vm_stop once all vCPUs are out of the guest.
    mmu, interface: KVM's MMU and the interface of its dirty log.
    log_capacity: entries of the engine's log of exits; 0: IndexedSptes owns and empties the log.
    InputError for choices that era, machine or interface do not offer.
    """
    plan, config, exits = log_plan(mmu, interface), mmu_config(mmu, interface), exits_of(mmu, n_vcpus)
    if mmu.index == MEASURED:
        engine = GuestEngine(guest, memory, n_vcpus, config, exits, N_HOSTS, log_capacity, running=running)
        vm = LiveVm(env, memory, guest, n_vcpus, stop_ns, engine, plan, running=running)
        if mmu.mmu == "shadow" and any(load.cr3_load_rate_per_s for load in guest.workloads):
            vm.table_counts = AddressSpaces(vm, table_costs(mmu.costs)).work.counts
        return vm
    costs, cap_pages = index_costs(mmu), n_vcpus * traits_of(mmu.index).cap
    index = index_of(mmu.index, memory, cap_pages, has_notifiers=not pins_pages(mmu.index, mmu.era))
    added = added_to_faults(mmu.index, mmu, costs.harvest, float(sum(index.bytes_used().values())))
    capacity = max(log_capacity, memory.n_pages)
    if cap_pages:
        config = _capped(config, mmu.index, index, costs, cap_pages)
    engine = GuestEngine(guest, memory, n_vcpus, config, added.on(exits), N_HOSTS, capacity, running=running)
    has = kernel_has(load_era(mmu.era), mmu.mmu)
    indexed = IndexedSptes(mmu.index, index, engine, costs, added, has, owns_log=log_capacity == 0)
    return LiveVm(env, memory, guest, n_vcpus, stop_ns, engine, plan, indexed, running=running)


def _capped(config: MmuConfig, design: str, index: BaseIndex, costs: IndexCosts, cap_pages: int) -> MmuConfig:
    """``config`` with a cap on hptes; ``cap_pages`` is the cap of all vCPUs together."""
    a_page = REST_BYTES + LINK_BYTES * len(BITS) + HPTE_BYTES
    full_bytes = index.index_bytes()["heads"] + cap_pages * a_page
    unmapping_ns = unmap_all_ns(design, costs.unmapping, cap_pages, full_bytes)
    return replace(config, cap_pages=cap_pages, unmap_all_ns=unmapping_ns)


def log_plan(mmu: MmuSpec, interface: str) -> LogPlan:
    """The plan by which KVM keeps the log of a VM. InputError for choices that are not offered together.

    mmu: the era, the cost sheet and the choices of [vm.mmu].
    interface: how user space reads the log, as ``vm.dirty_tracking`` names it.
    """
    known, era, costs = checked(mmu, interface), load_era(mmu.era), load_costs(mmu.costs)
    is_eager = splits_eagerly(mmu.mmu, era) if mmu.eager_split is None else mmu.eager_split
    is_shared = mmu.mmu == "tdp" and era.lock == "rwlock" and era.tdp_mmu != "absent" and shares_lock(mmu.index)
    return LogPlan(
        interface=known,
        costs=log_costs(costs, era, mmu.mmu),
        mmu=mmu,
        lock_pair_ns=number(mmu.costs, "lock_pair_ns").value,
        eager_split=is_eager,
        recovery=era.recovery[mmu.mmu] if mmu.page_size != "4KiB" else "none",
        slot_mode=SHARED if is_shared else EXCLUSIVE,
        slot_yields=("eager-split" if is_eager else "enable") in era.yields,
        invalidates=traits_of(mmu.index).protects_by_zapping,
        recovery_flush=era.recovery_flush[mmu.mmu],
        clear_lock=mmu.clear_lock or era.clear_lock,
        caches=CacheCosts.from_sheet(costs),
    )


def mmu_config(mmu: MmuSpec, interface: str) -> MmuConfig:
    """The engine's configuration under ``mmu`` and ``interface``."""
    # Model limit: KVM's limit of shadow pages, max(64, 2 % of the pages), is never reached. A VM of n pages has one
    # spte a page, so it has n / 512 page tables and the tables above them, a tenth of the limit. A guest whose
    # processes map all memory 10.2 times, or half of it 20.5 times, meets it (hostsim.spte_index.recycling).
    # Model limit: when a VM starts, its host has allocated exactly the host pages that have content.
    is_ring = interface in with_rings()
    return MmuConfig(
        mmu=mmu,
        huge=mmu.page_size != "4KiB",
        whole_table=load_era(mmu.era).split_on_fault[mmu.mmu] == "whole-table",
        ring_entries=mmu.ring_entries if is_ring else 0,
        ring_soft=mmu.ring_entries - ring_reserve(mmu) if is_ring else 0,
        populate_ns=populate_ns(load_costs(mmu.costs), BACKING_PAGES[mmu.page_size]),
        host_pages=BACKING_PAGES[mmu.page_size],
        block_regions=max(1, BACKING_PAGES[mmu.page_size] // REGION_PAGES),
        ageing=load_era(mmu.era).ageing,
        tlb=tlb_reach(mmu),
        prefetch=_prefetch(mmu),
    )


def _prefetch(mmu: MmuSpec) -> Prefetch:
    """The rule of sptes that a fault prefetches. Without A bits no spte is prefetched: it would count as accessed."""
    # Model limit: with an index of sptes (vm.mmu.index) a map fault maps one page.
    return load_era(mmu.era).prefetch[mmu.mmu] if mmu.a_bits and mmu.index == MEASURED else "none"


def tlb_reach(mmu: MmuSpec) -> TlbReach | None:
    """Reach of a vCPU's TLB; None without A bits, where no page-table walk sets one."""
    # Model limit: a vCPU has the second-level TLB of its core for itself: no hyperthread, no host process takes entries.
    costs = load_costs(mmu.costs)
    return TlbReach(int(costs.tlb_entries), int(costs.tlb_giant_entries)) if mmu.a_bits else None


def exits_of(mmu: MmuSpec, n_vcpus: int) -> ExitCosts:
    """Costs of the exits of ``n_vcpus`` vCPUs."""
    costs, era = load_costs(mmu.costs), load_era(mmu.era)
    if mmu.index != MEASURED:
        era = locked_for(mmu.index, era, mmu.mmu)
    return exit_costs(costs, era, mmu.mmu, pml=mmu.write_tracking == "pml", n_vcpus=n_vcpus, n_hosts=N_HOSTS)


def checked(mmu: MmuSpec, interface: str) -> Interface:
    """The interface, if era, machine and interface are compatible; else InputError with all problems."""
    found = next((known for known in INTERFACES if known == interface), None)
    if found is None:
        raise unknown_name("vm.dirty_tracking", interface, ("tcg", *INTERFACES))
    load_costs(mmu.costs)
    load_era(mmu.era).locks(mmu.mmu)
    if findings := [*conflicts(mmu, found), *sheet_conflicts(mmu, mmu.costs)]:
        raise InputError([finding.problem("") for finding in findings])
    return found
