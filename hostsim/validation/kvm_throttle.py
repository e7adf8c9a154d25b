"""Suite ``kvm``: a guest that writes as fast as it can and that auto-converge holds back, under real KVM.

Two mechanisms slow a throttled guest: cpu-throttle leaves it 10 ms of each period, and write-protection faults after each
sync take a fixed part of these 10 ms. So the guest is slower than the percentage says, and more so at a higher percentage.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib.resources import files
from itertools import pairwise
from typing import Any

from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.pacing import work_at
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.dirty_limit import LimitChange
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanisms.dirty_limit import NAME
from hostsim.qemu.parameters import MigrationParameters
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.qemu.machine import SHEET as HOST
from hostsim.validation.qemu.machine import SOCKET_BUFFER_BYTES
from hostsim.validation.rows import Row, absolute, exact, relative

CASE = "migration/log_randflat_ac"
SPEED, BYTES, SYNCS = 0.25, 0.05, 2
A_STEP = 10
"""Percent: syncs come each 0.5 s, and a hair decides whether a period lasts longer than a second or takes one sync more."""
CANCELLED_S = 20
SETTLES_S = 0.3
"""A span of writes counts for a step if it begins so long after the step."""
SPANS = 2
"""Fewest spans of a step whose speed is compared."""
STEP = "migration_throttle"
Step = tuple[float, int]
Span = tuple[float, float, float]


def throttle_rows() -> Iterator[Row]:
    """Outcome, last percentage, bytes, syncs, and the guest's writes a second at each step."""
    text = (files("hostsim") / "data" / "kvm_real" / "auto_converge.json").read_text(encoding="utf-8")
    real: dict[str, Any] = json.loads(text)
    machine, spans = _run(real)
    assert machine.migration is not None
    answer = machine.migration.state.last_answer or machine.migration.counters()
    yield exact(SUITE, CASE, "outcome", real["status"], machine.migration.state.status)
    percent = answer.cpu_throttle_percentage
    yield absolute(SUITE, CASE, "cpu_throttle_percentage", real["cpu_throttle_percentage"], percent, A_STEP)
    yield relative(SUITE, CASE, "transferred_bytes", real["transferred_bytes"], answer.transferred, BYTES)
    yield absolute(SUITE, CASE, "dirty_sync_count", real["dirty_sync_count"], answer.dirty_sync_count, SYNCS)
    steps = [(t_ns / NS_PER_S, percent) for t_ns, event, percent in machine.migration.recorder.marks if event == STEP]
    expected, got = by_step(real["steps"], real["writes"]), by_step(steps, spans)
    for percent in sorted(set(expected) & set(got)):
        what = f"writes a second at {percent} %"
        yield relative(SUITE, CASE, what, round(expected[percent]), round(got[percent]), SPEED)


def by_step(steps: Sequence[Step], spans: Sequence[Span]) -> dict[int, float]:
    """Median writes a second at each percentage, 0 before the first step, over the spans that lie within the step."""
    bounds: list[Step] = [(0.0, 0), *steps, (float("inf"), 100)]
    found = {}
    for (begin, percent), (end, _) in pairwise(bounds):
        inside = [rate for from_s, to_s, rate in spans if from_s >= begin + SETTLES_S and to_s <= end]
        if len(inside) >= SPANS:
            found[percent] = statistics.median(inside)
    return found


def _run(real: dict[str, Any]) -> tuple[Machine, list[Span]]:
    rate = int(real["writes_per_s_before"])
    machine, spans = Machine(_spec(rate)), []
    for from_s, to_s, _ in real["writes"]:
        if to_s < CANCELLED_S:
            done = [_work_ns(machine, at_s) for at_s in (from_s, to_s)]
            spans.append((from_s, to_s, (done[1] - done[0]) / NS_PER_S / (to_s - from_s) * rate))
    machine.run()
    return machine, spans


def _work_ns(machine: Machine, at_s: float) -> int:
    at_ns = round(at_s * NS_PER_S)
    if at_ns > machine.env.now_ns:
        machine.env.run(until=at_ns)
    return int(work_at(machine.vm.guest.clocks[0], machine.env.now_ns))


def _spec(rate: int) -> MachineSpec:
    load = Workload("writer", "uniform", (0,), 17_408, 16_384, Fraction(rate))
    return MachineSpec(
        lay_out([("pc.ram", 65_536, [(1024, 16_384), (17_408, 16_384)]), ("pc.bios", 82, [])]), (load,), 1,
        load_sheet(HOST), dirty_tracking="initially-all-set", duration_ns=(CANCELLED_S + 1) * NS_PER_S,
        link=LinkSpec(0, 0, SOCKET_BUFFER_BYTES), mmu=MmuSpec(era=ERA, costs=SHEET, mmu="shadow", eager_split=False),
        migration=MigrationParameters(
            qemu="7.2", downtime_limit_ms=100, auto_converge=True, timeout_ns=CANCELLED_S * NS_PER_S
        ),
    )  # fmt: skip


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
    machine = Machine(_limit_spec(writes_per_s))
    work: list[int] = []
    for at_s in (FROM_S, TO_S):
        machine.env.run(until=at_s * NS_PER_S)
        work.append(int(work_at(machine.vm.guest.clocks[0], machine.env.now_ns)))
    return (work[1] - work[0]) * writes_per_s / NS_PER_S / (TO_S - FROM_S)


def _limit_spec(writes_per_s: float) -> MachineSpec:
    load = Workload("writer", "uniform", (0,), 17_408, 16_384, Fraction(round(writes_per_s)))
    return MachineSpec(
        lay_out([("pc.ram", 65_536, [(1024, 16_384), (17_408, 16_384)]), ("pc.bios", 82, [])]), (load,), 1, load_sheet(HOST),
        dirty_tracking="dirty-ring", duration_ns=12 * NS_PER_S, link=LinkSpec(0, 0, SOCKET_BUFFER_BYTES),
        mmu=MmuSpec(era=ERA, costs=SHEET, mmu="shadow", eager_split=False, ring_entries=4096),
        migration=MigrationParameters(qemu="7.2", downtime_limit_ms=100, timeout_ns=12 * NS_PER_S),
        inputs={NAME: (LimitChange(LIMITED_S * NS_PER_S, QUOTA),)},
    )  # fmt: skip
