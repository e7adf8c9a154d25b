"""Costs of an index under a VM, from counted work: its calls under mmu_lock, and its work within faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from types import MappingProxyType

import numpy as np

from hostsim.costs.costs import clear_page_ns, load_costs
from hostsim.costs.era import Era, load_era
from hostsim.costs.exits import MAP, WP, ExitCosts
from hostsim.kvm.spec import MEASURED, MmuSpec, traits_of
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.guests import IndexedGuest, Layout, build_guest, one_slot
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.work import Work, counted

KERNEL_HAS = {"active-walk": "shadow-walk", "hybrid": "hybrid", "rmap": "rmap", "tdp-tree": "tdp"}
"""The design that reads the log in a kernel, by ``Era.log_read``."""
PROBED_PAGES, PROBED_FAULTS = 4096, 64


@dataclass(frozen=True)
class IndexCosts:
    """Cache costs by operation; they differ in the cost of changing an spte and in taking mmu_lock.

    harvest: of GET and CLEAR.
    switch: of switching the log on and off.
    ageing, unmapping: of mmu notifiers.
    """

    harvest: CacheCosts
    switch: CacheCosts
    ageing: CacheCosts
    unmapping: CacheCosts


@dataclass(frozen=True)
class Upkeep:
    """Work of the index in one fault that maps, and in one that makes an spte writable while its slot is logged."""

    map: Work
    wp: Work


def kernel_has(era: Era, mmu: str) -> str:
    """The design that kernels of ``era`` use themselves."""
    return KERNEL_HAS[era.log_read[mmu]]


def measured_on(era: Era, mmu: str) -> str:
    """The design on which the sheet's CLEAR was measured for ``era``: clear_tree_*_ns on "tdp", clear_rmap_ns on "rmap".

    mmu: "tdp", "direct" or "shadow": the MMU whose page tables the VM has.
    """
    return "tdp" if era.log_read[mmu] == "tdp-tree" else "rmap"


def shares_lock(design: str) -> bool:
    """Whether ``design`` works under a shared mmu_lock where the era shares it: it changes no links under mmu_lock."""
    return design == MEASURED or traits_of(design).links != "mmu_lock"


def index_costs(mmu: MmuSpec) -> IndexCosts:
    """Costs by the sheet's caches; changing an spte costs the measured time of a page less the walk that finds it."""
    sheet, era = load_costs(mmu.costs), load_era(mmu.era)
    caches = CacheCosts.from_sheet(sheet)
    walk_ns = ordered_walk_ns(measured_on(era, mmu.mmu), replace(caches, change_ns=0.0))
    clear_ns = clear_page_ns(sheet, era, mmu.mmu)
    aged = replace(caches, change_ns=max(0.0, sheet.age_page_ns - _ordered_ageing_ns(mmu, era, caches)))
    zap_ns = sheet.measured_ns("zap_page_ns")
    return IndexCosts(
        harvest=replace(caches, change_ns=max(0.0, clear_ns - walk_ns)),
        switch=switching(caches, sheet.protect_page_ns, clear_ns, walk_ns),
        ageing=aged if era.ageing_lock != "none" else replace(aged, lock_pair_ns=0.0),
        unmapping=zapping(caches, zap_ns, walk_ns) if zap_ns and measured_on(era, mmu.mmu) == "rmap" else aged,
    )


def switching(caches: CacheCosts, protect_ns: float, clear_ns: float, walk_ns: float) -> CacheCosts:
    """Costs of switching a log on: an spte costs as much as in a CLEAR, the rest of a page is the call for its head.

    mmu.c::walk_slot_rmaps calls a function by pointer for each head, then tests need_resched() and mmu_lock for waiters.
    protect_ns, clear_ns, walk_ns: of a page with one spte, in order.
    """
    of_heads = max(0.0, protect_ns - clear_ns)
    return replace(caches, change_ns=max(0.0, protect_ns - of_heads - walk_ns), found_ns=of_heads)


def zapping(caches: CacheCosts, zap_ns: float, walk_ns: float) -> CacheCosts:
    """Costs of unmapping: an spte is a store and an atomic operation, the rest of a page is the call for its head.

    mmu.c::mmu_spte_clear_track_bits: a plain store where A and D are set, then the atomic count of kvm_update_page_stats.
    """
    # Model limit: beside the walk to the page, unmapping costs as much as ageing, in every design, on a sheet without
    # zap_page_ns.
    return replace(caches, change_ns=0.0, found_ns=max(0.0, zap_ns - walk_ns))


def _ordered_ageing_ns(mmu: MmuSpec, era: Era, caches: CacheCosts) -> float:
    """Time a page of one ageing call over many young pages in order, in the kernel's own design [ns]."""
    guest = build_guest(measured_on(era, mmu.mmu), one_slot(PROBED_PAGES))
    young = np.zeros(PROBED_PAGES, np.uint8)
    work = _spent(guest.index, lambda: guest.index.clear_young(0, PROBED_PAGES, young))
    return replace(caches, change_ns=0.0).price_ns(work, inf) / PROBED_PAGES


