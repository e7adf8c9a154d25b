"""Suite ``kvm``: a vCPU in guest mode, and a thread of the host that takes one page after the other from its VM.

A call interrupts the vCPU for KVM's sptes, if the page has one, and once more for the host's own translation of the page.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from importlib.resources import files
from typing import Any, NamedTuple

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.pacing import work_at
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.rows import Row, relative

TOLERANCE = 0.15
N_PAGES, FIRST, CALLS = 1024, 256, 500
"""The guest writes page 0; the calls take pages from FIRST on."""
WRITES_PER_S, GAP_NS = 1_000_000, 50_000
UNMAPPED = "mprotect"
"""The call for pages that KVM has not mapped."""


class Call(NamedTuple):
    """Time of a call, and the time that the guest loses to the call [ns]."""

    took_ns: float
    lost_ns: float


def one_page_rows() -> Iterator[Row]:
    """The time that a running vCPU adds to each call, and the time that the vCPU loses."""
    text = (files("hostsim") / "data" / "kvm_real" / "one_page.json").read_text(encoding="utf-8")
    for measured in json.loads(text)["calls"]:
        is_mapped = measured["name"] != UNMAPPED
        idle, running = (_a_call(is_mapped, runs=runs) for runs in (False, True))
        where = f"one-page/{measured['name']}"
        added_ns = running.took_ns - idle.took_ns
        yield _row(f"{where}/added", "ns that a vCPU in guest mode adds to a call", measured["added"], added_ns)
        yield _row(f"{where}/lost", "ns that the vCPU loses to a call", measured["lost"], running.lost_ns)


def _a_call(is_mapped: bool, *, runs: bool) -> Call:
    """Means of CALLS calls. runs: the vCPU is in guest mode, else in user space."""
    env, mmu = Clock(), MmuSpec(era=ERA, costs=SHEET, mmu="shadow")
    memory = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]))
    guest = build_guest([Workload("writer", "sequential", (0,), 0, 1, Fraction(WRITES_PER_S))], seed=1)
    vm = live_vm(env, memory, guest, 1, 0, mmu, "get-dirty-log", running=runs)
    notifier, took_ns = notifier_of(vm, mmu), 0
    if not is_mapped:
        vm.engine.mmu.zap(FIRST, N_PAGES, 0)

    def calls() -> Generator[Any, Any, None]:
        nonlocal took_ns
        for page in range(FIRST, FIRST + CALLS):
            yield env.timeout(GAP_NS)
            begun_ns = env.now_ns
            yield from notifier.invalidate_range_start(page, page + 1)
            yield from notifier.invalidate_range_end(page, page + 1)
            yield from vm.flush.shootdown()
            took_ns += env.now_ns - begun_ns

    env.run(until=env.process(calls()))
    env.run(until=env.now_ns + GAP_NS)
    worked_ns = int(work_at(guest.clocks[0], env.now_ns))
    return Call(took_ns / CALLS, (env.now_ns - worked_ns) / CALLS)


def _row(where: str, what: str, measured: Mapping[str, float], got: float) -> Row:
    """Within the tolerance, or between the least and the most of the repeats."""
    row = relative(SUITE, where, what, measured["median"], round(got), TOLERANCE)
    inside = measured["min"] <= got <= measured["max"]
    return replace(row, passed=row.passed or inside, note=f"share; measured {measured['min']:g} to {measured['max']:g}")
