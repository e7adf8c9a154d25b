"""Suite ``kvm``: how long a vCPU waits for a page that the host swapped out to zram, beside the measured distribution.

The device sheet zram-zen4 was set on reads of a slot that is not logged; writes, logged slots and pages with 16 sptes are
predicted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from importlib.resources import files
from typing import Any

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.exits import MAP
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.trackers.get_dirty_log import GetDirtyLog
from hostsim.memory.host_memory import attach
from hostsim.memory.spec import HostMemorySpec
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE
from hostsim.validation.rows import Row, relative

SWAP, FITTED = "zram-zen4", "read"
TOLERANCE = 0.25
N_PAGES, FRAMES = 2048, 2000
"""The guest's pages and the host's frames for them: few frames are short, so that a fault waits for its own page alone."""
ACCESSES_PER_S, WORK_NS, END_NS = 400_000, 15_000_000, 200_000_000
"""Back to back, as measured: a fault that comes alone costs more."""
PERCENTILES = ("p50", "p99")


def swap_rows(seed: int = 1) -> Iterator[Row]:
    """Median and 99th percentile of each way of touching a page that was swapped out."""
    # Model limit: further sptes of a page that is swapped in cost nothing; the vCPU maps one of them.
    waits = {(writes, logged): _waits_ns(writes, logged, seed) for writes in (False, True) for logged in (False, True)}
    for name, measured in _distributions().items():
        found = waits[name.startswith("write"), name.endswith("logged")]
        for percentile in PERCENTILES:
            yield _row(name, percentile, measured[percentile], found[percentile])


def _distributions() -> dict[str, Any]:
    """Percentiles in ns, median, least and most of six repeats: hostsim/data/kvm_real/swap_in.json."""
    text = (files("hostsim") / "data" / "kvm_real" / "swap_in.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)["distributions"]
    return found


def _waits_ns(writes: bool, logged: bool, seed: int) -> dict[str, float]:
    """Percentiles of a fault from guest to guest, of one vCPU that touches page after page, as was measured."""
    rate, none = Fraction(ACCESSES_PER_S), Fraction(0)
    rates = (rate, none) if writes else (none, rate)
    load = Workload("toucher", "sequential", (0,), 0, N_PAGES, *rates, active=Active(0, WORK_NS))
    env, mmu = Clock(), MmuSpec(era=ERA, costs=SHEET, mmu="shadow")
    memory = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]))
    vm = live_vm(env, memory, build_guest([load], seed), 1, 0, mmu, "get-dirty-log")
    attach(env, HostMemorySpec(FRAMES, SWAP), [(vm, notifier_of(vm, mmu))], seed)
    if logged:
        env.process(GetDirtyLog(vm).start_log())
    env.run(until=END_NS)
    latencies = vm.engine.exit_latencies()[MAP]
    return {name: float(latencies.percentile_ns(float(name[1:]))) for name in PERCENTILES}


def _row(name: str, percentile: str, measured: Mapping[str, float], got: float) -> Row:
    """Within the tolerance, or between the least and the most of the repeats."""
    what = f"{percentile} of a swap-in seen by a vCPU, ns"
    row = relative(SUITE, f"swap-in/{name}/{percentile}", what, measured["median"], got, TOLERANCE)
    least, most = measured["min"], measured["max"]
    row = Row(
        row.suite, row.id, row.quantity, row.expected, row.got, row.error, row.tolerance,
        row.passed or least <= got <= most, note=f"share; measured {least:g} to {most:g}",
    )  # fmt: skip
    return row.unscored("fitted") if name == FITTED else row
