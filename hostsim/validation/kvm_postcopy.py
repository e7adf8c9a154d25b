"""Suite ``kvm``: post-copy of a guest under real KVM that writes without a pause."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from typing import Any

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import HostSheet
from hostsim.costs.postcopy_sheet import load_postcopy
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.qemu.parameters import MigrationParameters
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.rows import Row

ROW = "migration/log_randflat_postcopy"
PAGES, FILL, WORKING_SET = 65_618, 16_384, 16_384
UNIX_SOCKET_BYTES = 212_992
FIGURES = ("downtime_ms", "postcopy_requests", "total_time_ms", "transferred_bytes")
TOLERANCES = {"total_time_ms": 0.05, "transferred_bytes": 0.05}
"""The others have to lie between the least and the most of the runs."""


def postcopy_rows() -> Iterator[Row]:
    """Outcome, downtime, requests, time and bytes, with the seed of the first run."""
    text = (files("hostsim") / "data" / "kvm_real" / "postcopy.json").read_text(encoding="utf-8")
    runs = json.loads(text)["runs"]
    machine = Machine(_spec(runs[0]))
    machine.run()
    assert machine.migration is not None
    found = machine.migration.counters()
    status = found.status
    yield Row(SUITE, ROW, "outcome", "completed", status, None, None, status == "completed")
    got = {
        "downtime_ms": found.downtime_ms, "postcopy_requests": found.ram.get("postcopy-requests", 0),
        "total_time_ms": found.total_time_ms, "transferred_bytes": found.transferred,
    }  # fmt: skip
    for name in FIGURES:
        yield _row(name, sorted(run[name] for run in runs), got[name])


def _row(name: str, measured: list[int], got: int) -> Row:
    low, middle, high = measured[0], measured[len(measured) // 2], measured[-1]
    error = 0.0 if low <= got <= high else abs(got - middle) / middle
    tolerance = TOLERANCES.get(name, 0.0)
    note = f"share beyond the repeats; measured {low:g} to {high:g}"
    return Row(SUITE, ROW, name, middle, got, round(error, 5), tolerance, error <= tolerance, note=note)


def _spec(run: dict[str, Any]) -> MachineSpec:
    """The machine of a run; sources of the constants are those of the runs under TCG, on another host."""
    load = Workload("writer", "uniform", (0,), 1024 + FILL, WORKING_SET, Fraction(run["writes_per_s"]))
    return MachineSpec(
        lay_out([("pc.ram", PAGES, [(1024, FILL + WORKING_SET)])]), (load,), 1,
        HostSheet(1_000, 500, 100, 5_000_000, 100_000, 1_000_000, 100_000, 100_000, 125_900, 60_000),
        run["seed"], 20_000_000_000,
        "initially-all-set", LinkSpec(0, 0, UNIX_SOCKET_BYTES, wake_bytes=UNIX_SOCKET_BYTES * 3 // 4),
        MigrationParameters(qemu="7.2", downtime_limit_ms=100, postcopy_ram=True, postcopy_after_rounds=2),
        mmu=MmuSpec(era=ERA, costs=SHEET, mmu="shadow", eager_split=False), inputs={NAME: load_postcopy("zen4-pvm")},
    )  # fmt: skip
