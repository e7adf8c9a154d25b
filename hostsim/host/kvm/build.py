"""From a machine's words on KVM to a VM with its engine: costs, era and interface, checked together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hostsim.errors import InputError, Problem
from hostsim.guest.workload import Guest
from hostsim.host.clock import Clock
from hostsim.host.kvm.engine import GuestEngine
from hostsim.host.kvm.index_costs import (
    IndexCosts,
    added_to_faults,
    index_costs,
    kernel_has,
    locked_for,
    shares_lock,
    unmap_all_ns,
)
from hostsim.host.kvm.indexed import IndexedSptes, index_of
from hostsim.host.kvm.lay_out import MmuConfig
from hostsim.host.kvm.live_vm import LiveVm
from hostsim.host.kvm.lock import N_HOSTS
from hostsim.host.kvm.notifier_plan import notifies
from hostsim.host.kvm.plan import LogPlan
from hostsim.host.kvm.setup import BACKING_PAGES, LogCosts
from hostsim.host.kvm.spec import INDEXED, INTERFACES, MEASURED, UNMAPPING, Interface, MmuSpec
from hostsim.host.spte_index.base import BaseIndex
from hostsim.mmu.cost_rules import PML_ENTRIES
from hostsim.mmu.costs import exit_costs, load_costs, log_costs, number, populate_ns
from hostsim.mmu.era import Era, era_names, load_era, unknown_name
from hostsim.mmu.exits import EXCLUSIVE, SHARED, ExitCosts
from hostsim.mmu.index.pr_hashes import BITS, CAP, LINK_BYTES, REST_BYTES
from hostsim.mmu.index.tables import HPTE_BYTES
from hostsim.mmu.memory import GuestMemory
from hostsim.mmu.spte import REGION_PAGES
from hostsim.mmu.tlb import TlbReach

RING_ERA = "E3"
"""First era whose kernels all have KVM_CAP_DIRTY_LOG_RING (5.11)."""
RING_RESERVED = 64
"""virt/kvm/dirty_ring.c::KVM_DIRTY_RING_RSVD_ENTRIES, kept free beside a PML buffer's."""


def live_vm(
    env: Clock,
    memory: GuestMemory,
    guest: Guest,
    n_vcpus: int,
    stop_ns: int,
    mmu: MmuSpec,
    interface: str,
    log_capacity: int = 0,
) -> LiveVm:
    """A VM under KVM on ``env``. InputError for what its era, its machine or its interface does not offer."""
    plan, config, exits = log_plan(mmu, interface), mmu_config(mmu, interface), exits_of(mmu, n_vcpus)
    if mmu.index == MEASURED:
        engine = GuestEngine(guest, memory, n_vcpus, config, exits, N_HOSTS, log_capacity)
        return LiveVm(env, memory, guest, n_vcpus, stop_ns, engine, plan)
    costs, cap_pages = index_costs(mmu), n_vcpus * CAP if mmu.index == UNMAPPING else 0
    index = index_of(mmu.index, memory, cap_pages, has_notifiers=notifies(mmu))
    added = added_to_faults(mmu.index, mmu, costs.harvest, float(sum(index.bytes_used().values())))
    capacity = max(log_capacity, memory.n_pages)
    if cap_pages:
        config = _capped(config, mmu.index, index, costs, cap_pages)
    engine = GuestEngine(guest, memory, n_vcpus, config, added.on(exits), N_HOSTS, capacity)
    has = kernel_has(load_era(mmu.era), mmu.mmu)
    indexed = IndexedSptes(mmu.index, index, engine, costs, added, has, owns_log=log_capacity == 0)
    return LiveVm(env, memory, guest, n_vcpus, stop_ns, engine, plan, indexed)


def _capped(config: MmuConfig, design: str, index: BaseIndex, costs: IndexCosts, cap_pages: int) -> MmuConfig:
    """``config`` with a cap on hptes, of all vCPUs together."""
    a_page = REST_BYTES + LINK_BYTES * len(BITS) + HPTE_BYTES
    full_bytes = index.index_bytes()["heads"] + cap_pages * a_page
    unmapping_ns = unmap_all_ns(design, costs.unmapping, cap_pages, full_bytes)
    return replace(config, cap_pages=cap_pages, unmap_all_ns=unmapping_ns)


def log_plan(mmu: MmuSpec, interface: str) -> LogPlan:
    """How the log is kept. InputError for what is not offered."""
    known, era, costs = checked(mmu, interface), load_era(mmu.era), load_costs(mmu.costs)
    is_eager = era.eager_split if mmu.eager_split is None else mmu.eager_split
    is_shared = mmu.mmu == "tdp" and era.lock == "rwlock" and era.tdp_mmu != "absent" and shares_lock(mmu.index)
    return LogPlan(
        interface=known,
        costs=LogCosts(**log_costs(costs, era, mmu.mmu)),
        lock_pair_ns=number(mmu.costs, "lock_pair_ns").value,
        pml=mmu.write_tracking == "pml",
        d_bit=mmu.write_tracking == "d-bit",
        eager_split=is_eager,
        recovery=era.recovery[mmu.mmu] if mmu.page_size != "4KiB" else "none",
        slot_mode=SHARED if is_shared else EXCLUSIVE,
        slot_yields=("eager-split" if is_eager else "enable") in era.yields,
        invalidates=mmu.index == UNMAPPING,
    )


