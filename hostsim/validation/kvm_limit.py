"""Suite ``kvm``: a guest that writes as fast as it can and that set-vcpu-dirty-limit holds back, under real KVM."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files

from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.pacing import work_at
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine, MachineSpec
from hostsim.qemu.dirty_limit import LimitChange
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanisms.dirty_limit import NAME
from hostsim.qemu.parameters import MigrationParameters
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.qemu.machine import SHEET as HOST
from hostsim.validation.qemu.machine import SOCKET_BUFFER_BYTES
from hostsim.validation.rows import Row, relative

TOLERANCE = 0.25
QUOTA, LIMITED_S, FROM_S, TO_S = 10, 1, 3, 8
"""MiB/s; times since ``migrate`` [s]: of the command, and of the measured span."""
HELD_BACK = 0.5
"""A repeat whose guest kept more than this share of its speed is not counted: the command had no effect there."""


def limit_rows() -> Iterator[Row]:
    """The guest's writes a second with rings alone, and with the limit."""
    text = (files("hostsim") / "data" / "kvm_real" / "dirty_limit.json").read_text(encoding="utf-8")
    repeats = json.loads(text)["repeats"]
    limited = [one for one in repeats if one["writes_per_s_limited"] < HELD_BACK * one["writes_per_s_logged"]]
    measured = [one["writes_per_s_limited"] for one in limited]
    got = _limited_writes_per_s(statistics.median(one["writes_per_s_before_migration"] for one in limited))
    row = relative(
        SUITE, "migration/ring_randflat_dl10", "writes a second under a limit of 10 MiB/s",
        statistics.median(measured), round(got), TOLERANCE,
    )  # fmt: skip
    yield row.with_note(f"{len(limited)} of {len(repeats)} repeats; measured {min(measured):g} to {max(measured):g}")


def _limited_writes_per_s(writes_per_s: float) -> float:
    machine = Machine(_spec(writes_per_s))
    work: list[int] = []
    for at_s in (FROM_S, TO_S):
        machine.env.run(until=at_s * NS_PER_S)
        work.append(int(work_at(machine.vm.guest.clocks[0], machine.env.now_ns)))
    return (work[1] - work[0]) * writes_per_s / NS_PER_S / (TO_S - FROM_S)


def _spec(writes_per_s: float) -> MachineSpec:
    load = Workload("writer", "uniform", (0,), 17_408, 16_384, Fraction(round(writes_per_s)))
    return MachineSpec(
        lay_out([("pc.ram", 65_536, [(1024, 16_384), (17_408, 16_384)]), ("pc.bios", 82, [])]), (load,), 1, load_sheet(HOST),
        dirty_tracking="dirty-ring", duration_ns=12 * NS_PER_S, link=LinkSpec(0, 0, SOCKET_BUFFER_BYTES),
        mmu=MmuSpec(era=ERA, costs=SHEET, mmu="shadow", eager_split=False, ring_entries=4096),
        migration=MigrationParameters(qemu="7.2", downtime_limit_ms=100, timeout_ns=12 * NS_PER_S),
        inputs={NAME: (LimitChange(LIMITED_S * NS_PER_S, QUOTA),)},
    )  # fmt: skip
