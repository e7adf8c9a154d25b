"""Guests that exit: the compiled engine against a SimPy process for each exit, in the same run.

16 vCPUs write their own sixteenth of a write-protected, logged slot in a closed loop; every write is one exit that takes
mmu_lock exclusively. Costs are of the size of published ones; the lock is the bottleneck.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from benchmarks.measure import REPEATS
from hostsim.mmu.exits import EXCLUSIVE, N_KINDS, TOUCH, WP, Counts, ExitCosts, Lock, Slot, Vcpus, run_vcpus
from hostsim.mmu.spte import PRESENT, make_sptes

N_VCPUS = 16
EXIT_NS, HOLD_NS, ENTRY_NS, LOOP_NS = 700, 400, 300, 100
FAR_NS = 1 << 62
STRIDE_PAGES, STRIDES = 521, 40
SIMPY_PAGES = 1 << 18
"""Enough exits for a steady rate: the cost of one does not depend on the size of the guest."""


def exits_per_second() -> dict[str, float]:
    """Exits simulated a wall second: SimPy, and the engine at 4 and 64 GiB with its ratio to SimPy; medians."""
    assert run_engine(1 << 10)[0] == run_simpy(1 << 10)[0], "both end at the same instant"
    figures = {"simpy_per_s": _rate(run_simpy, SIMPY_PAGES)}
    for gib in (4, 64):
        per_s = _rate(run_engine, gib << 18)
        figures |= {f"{gib}_gib_per_s": per_s, f"{gib}_gib_ratio": per_s / figures["simpy_per_s"]}
    return figures | {"scattered_per_s": scattered_per_second(64 << 18)}


def _rate(run: Callable[[int], tuple[int, float]], n_pages: int) -> float:
    return n_pages / statistics.median(run(n_pages)[1] for _ in range(REPEATS))


def run_engine(n_pages: int) -> tuple[int, float]:
    """End [ns] and wall time [s] of one exit a page; the arrays are made before the clock starts."""
    vcpus, run, counts = _guest(n_pages)
    wall_s = _wall_s(run)
    assert counts.exits[WP] == n_pages
    return int(vcpus.ns.max()), wall_s


def scattered_per_second(n_pages: int) -> float:
    """Exits a wall second when vCPUs stride through their parts, so that each exit is on another cache line."""
    vcpus, run, counts = _guest(n_pages)
    first, wall_s = vcpus.page.copy(), 0.0
    vcpus.step[:] = STRIDE_PAGES
    for i in range(STRIDES):
        vcpus.page[:], vcpus.stage[:], vcpus.ns[:] = first + i * 131 % STRIDE_PAGES, TOUCH, vcpus.ns.max()
        wall_s += _wall_s(run)
    return float(counts.exits[WP] / wall_s)


def _wall_s(run: Callable[[], int]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _guest(n_pages: int) -> tuple[Vcpus, Callable[[], int], Counts]:
    sptes, vcpus = make_sptes(n_pages), _programs(n_pages)
    sptes.spte[:] = PRESENT
    sptes.dirty[:] = 0  # touched once, so that the host's own page faults are not measured
    lock, heap = Lock(np.zeros(N_VCPUS, np.int64), np.zeros(4, np.int64)), np.zeros(N_VCPUS, np.int64)
    counts = Counts(np.zeros(N_KINDS, np.int64), np.zeros(3, np.int64), np.zeros((0, 4), np.int64))
    mode, hold_ns = np.full(N_KINDS, EXCLUSIVE, np.int64), np.full(N_KINDS, HOLD_NS, np.int64)
    costs = ExitCosts(EXIT_NS, ENTRY_NS, HOLD_NS, 0, 0, mode, hold_ns, np.zeros((3, 1), np.int64))
    slot = Slot(logged=True, pml=False, huge=False)
    return vcpus, lambda: run_vcpus(sptes, vcpus, lock, heap, slot, costs, counts, FAR_NS), counts


def _programs(n_pages: int) -> Vcpus:
    each = n_pages // N_VCPUS
    columns = {name: np.zeros(N_VCPUS, np.int64) for name in Vcpus._fields}
    columns["page"] += np.arange(N_VCPUS) * each
    columns["end"] += columns["page"] + each
    for name, value in {"stage": TOUCH, "step": 1, "is_write": 1, "loop_ns": LOOP_NS}.items():
        columns[name] += value
    return Vcpus(**columns)


def run_simpy(n_pages: int) -> tuple[int, float]:
    """As ``run_engine``: a process for each exit, a Resource as the lock, timeouts for exit, hold, entry and loop."""
    env = simpy.Environment()
    lock, writable, each = simpy.Resource(env), bytearray(n_pages), n_pages // N_VCPUS
    for v in range(N_VCPUS):
        env.process(_vcpu(env, lock, writable, range(v * each, (v + 1) * each)))
    wall_s = _wall_s(env.run)
    assert sum(writable) == n_pages
    return int(env.now) - LOOP_NS, wall_s


def _vcpu(env: simpy.Environment, lock: simpy.Resource, writable: bytearray, pages: range) -> Generator[Any, Any, None]:
    for page in pages:
        if not writable[page]:
            yield env.process(_exit(env, lock, writable, page))
        yield env.timeout(LOOP_NS)


def _exit(env: simpy.Environment, lock: simpy.Resource, writable: bytearray, page: int) -> Generator[Any, Any, None]:
    yield env.timeout(EXIT_NS)
    with lock.request() as granted:
        yield granted
        yield env.timeout(HOLD_NS)
        writable[page] = 1
    yield env.timeout(ENTRY_NS)
