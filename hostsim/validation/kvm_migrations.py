"""Suite ``kvm``: real QEMU migrations under real KVM, predicted from their inputs and the sheet of that host alone."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.resources import as_file, files
from typing import Any

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.costs.postcopy_sheet import load_postcopy
from hostsim.guest.pacing import Pacing
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec, Mode, WriteTracking
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.memory.spec import HostMemorySpec
from hostsim.qemu.dirty_limit import LimitChange
from hostsim.qemu.mechanisms.dirty_limit import NAME as DIRTY_LIMIT
from hostsim.qemu.mechanisms.postcopy import NAME as POSTCOPY
from hostsim.validation.qemu.cases import Case, load_cases
from hostsim.validation.qemu.guest import WRITE_NS
from hostsim.validation.qemu.machine import left_out, not_simulated, spec_of
from hostsim.validation.rows import Row

SUITE, SHEET, ERA = "kvm", "zen4-pvm", "E6"
TOLERANCE = 0.02
RING = "dirty-ring-size="
FIGURES = ("total_time_ms", "transferred_bytes", "dirty_sync_count", "faults", "guest_loss")
"""Figures of a migration, as far as they were measured; a cancelled one has no total time.

faults: pf_taken of KVM_GET_STATS_FD. guest_loss: share of its time that the guest lost to its writes.
"""
FLAT_OUT, LOW_RATE = "flat", 20_000
LOSS_POINTS = 0.01
"""A loss may be off by one hundredth of the guest's time, or by LOSS_SHARE of itself."""
LOSS_SHARE = 0.2


ONE_IN_TEN, ONE_IN_TEN_THROTTLED = 0.015, 0.04
"""One repeat in ten lies further than this from the median of its case: by total time, in 92 cases of three repeats and more
without auto-converge, and in 13 with it. In 33 of 130 cases the repeats differ in their syncs, most by one.
"""


@dataclass(frozen=True)
class Under:
    """KVM of the host that ran the migrations.

    era, mmu, write_tracking: as MmuSpec has them.
    sheet: name or path of its costs.
    """

    sheet: str = SHEET
    era: str = ERA
    mmu: Mode = "shadow"
    write_tracking: WriteTracking = "write-protect"


ZERO_PAGE_NS = 1_020
"""CPU time of the source for a page that neither guest nor host has touched: buffer_is_zero's read maps the zero page.

0.9 us (measured: five first passes over 128 MiB of 4 KiB pages on that host, 892 to 915 ns a page; 154 ns the second time),
and 0.12 us beside the read, which zero_page_ns of qemu-tcg-2core has. With huge pages a fault maps 2 MiB of zeros.
"""
GAP_NS = 200_000
"""The longest gap between two looks at its clock that the guest of pace ``cpu`` makes up for (firmware.py: GAP_S)."""
FLAT_OUT_PAGES_S = NS_PER_S // WRITE_NS
"""A guest that writes so fast spends its time in the loop, without a wait."""
AMPLE = HostMemorySpec(1 << 20, "none", 0)
"""Memory of the destination, 4 GiB: no guest of a case fills it, and each pays its exits there, too."""
SHIPPED = Under()
"""The host of hostsim/data/kvm_real."""


def kvm_cases() -> list[Case]:
    """The migrations that were measured: hostsim/data/kvm_real/cases.jsonl.gz."""
    with as_file(files("hostsim") / "data" / "kvm_real" / "cases.jsonl.gz") as path:
        return load_cases(path)


def machine_of(case: Case, repeat: Mapping[str, Any], under: Under = SHIPPED) -> MachineSpec:
    """The machine of a repeat, its guest under KVM.

    QEMU takes KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 with KVM_DIRTY_LOG_INITIALLY_SET where the kernel has it and no ring is
    asked for (accel/kvm/kvm-all.c::kvm_init). Without the capability ``set-vcpu-dirty-limit`` is sent with ``migrate``.
    """
    # Model limit: a guest of pace `wall` writes at an even pace; the real one makes up at each look at its clock for the
    # time since the last.
    accel = str(case.inputs["accel"])
    entries = int(accel.rpartition(RING)[2]) if RING in accel else 4096
    tracking: Interface = "dirty-ring" if RING in accel else "initially-all-set"
    mmu = MmuSpec(
        era=under.era, costs=under.sheet, mmu=under.mmu, write_tracking=under.write_tracking, ring_entries=entries,
        eager_split=None if under.mmu == "tdp" else False,
    )  # fmt: skip
    spec = spec_of(case, repeat)
    loads = tuple(replace(load, pacing=_pacing_of(case, load.pacing)) for load in spec.workloads)
    quota = case.inputs.get("vcpu_dirty_limit_MBps")
    limits = (LimitChange(0, int(quota)),) if quota and "dirty-limit" not in case.inputs["capabilities"] else ()
    is_small = case.inputs.get("thp") is False
    sheet = replace(spec.sheet, zero_page_ns=ZERO_PAGE_NS) if is_small else spec.sheet
    return replace(
        spec, workloads=loads, dirty_tracking=tracking, mmu=mmu, sheet=sheet,
        inputs={**spec.inputs, DIRTY_LIMIT: limits, POSTCOPY: load_postcopy(under.sheet)},
        destination_memory=AMPLE if "postcopy-ram" in case.inputs["capabilities"] else None,
    )


