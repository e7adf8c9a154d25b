"""B1-B4: passes, CLEARs and ageing with 16 to 112 vCPUs, of tables that were found after the model was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostsim.kvm.spec import Interface, MmuSpec
from hostsim.measure.selftest.access_tracking_perf_test import POPULATE, AccessPlan, run_access_test
from hostsim.measure.selftest.dirty_log_perf_test import CLEAR, DIRTY_MEMORY, DISABLE, ENABLE, Plan, run_selftest
from hostsim.measure.selftest.walked_vm import WalkedSpec
from hostsim.validation.kvm_ageing import ERAS, RUN_PAGES, populate_times
from hostsim.validation.kvm_machine import time_row
from hostsim.validation.published_blind import blind, first_seen
from hostsim.validation.rows import Row

SHRINK = 16
"""A run has so many times less memory: all memory is alike, and its times grow with it."""
CASCADE, SKYLAKE = "cascade-lake", "skylake"
GARDON = {"tdp": ("E3", "tdp"), "direct": ("E3", "direct"), "in-place": ("E5", "tdp")}
"""B2: era and MMU of each series. The series of patches recovers huge pages in place and flushes once, as 6.13 does."""
MATLACK: dict[str, tuple[Interface, bool]] = {
    "all-set/lazy": ("initially-all-set", False), "all-set/eager": ("initially-all-set", True),
    "protect/lazy": ("clear-dirty-log", False), "protect/eager": ("clear-dirty-log", True),
}  # fmt: skip
POPULATED = {"tdp": ("E3", "tdp"), "direct": ("E3", "direct")}


def many_vcpu_rows() -> Iterator[Row]:
    """B1-B4, each row with the figure at first sight."""
    for rows in (_ageing_rows, _disabling_rows, _splitting_rows, _populating_rows):
        yield from map(first_seen, rows())


def _ageing_rows() -> Iterator[Row]:
    data = blind("B1")
    times = populate_times(data)
    for series in ERAS:
        for vcpus, wall_s in data["seconds"][series].items():
            where, (wall, aged) = f"B1/{series}/{vcpus}", times[series, vcpus]
            yield _row(CASCADE, where, f"{vcpus} vCPUs populate 1 GiB each, s", wall_s, wall, data)
            if series in data["pass_seconds"]:
                pass_s = data["pass_seconds"][series][vcpus]
                yield _row(CASCADE, f"{where}/pass", "a pass of ageing meanwhile, s", pass_s, aged, data)


def _disabling_rows() -> Iterator[Row]:
    data = blind("B2")
    for series, (era, mmu) in GARDON.items():
        spec = MmuSpec(era=era, costs=SKYLAKE, mmu=mmu, page_size="1GiB", write_tracking="pml", eager_split=False)
        got = _phases(data, spec, "initially-all-set", 2)
        yield from _phase_rows("B2", SKYLAKE, series, data, got)


def _splitting_rows() -> Iterator[Row]:
    data = blind("B3")
    for series, (interface, eager) in MATLACK.items():
        spec = MmuSpec(era="E4", costs=CASCADE, page_size="1GiB", write_tracking="pml", eager_split=eager)
        yield from _phase_rows("B3", CASCADE, series, data, _phases(data, spec, interface, 3))


def _populating_rows() -> Iterator[Row]:
    data = blind("B4")
    for series, (era, mmu) in POPULATED.items():
        plan = AccessPlan(MmuSpec(era=era, costs=CASCADE, mmu=mmu), data["vcpus"], RUN_PAGES, True, True, False)
        scale = data["pages_per_vcpu"] / RUN_PAGES / 1e9
        got = run_access_test(plan).of(POPULATE)[0].duration_ns * scale
        yield _row(CASCADE, f"B4/{series}", "64 vCPUs populate 1 GiB each, s", data["seconds"][series], got, data)


def _phases(data: dict[str, Any], mmu: MmuSpec, interface: Interface, iterations: int) -> dict[str, float]:
    """Seconds of each phase of dirty_log_perf_test, by its short name and iteration."""
    spec = WalkedSpec(mmu, interface, data["vcpus"], data["pages_per_vcpu"] // SHRINK)
    result = run_selftest(spec, Plan(iterations))
    names = {ENABLE: "enable", DISABLE: "disable", DIRTY_MEMORY: "dirty", CLEAR: "clear"}
    known = [phase for phase in result.phases if phase.name in names]
    return {f"{names[one.name]}{one.iteration or ''}": SHRINK * one.duration_ns / 1e9 for one in known}


def _phase_rows(key: str, sheet: str, series: str, data: dict[str, Any], got: dict[str, float]) -> Iterator[Row]:
    for phase, seconds in data["seconds"][series].items():
        what = f"{phase}, {data['vcpus']} vCPUs, s"
        yield _row(sheet, f"{key}/{series}/{phase}", what, seconds, got[phase], data)


def _row(sheet: str, row_id: str, what: str, expected: float, got: float, data: dict[str, Any]) -> Row:
    row = time_row(sheet, row_id, what, expected, got, data["tolerance"])
    return row.with_note(data["tolerance_note"]) if "tolerance_note" in data else row