def mmu_config(mmu: MmuSpec, interface: str) -> MmuConfig:
    """What the engine has to know."""
    # Model limit: what has content when a VM starts is all that its host has allocated for it.
    is_ring = interface == "dirty-ring"
    reserved = RING_RESERVED + (PML_ENTRIES if mmu.write_tracking == "pml" else 0)
    return MmuConfig(
        mechanism=mmu.write_tracking,
        huge=mmu.page_size != "4KiB",
        whole_table=load_era(mmu.era).split_on_fault[mmu.mmu] == "whole-table",
        ring_entries=mmu.ring_entries if is_ring else 0,
        ring_soft=mmu.ring_entries - reserved if is_ring else 0,
        populate_ns=populate_ns(load_costs(mmu.costs), BACKING_PAGES[mmu.page_size]),
        host_pages=BACKING_PAGES[mmu.page_size],
        block_regions=max(1, BACKING_PAGES[mmu.page_size] // REGION_PAGES),
        a_bits=mmu.a_bits,
        ageing=load_era(mmu.era).ageing,
        tlb=tlb_reach(mmu),
    )


def tlb_reach(mmu: MmuSpec) -> TlbReach | None:
    """What the TLB of a vCPU holds, where the hardware notes accesses on its walks."""
    # Model limit: a vCPU has the second-level TLB of its core for itself: no hyperthread, no host process takes entries.
    costs = load_costs(mmu.costs)
    return TlbReach(int(costs.tlb_entries), int(costs.tlb_giant_entries)) if mmu.a_bits else None


def exits_of(mmu: MmuSpec, n_vcpus: int) -> ExitCosts:
    """What exits of ``n_vcpus`` vCPUs take."""
    costs, era = load_costs(mmu.costs), load_era(mmu.era)
    if mmu.index != MEASURED:
        era = locked_for(mmu.index, era, mmu.mmu)
    return ExitCosts(**exit_costs(costs, era, mmu.mmu, pml=mmu.write_tracking == "pml", n_vcpus=n_vcpus + N_HOSTS))


def checked(mmu: MmuSpec, interface: str) -> Interface:
    """The interface, if era, machine and interface go together; else InputError with all problems."""
    found = next((known for known in INTERFACES if known == interface), None)
    if found is None:
        raise unknown_name("vm.dirty_tracking", interface, ("tcg", *INTERFACES))
    load_costs(mmu.costs)
    load_era(mmu.era).locks(mmu.mmu)
    if problems := list(_problems(mmu, found)):
        raise InputError(problems)
    return found


def _problems(mmu: MmuSpec, interface: Interface) -> Iterator[Problem]:
    era = load_era(mmu.era)
    yield from _era_problems(mmu, interface, era)
    if mmu.write_tracking == "pml" and not load_costs(mmu.costs).has_pml:
        got = f"'pml' with costs = '{mmu.costs}'"
        yield Problem("", "vm.mmu.write_tracking", got, "the costs of a machine with PML", 'costs = "cascade-lake"')
    if mmu.write_tracking == "pml" and mmu.mmu == "shadow":
        wanted = "tdp or direct: the D bits of two-dimensional paging"
        yield Problem("", "vm.mmu.write_tracking", "'pml' with mmu = 'shadow'", wanted, 'mmu = "tdp"')
    if mmu.write_tracking == "d-bit" and interface != "get-dirty-log":
        got = f"'d-bit' with dirty_tracking = '{interface}'"
        yield Problem("", "vm.mmu.write_tracking", got, "'get-dirty-log' beside it", 'dirty_tracking = "get-dirty-log"')
    if mmu.write_tracking != "write-protect" and not mmu.a_bits:
        got = f"'{mmu.write_tracking}' with no A bits"
        example = 'write_tracking = "write-protect"'
        yield Problem("", "vm.mmu.write_tracking", got, "'write-protect': who has D bits has A bits", example)
    if interface == "dirty-ring" and mmu_config(mmu, interface).ring_soft < 2:
        yield Problem("", "vm.mmu.ring_entries", str(mmu.ring_entries), "more than KVM keeps free", "ring_entries = 4096")
    if mmu.index != MEASURED:
        yield from _index_problems(mmu, interface)


def _index_problems(mmu: MmuSpec, interface: Interface) -> Iterator[Problem]:
    by_hardware, offered = mmu.index == "book3s-hv", INDEXED[:1] if mmu.index == UNMAPPING else INDEXED
    for key, got, is_wrong, wanted in (
        ("vm.dirty_tracking", interface, interface not in offered, "one of " + ", ".join(offered)),
        ("vm.mmu.mode", mmu.mmu, mmu.mmu == "shadow", "tdp or direct: one spte a page"),
        ("vm.mmu.page_size", mmu.page_size, mmu.page_size != "4KiB", "4KiB: sptes of one size"),
        ("vm.mmu.write_tracking", mmu.write_tracking, (mmu.write_tracking == "d-bit") != by_hardware
         or mmu.write_tracking == "pml", "d-bit with book3s-hv, write-protect with all others"),
    ):  # fmt: skip
        if is_wrong:
            yield Problem("", key, f"'{got}' with index '{mmu.index}'", wanted)


def _era_problems(mmu: MmuSpec, interface: Interface, era: Era) -> Iterator[Problem]:
    for key, got, asked, offered, first in (
        ("vm.dirty_tracking", interface, interface == "clear-dirty-log", era.manual_protect, "E2"),
        ("vm.dirty_tracking", interface, interface == "initially-all-set", era.initially_all_set, "E2"),
        ("vm.dirty_tracking", interface, interface == "dirty-ring", not _before(era, RING_ERA), RING_ERA),
        ("vm.mmu.eager_split", "true", mmu.eager_split is True, era.eager_split, "E4"),
    ):
        if asked and not offered:
            wanted = f"a kernel that has it: {first} or later"
            yield Problem("", key, f"'{got}' with era {era.name}", wanted, f'era = "{first}"')


def _before(era: Era, name: str) -> bool:
    return era_names().index(era.name) < era_names().index(name)