def unmap_all_ns(design: str, costs: CacheCosts, n_hptes: int, footprint_bytes: float) -> int:
    """Time of a fault that finds the cap reached and unmaps all hptes [ns].

    design: name of the index.
    costs: of cache lines, by level.
    n_hptes: hptes of all vCPUs.
    footprint_bytes: index and page tables, which decide the cache that answers.
    """
    guest = build_guest(design, one_slot(PROBED_PAGES))
    return round(costs.price_ns(_spent(guest.index, guest.index.zap_all), footprint_bytes) / PROBED_PAGES * n_hptes)


def ordered_walk_ns(design: str, costs: CacheCosts) -> float:
    """Time a page of a walk over many mapped and writable pages in order, with all lines in memory [ns].

    design: name of the index; the walk is driven on a guest of PROBED_PAGES, and its lines are counted.
    costs: of cache lines, by level of cache.
    """
    guest = build_guest(design, one_slot(PROBED_PAGES))
    work = _spent(guest.index, lambda: guest.index.protect_masked(0, np.ones(PROBED_PAGES, np.uint8)))
    return costs.price_ns(work, inf) / PROBED_PAGES


def _spent(index: BaseIndex, *calls: Callable[[], object]) -> Work:
    before = index.work.copy()
    for call in calls:
        call()
    return counted(index.work, before)


@cache
def upkeep_of(design: str) -> Upkeep:
    """Upkeep of ``design``, counted fault by fault on a small guest, half of it mapped; writing the spte is no upkeep."""
    if traits_of(design).links == "nothing":
        return Upkeep(Work(), Work())
    kept, bare = _faults(design), _faults("table-scan")
    wp = Work() if kept.wp == Work() else _beyond(kept.wp, bare.wp)
    return Upkeep(_beyond(kept.map, bare.map), wp)


def _faults(design: str) -> Upkeep:
    """All work of PROBED_FAULTS faults of each kind in a logged slot; a design that zaps to protect has no wp faults."""
    guest = build_guest(design, one_slot(PROBED_PAGES), Layout(mapped=0.5))
    guest.index.start_log(0)
    there = guest.index.tables.flags[guest.spte_of] != 0
    absent, present = (np.flatnonzero(mask)[:: PROBED_PAGES // (2 * PROBED_FAULTS)] for mask in (~there, there))
    return Upkeep(
        _spent(guest.index, *(_mapping(guest, gfn) for gfn in absent[:PROBED_FAULTS])),
        _spent(guest.index, *(_granting(guest, gfn) for gfn in present[:PROBED_FAULTS])),
    )


def _mapping(guest: IndexedGuest, gfn: int) -> Callable[[], object]:
    flags, one = PRESENT | WRITABLE | DIRTY, np.array([gfn])
    return lambda: guest.index.map(guest.spte_of[one], one, flags)


def _granting(guest: IndexedGuest, gfn: int) -> Callable[[], object]:
    return lambda: guest.index.make_writable(guest.spte_of[gfn : gfn + 1])


def _beyond(work: Work, bare: Work) -> Work:
    """``work`` less ``bare``, the work without an index. Locks are left out: the era decides how a fault takes mmu_lock."""
    return Work(
        streamed=tuple(a - b for a, b in zip(work.streamed, bare.streamed, strict=True)),
        dependent=tuple(a - b for a, b in zip(work.dependent, bare.dependent, strict=True)),
        visited=work.visited - bare.visited,
        atomics=work.atomics - bare.atomics,
        allocations=work.allocations - bare.allocations,
        frees=work.frees - bare.frees,
    )


@dataclass(frozen=True)
class AddedToFaults:
    """Time that a design adds to a fault's hold [ns], less the time that the measured kernel's own design takes there."""

    map_ns: float
    wp_ns: float

    def on(self, exits: ExitCosts) -> ExitCosts:
        """``exits`` with the added time; a hold is at least 1 ns."""
        hold_ns = exits.hold_ns.copy()
        for kind, added_ns in ((MAP, self.map_ns), (WP, self.wp_ns)):
            hold_ns[kind] = max(1, int(hold_ns[kind]) + round(added_ns))
        return exits._replace(hold_ns=hold_ns)


def added_to_faults(design: str, mmu: MmuSpec, costs: CacheCosts, footprint_bytes: float) -> AddedToFaults:
    """AddedToFaults of ``design`` in a VM whose index and sptes take ``footprint_bytes``."""
    own, measured = upkeep_of(design), upkeep_of(measured_on(load_era(mmu.era), mmu.mmu))

    def price_ns(work: Work) -> float:
        return costs.price_ns(work, footprint_bytes) / PROBED_FAULTS

    return AddedToFaults(price_ns(own.map) - price_ns(measured.map), price_ns(own.wp) - price_ns(measured.wp))


def locked_for(design: str, era: Era, mmu: str) -> Era:
    """``era`` with faults that change the index under mmu_lock held exclusively.

    Direct MMUs still map under an exclusive mmu_lock, which protects the rmap. A design whose links lie in the page table,
    or have a lock of their own, keeps the era's modes.
    """
    locks = era.locks(mmu)
    if not shares_lock(design):
        locks = replace(locks, map="exclusive", split="exclusive")
    if traits_of(design).links_writes:
        locks = replace(locks, wp="exclusive")
    return replace(era, faults=MappingProxyType({**era.faults, mmu: locks}))
