"""Suite ``kvm``: rates that calc-dirty-rate reports of guests with known writes, in its three modes under real KVM."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from fractions import Fraction
from importlib.resources import files
from typing import Any

from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.calc_dirty_rate import CalcDirtyRate
from hostsim.qemu.parameters import MigrationParameters
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.qemu.machine import SHEET as HOST
from hostsim.validation.rows import Row, absolute

PATTERNS = {"rand": "uniform", "randflat": "uniform", "seq": "sequential"}
TRACKINGS: Mapping[str, Interface] = {
    "page-sampling": "initially-all-set", "dirty-bitmap": "initially-all-set", "dirty-ring": "dirty-ring",
}  # fmt: skip
SEEDS = 8
"""Draws of the sampled pages; the other modes draw nothing and have one."""
SIGMAS = 3.0
COUNTED_SHARE = 0.05
"""Tolerance of the modes that count: QEMU drops parts of a MiB, and the guest's own count of writes varies by as much."""
START_NS, PERIOD_MS, SAMPLE_PAGES = 300_000_000, 1000, 4096
WRITE_NS = 10
"""One write of the guest's loop: 7 to 14 ns in the runs (ns_per_write_before)."""
FIRST_GFN, N_PAGES = 17_408, 16_384


def dirty_rate_rows() -> Iterator[Row]:
    """Reported MiB/s: the mean of the repeats, and of the simulation."""
    text = (files("hostsim") / "data" / "kvm_real" / "calc_dirty_rate.json").read_text(encoding="utf-8")
    for one in json.loads(text)["measurements"]:
        yield _row(one)


def _row(one: Mapping[str, Any]) -> Row:
    mode, real = str(one["mode"]), [float(rate) for rate in one["reported"]]
    got = [float(_reported(one, seed)) for seed in range(1, (SEEDS if mode == "page-sampling" else 1) + 1)]
    rate = f"-{one['writes_per_s']}" if one["paced"] else ""
    row = absolute(
        SUITE, f"calc-dirty-rate/{mode}/{one['pattern']}{rate}", "MiB/s", statistics.mean(real),
        round(statistics.mean(got), 2), _tolerance(real, got),
    )  # fmt: skip
    row = row.with_note(f"measured {min(real):g} to {max(real):g}, simulated {min(got):g} to {max(got):g}")
    return row.unscored("the speed of the host") if mode == "dirty-ring" and not one["paced"] else row


def _tolerance(real: list[float], got: list[float]) -> float:
    """MiB/s: sampled: SIGMAS of the difference of the means; counted: COUNTED_SHARE; a dropped part of a MiB beside it."""
    if len(got) == 1:
        return max(1.0, COUNTED_SHARE * statistics.mean(real))
    return float(1.0 + SIGMAS * statistics.stdev(got) * (1 / len(real) + 1 / len(got)) ** 0.5)


def _reported(one: Mapping[str, Any], seed: int) -> int:
    machine = Machine(_spec(one, seed))
    machine.run()
    assert machine.dirty_rates is not None
    return machine.dirty_rates.answers[0].dirty_rate


def _spec(one: Mapping[str, Any], seed: int) -> MachineSpec:
    mode, rate = one["mode"], int(one["writes_per_s"])
    # A paced guest makes up at each tick for the time that exits took; the other writes as fast as it can.
    pacing = Pacing(open_loop=True, catch_up=Fraction(NS_PER_S, WRITE_NS * rate)) if one["paced"] else Pacing()
    load = Workload("writer", PATTERNS[one["pattern"]], (0,), FIRST_GFN, N_PAGES, Fraction(rate), pacing=pacing)
    return MachineSpec(
        lay_out([("pc.ram", 65_536, [(1024, 16_384), (FIRST_GFN, N_PAGES)]), ("pc.bios", 82, [])]), (load,), 1,
        load_sheet(HOST), seed, 2 * NS_PER_S, TRACKINGS[mode],
        mmu=MmuSpec(era=ERA, costs=SHEET, mmu="shadow", eager_split=False, ring_entries=4096),
        migration=MigrationParameters(qemu="7.2", start_ns=1 << 60),
        dirty_rates=(CalcDirtyRate(START_NS, mode, PERIOD_MS, SAMPLE_PAGES),),
    )  # fmt: skip
