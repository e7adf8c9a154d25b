"""Suite ``kvm``: passes over memory that KVM has not mapped, beside simulations: time a page, and page faults of a pass.

Linux arch/x86/kvm/mmu/paging_tmpl.h::pte_prefetch: where the slot is not logged, a fault maps up to eight pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

from hostsim.costs.costs import load_costs
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tally import Tally
from hostsim.measure.selftest.walked_vm import Timed, Walk, WalkedSpec, WalkedVm
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.rows import Row, absolute, relative

TOLERANCE = 0.15
SPARE_FAULTS = 4
"""Faults that the guest's own code, its page tables and the memory for its results may take in a pass."""
POPULATES = "populate"


def map_rows() -> Iterator[Row]:
    """Rows of each pass."""
    for measured in map_passes():
        yield from _rows_of(measured, _simulated(measured))


def map_passes() -> list[dict[str, Any]]:
    """Passes that were measured: hostsim/data/kvm_real/map_passes.json."""
    text = (files("hostsim") / "data" / "kvm_real" / "map_passes.json").read_text(encoding="utf-8")
    passes: list[dict[str, Any]] = json.loads(text)["passes"]
    return passes


def _simulated(measured: Mapping[str, Any]) -> Tally:
    """Counters of one pass of a vCPU that writes every page."""
    mmu = MmuSpec(era=ERA, costs=SHEET, mmu="shadow")
    has_pages = not measured["name"].startswith(POPULATES)
    vm = WalkedVm(WalkedSpec(mmu, "get-dirty-log", 1, measured["pages"], populated=has_pages))
    vm.vm.engine.mmu.zap(0, measured["pages"], vm.env.now_ns)
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
