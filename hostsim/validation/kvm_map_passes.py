"""Suite ``kvm``: passes over memory that KVM has not mapped, beside simulations: time a page, and page faults of a pass.

Linux arch/x86/kvm/mmu/paging_tmpl.h::pte_prefetch: where the slot is not logged, a fault maps up to eight pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.costs.costs import load_costs
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.build import exits_of
from hostsim.kvm.loops.layout import RESIDENT, UNTOUCHED
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tally import Tally
from hostsim.measure.selftest.walked_vm import Timed, Walk, WalkedSpec, WalkedVm
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.rows import Row, absolute, exact, relative

TOLERANCE = 0.15
SPARE_FAULTS = 4
"""Faults that the guest's own code, its page tables and the memory for its results may take in a pass."""
POPULATES = "populate"
SCATTERING = 2654435761
"""Of the pages that the host has in a measurement: a multiplier that spreads them over memory."""
LOOP_NS = 10


def map_rows() -> Iterator[Row]:
    """Rows of each measured pass over memory that KVM has not mapped, all of it or a part."""
    for measured in _kept("map_passes")["passes"]:
        yield from _rows_of(measured, _simulated(measured))
    partly = _kept("partly_present")
    for measured in partly["passes"]:
        order = "in-a-row" if measured["stride"] == 1 else "far-apart"
        where, present = f"map/partly-{order}/{measured['share_percent']}", present_pages(partly["pages"], measured)
        yield exact(SUITE, where, "page faults of a pass", measured["faults"], faults_where(present, measured["stride"]))


def _kept(name: str) -> dict[str, Any]:
    """Figures that were measured: hostsim/data/kvm_real/<name>.json."""
    text = (files("hostsim") / "data" / "kvm_real" / f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def present_pages(n_pages: int, measured: Mapping[str, Any]) -> NDArray[np.bool_]:
    """bool[n_pages]: whether the host has each page, by the rule of the measurement."""
    share = np.uint64(measured["share_percent"]) * np.uint64((1 << 32) // 100)
    scattered = np.arange(n_pages, dtype=np.uint64) * np.uint64(SCATTERING) % np.uint64(1 << 32)
    return np.asarray(scattered < share)


def faults_where(present: NDArray[np.bool_], stride: int) -> int:
    """Map faults of a vCPU that writes every page once, each ``stride`` pages from the one before.

    present: bool[n_pages], whether the host has each page; KVM has mapped none.
    """
    n_pages, mmu = len(present), MmuSpec(era=ERA, costs=SHEET, mmu="shadow")
    vm = WalkedVm(WalkedSpec(mmu, "get-dirty-log", 1, n_pages, populated=True))
    vm.vm.engine.mmu.zap(0, n_pages, vm.env.now_ns)
    vm.vm.engine.pages.backing[:n_pages] = np.where(present, RESIDENT, UNTOUCHED)
    rate, once = Fraction(NS_PER_S, LOOP_NS), Active(LOOP_NS, LOOP_NS * n_pages)
    load = Workload("walk", "strided", (0,), 0, n_pages, rate, stride_pages=stride % n_pages, active=once)
    vm.vm.begin_work(build_guest([load], seed=0))
    vm.env.run(until=vm.vm.vcpus[0].run_to(LOOP_NS * (n_pages + 1)))
    return int(vm.tally().map_faults)


def _simulated(measured: Mapping[str, Any]) -> Tally:
    """Counters of one pass of a vCPU that writes every page.

    Pages are new but where KVM has mapped them before, and where the pass itself makes them.
    """
    mmu = MmuSpec(era=ERA, costs=SHEET, mmu="shadow")
    has_pages = not measured["name"].startswith(POPULATES)
    vm = WalkedVm(WalkedSpec(mmu, "get-dirty-log", 1, measured["pages"], populated=has_pages))
    vm.vm.engine.mmu.zap(0, measured["pages"], vm.env.now_ns)
    if has_pages and not measured["mapped_before"]:
        costs = exits_of(mmu, 1).of_new_pages(round(load_costs(SHEET).measured_ns("first_map_ns")))
        vm.vm.engine.set_costs(costs, vm.vm.engine.config.pfn_ns)
    if measured["logged"]:
        _took(vm, vm.enable())
    return _took(vm, vm.run(Walk()))


def _took(vm: WalkedVm, work: Timed) -> Tally:
    before = vm.tally()
    vm.env.run(until=vm.env.process(work))
    return vm.tally() - before


def _rows_of(measured: Mapping[str, Any], tally: Tally) -> Iterator[Row]:
    """Time within the tolerance, or between the least and the most of the repeats; faults but for a few."""
    where, got = f"map/{measured['name']}", tally.now_ns / measured["pages"]
    row = relative(SUITE, where, "ns a page", measured["ns_per"], round(got, 3), TOLERANCE)
    inside = measured["min"] <= got <= measured["max"]
    row = replace(row, passed=row.passed or inside, note=f"share; measured {measured['min']:g} to {measured['max']:g}")
    is_fitted = where.replace("/", " ", 1) in load_costs(SHEET).fitted_on()
    yield row.unscored("fitted") if is_fitted else row
    least, most = measured["pf_taken"]
    middle = min(max(tally.map_faults, least), most)
    yield absolute(SUITE, f"{where}/faults", "page faults of a pass", middle, tally.map_faults, SPARE_FAULTS)
