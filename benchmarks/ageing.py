"""Page ageing: the engine's walkers against the same calls as SimPy processes, and a large host aged all the time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from benchmarks.measure import median_s, peak_bytes
from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.mmu_notifier import CLEAR_YOUNG, MmuNotifier
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.ageing_daemon import AgeingDaemon

PageSize = Literal["4KiB", "2MiB"]
Pattern = Literal["sequential", "uniform"]
PERIOD_NS = 30 * NS_PER_S
SETTLED_NS = 45 * NS_PER_S
"""Between two passes: the first one, which finds all memory young, is over."""
MEASURED_NS = 60 * NS_PER_S
"""Two passes."""
TABLE_PAGES = 512
"""A call about a page table, as MGLRU's walk makes them."""
HOT = Fraction(1, 10)
"""Part of memory that is accessed between two passes: page after page, or drawn."""
DRAWN_READS = 3
"""Reads a page of it in a period where they are drawn: 1 - exp(-3) of those pages, 95 %, are young."""
LOCKED_PAGES, EVENT_PAGES = 1 << 20, 1 << 14
"""Pages that are aged one by one: by the walker, and by processes, whose cost a call does not depend on their number."""
LOCKED_VCPUS, AGED_VCPUS = 16, 64


def pages_per_second() -> dict[str, float]:
    """Pages aged a wall second, one call each under mmu_lock (E4): by a walker, and by processes; medians."""
    _age_once(1 << 11, by_events=False)
    walker_s = median_s(lambda: _age_once(LOCKED_PAGES, by_events=False))
    events_s = median_s(lambda: _age_once(EVENT_PAGES, by_events=True))
    walker, events = LOCKED_PAGES / walker_s, EVENT_PAGES / events_s
    return {"walker_per_s": walker, "events_per_s": events, "ratio": walker / events}


def _age_once(n_pages: int, *, by_events: bool) -> None:
    """All of a guest of which each vCPU goes over its sixteenth of HOT meanwhile; building it is a small part."""
    mmu = MmuSpec(era="E4")
    vm = _vm(n_pages, LOCKED_VCPUS, mmu, pass_ns=round(n_pages * 1000 * HOT * 10))
    notifier = notifier_of(vm, mmu)
    notifier.by_events = by_events
    vm.env.run(until=vm.env.process(_pass(notifier, n_pages)))


def _pass(notifier: MmuNotifier, n_pages: int) -> Generator[Any, Any, None]:
    young = np.zeros(n_pages, np.uint8)
    yield from notifier.each(CLEAR_YOUNG, np.arange(n_pages), 1, young)


def aged_host(page_size: PageSize, pattern: Pattern, gib: int = 256) -> dict[str, float]:
    """``aged_here`` in a process of its own."""
    code = f"import json, benchmarks.ageing as a; print(json.dumps(a.aged_here({page_size!r}, {pattern!r}, {gib})))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return json.loads(out)  # type: ignore[no-any-return]


def aged_here(page_size: PageSize, pattern: Pattern, gib: int) -> dict[str, float]:
    """A host of ``gib`` aged each 30 s, 64 vCPUs with A bits (E6): simulated and wall time, share young, peak memory."""
    _aged(page_size, pattern, 1)
    return _aged(page_size, pattern, gib)


def _aged(page_size: PageSize, pattern: Pattern, gib: int) -> dict[str, float]:
    n_pages, mmu = gib << 18, MmuSpec(era="E6", page_size=page_size)
    vm = _vm(n_pages, AGED_VCPUS, mmu, PERIOD_NS, pattern)
    daemon = AgeingDaemon(vm, notifier_of(vm, mmu), PERIOD_NS, call_pages=TABLE_PAGES)
    vm.env.run(until=SETTLED_NS)
    start = time.perf_counter()
    vm.env.run(until=SETTLED_NS + MEASURED_NS)
    wall_s, simulated_s = time.perf_counter() - start, MEASURED_NS / NS_PER_S
    young = daemon.passes[-1].young / n_pages
    return {
        "simulated_s": simulated_s, "wall_s": wall_s, "simulated_per_wall": simulated_s / wall_s, "young": young,
        "peak": peak_bytes(),
    }  # fmt: skip


def _vm(n_pages: int, n_vcpus: int, mmu: MmuSpec, pass_ns: int, pattern: Pattern = "sequential") -> LiveVm:
    """Its vCPUs read HOT of memory, a part of it each: page after page once in ``pass_ns``, or any page each time."""
    hot = int(n_pages * HOT)
    rate = Fraction(hot * NS_PER_S * (DRAWN_READS if pattern == "uniform" else 1), pass_ns)
    work = Workload("hot", pattern, tuple(range(n_vcpus)), 0, hot, Fraction(0), rate, split=True, arrivals="poisson")
    memory = make_memory(lay_out([("pc.ram", n_pages, [(0, n_pages)])]))
    return live_vm(Clock(), memory, build_guest((work,), 1), n_vcpus, 0, mmu, "get-dirty-log")
