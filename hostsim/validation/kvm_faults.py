"""K1-K4, K11: passes of vCPUs over their memory, with the faults and locks that they meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hostsim.kvm.tally import Tally
from hostsim.validation.kvm_machine import (
    dirtied,
    idle,
    logged,
    machine,
    measured,
    measured_pass,
    rewritten,
    seconds,
    time_row,
)
from hostsim.validation.rows import Row, exact

X86, ARM64, PML_HOST = "cascade-lake", "arm64-jing", "skylake"
LOCKS = {"shared": "E2", "lockless": "E3"}
"""K1: for each way of taking mmu_lock, an era whose TDP faults take it so."""
MANY, MANY_SHRINK = 32, 16


def protected_rows(shrink: int = 1) -> Iterator[Row]:
    """K1: write-protection faults of the second pass."""
    yield from _one_pass_rows("wp", shrink)


def idle_rows(shrink: int = 1) -> Iterator[Row]:
    """K1: writes to idle memory."""
    yield from _one_pass_rows("track", shrink)


def _one_pass_rows(kind: str, shrink: int) -> Iterator[Row]:
    data = measured_pass("K1", shrink)
    for lock, era in LOCKS.items():
        spec, key = machine(X86, era, data["vcpus"], data["pages_per_vcpu"]), f"{kind}/{lock}"
        tally = dirtied(logged(spec)) if kind == "wp" else rewritten(idle(spec))
        yield time_row(X86, f"K1/{key}", "a pass of 64 vCPUs, s", data["seconds"][key], seconds(tally), data["tolerance"])


def lock_rows(shrink: int = 1) -> Iterator[Row]:
    """K2, K2b: permission faults under one exclusive lock, and under its shared side."""
    for row_id, era in (("K2", "E0"), ("K2b", "E2")):
        data = measured_pass(row_id, shrink)
        for vcpus, expected in data["seconds"].items():
            got = seconds(dirtied(logged(machine(ARM64, era, int(vcpus), data["pages_per_vcpu"]))))
            tolerance = data.get("tolerance_at", {}).get(vcpus, data["tolerance"])
            yield time_row(ARM64, f"{row_id}/{vcpus}", f"a pass of {vcpus} vCPUs, s", expected, got, tolerance)


def shadow_rows() -> Iterator[Row]:
    """K3, K4: the first pass after logging was enabled, memory in 1 GiB pages; rmaps need mmu_lock exclusively."""
    yield from _first_pass_rows("K3", "shadow", pml=False)
    yield from _first_pass_rows("K4", "direct", pml=True)


def shrink_of(vcpus: int) -> int:
    """How many times less memory a row with ``vcpus`` vCPUs is computed with: memory is all alike, and 64 GiB takes long."""
    return MANY_SHRINK if vcpus >= MANY else 1


def _first_pass_rows(row_id: str, mmu: str, *, pml: bool) -> Iterator[Row]:
    data = measured(row_id)
    for series, times in data["seconds"].items():
        for vcpus, expected in times.items():
            tally = _first_pass(data, series, int(vcpus), mmu, pml=pml)
            key = f"{row_id}/{series}/{vcpus}"
            what = f"first pass of {vcpus} vCPUs, s"
            shrink = shrink_of(int(vcpus))
            row = time_row(X86, key, what, expected, shrink * seconds(tally), data["tolerance"])
            yield replace(row, note=f"{row.note}; {data['tolerance_note']}")
            faults = _faults(data, series, int(vcpus), pml=pml)
            yield exact("published", f"{key}/faults", "faults", faults, tally.faults * shrink)
    if not pml:
        yield _sparse_row(data, row_id, mmu)


def _first_pass(data: dict[str, Any], series: str, vcpus: int, mmu: str, *, pml: bool) -> Tally:
    """``series``: off, on (eager split), and a share of writes."""
    tracking = "pml" if pml else "write-protect"
    spec = machine(
        X86, "E4", vcpus, data["pages_per_vcpu"] // shrink_of(vcpus), mmu=mmu, page_size="1GiB", write_tracking=tracking,
        eager_split=series.startswith("on"),
    )  # fmt: skip
    return dirtied(logged(spec), data["write_every"][series])


def _faults(data: dict[str, Any], series: str, vcpus: int, *, pml: bool) -> int:
    """Expected faults: none with eager split under PML (D bits), else one for each written page; for all if split late."""
    if series.startswith("on") and pml:
        return 0
    times = shrink_of(vcpus)
    every = 1 if series.startswith("off") else data["write_every"][series]
    accesses = -(-data["pages_per_vcpu"] // times // every)
    return vcpus * int(accesses) * times


def _sparse_row(data: dict[str, Any], row_id: str, mmu: str) -> Row:
    tally = _first_pass(data, "off-5%", 2, mmu, pml=False)
    return exact("published", f"{row_id}/off-5%/2/faults", "faults", 2 * data["pages_per_vcpu"], tally.faults)


def pml_rows(shrink: int = 1) -> Iterator[Row]:
    """K11: a page written under PML, the buffer drained in either order."""
    data = measured_pass("K11", shrink)
    for when, era in (("before", "E4"), ("after", "E6")):
        spec = machine(PML_HOST, era, data["vcpus"], data["pages_per_vcpu"], write_tracking="pml")
        tally = dirtied(logged(spec))
        got, key = tally.now_ns / data["pages_per_vcpu"], f"K11/{when}"
        yield time_row(PML_HOST, key, "a page and vCPU, ns", data["ns_per_page"][when], got, data["tolerance"])
        expected = spec.n_vcpus * (data["pages_per_vcpu"] // 512)
        yield exact("published", f"{key}/exits", "exits, one for each full buffer", expected, tally.pml_full + tally.faults)