def _pacing_of(case: Case, pacing: Pacing) -> Pacing:
    """Pacing of a guest that looks at its clock all the time and never halts.

    With pace ``cpu`` it makes up for a gap of up to GAP_NS between two looks, as faults leave, and not for a longer one, as
    sleeps of cpu-throttle and full rings leave. A guest that writes as fast as it can has no time to make up for either.
    """
    rate = float(case.inputs["write_rate_pages_s"])
    if pacing.open_loop or rate >= FLAT_OUT_PAGES_S:
        return replace(pacing, tick_ns=0, tick_late_ns=0)
    return Pacing(open_loop=True, catch_up=Fraction(NS_PER_S, max(1, round(WRITE_NS * rate))), gap_ns=GAP_NS)


def case_rows(case: Case, under: Under = SHIPPED, shown: Sequence[str] = ()) -> Iterator[Row]:
    """Outcome, and the figures that its outcome has, each the median of the repeats.

    under: the host. shown: further figures, which are not scored.
    """
    if not_simulated(case):
        yield left_out(case, SUITE, f"migration/{case.id}")
        return
    answers = [simulated(case, repeat, under) for repeat in case.repeats]
    status = Counter(status for status, _ in answers).most_common(1)[0][0]
    measured = "|".join(sorted(set(case.status)))
    yield Row(SUITE, f"migration/{case.id}", "outcome", measured, status, None, None, status in case.status)
    for name in (name for name in FIGURES if name in case.measured and name not in shown):
        values = [figures[name] for found, figures in answers if found == status]
        yield _figure(case, name, statistics.median(values))
    for name in shown:
        if case.measured.get(name, {}).get("median"):
            values = [figures[name] for found, figures in answers if found == status]
            yield _figure(case, name, statistics.median(values)).unscored("shown only")


def simulated(case: Case, repeat: Mapping[str, Any], under: Under = SHIPPED) -> tuple[str, dict[str, float]]:
    """(status, figures) of ``repeat`` of ``case``, simulated; the figures of a cancelled migration are those at the cancel.

    under: KVM of the host. The names of the figures have their units.
    """
    machine = Machine(machine_of(case, repeat, under))
    machine.run()
    assert machine.migration is not None
    state = machine.migration.state
    answer = state.last_answer or machine.migration.counters()
    tally, elapsed_ns = machine.vm.tally(), max(1, answer.total_time_ms) * NS_PER_MS
    cache = answer.mechanisms.get("xbzrle")
    return state.status, {
        "total_time_ms": answer.total_time_ms, "transferred_bytes": answer.transferred,
        "dirty_sync_count": answer.dirty_sync_count, "faults": tally.faults, "downtime_ms": answer.downtime_ms,
        "postcopy_requests": answer.ram.get("postcopy-requests", 0), "postcopy_bytes": answer.ram.get("postcopy-bytes", 0),
        "multifd_bytes": answer.ram.get("multifd-bytes", 0), "xbzrle_bytes": cache.bytes if cache else 0,
        "xbzrle_pages": cache.pages if cache else 0, "xbzrle_cache_miss": cache.cache_miss if cache else 0,
        "max_throttle_pct": max(sync.throttle_percent for sync in machine.migration.recorder.syncs),
        "guest_loss": tally.stall_ns / tally.now_ns, "guest_loss_percent": 100 * tally.stall_ns / elapsed_ns,
    }  # fmt: skip


def _tolerance(case: Case, name: str, middle: float) -> float:
    """Share of the median by which a figure may leave the range of the repeats."""
    has_ring = RING in str(case.inputs["accel"])
    if name == "faults" and has_ring:
        return 0.05 if FLAT_OUT in case.id else 0.04 if case.inputs["write_rate_pages_s"] < LOW_RATE else TOLERANCE
    if name == "guest_loss":
        return max(LOSS_SHARE, LOSS_POINTS / middle)
    return 0.0 if name == "dirty_sync_count" else TOLERANCE


def _of_one_repeat(case: Case, name: str, middle: float) -> float:
    """Share of ``middle`` by which a single repeat may lie beside the median of many, which is not measured."""
    if name == "dirty_sync_count":
        return 1 / middle
    return ONE_IN_TEN_THROTTLED if "auto-converge" in case.inputs["capabilities"] else ONE_IN_TEN


def _figure(case: Case, name: str, got: float) -> Row:
    """Within the tolerance, or between the least and the most of the repeats; syncs to the number."""
    real = case.measured[name]
    middle, low, high = float(real["median"]), float(real["min"]), float(real["max"])
    error = 0.0 if low <= got <= high else abs(got - middle) / middle
    tolerance = _tolerance(case, name, middle)
    if low == high and len(case.repeats) == 1:
        tolerance = round(tolerance + _of_one_repeat(case, name, middle), 6)
    note = f"share beyond the repeats; measured {low:g} to {high:g}"
    row = Row(SUITE, f"migration/{case.id}", name, middle, got, round(error, 6), tolerance, error <= tolerance, note=note)
    return row.unscored("the speed of the host") if case.id.endswith("_unlimited") else row
