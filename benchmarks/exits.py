"""Guests that exit: the compiled engine against a SimPy process for each exit, in the same run.

16 vCPUs write a write-protected, logged slot; the first write to a page is one exit that takes mmu_lock exclusively. Costs
are of the size of published ones; the lock is the bottleneck. Writes are drawn (Poisson, any page), or a walk: each vCPU
writes its own sixteenth in a closed loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from fractions import Fraction
from typing import Any

import numpy as np
import simpy

from benchmarks.measure import Spread, spread
from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import NEVER
from hostsim.costs.exits import EXCLUSIVE, N_KINDS, WP, ExitCosts
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig

N_VCPUS = 16
EXIT_NS, HOLD_NS, ENTRY_NS, LOOP_NS = 700, 400, 300, 100
NS_PER_S = 1_000_000_000
STRIDE_PAGES = 521
DRAWN_NS = 300_000_000
"""Simulated time of drawn writes, at the rate of the lock: 750 000 exits, at 4 GiB three quarters of all pages."""
SIMPY_PAGES = 1 << 18
"""Enough exits for a steady rate: the cost of one does not depend on the size of the guest."""


def exits_per_second() -> dict[str, Spread]:
    """Exits simulated a second of CPU: SimPy, and the engine at 4 and 64 GiB."""
    assert walk(1 << 13)[0] == run_simpy(1 << 13)[0], "both end at the same instant"
    drawn(1 << 13)
    found = {"simpy": spread(lambda: SIMPY_PAGES / run_simpy(SIMPY_PAGES)[1])}
    for gib in (4, 64):
        n_pages = gib << 18
        found[f"{gib}_gib"] = spread(lambda n=n_pages: drawn(n))
        found[f"{gib}_gib_walk"] = spread(lambda n=n_pages: n / walk(n)[1])
    n_pages = 64 << 18
    return found | {"64_gib_strides": spread(lambda: n_pages / walk(n_pages, STRIDE_PAGES)[1])}


def drawn(n_pages: int) -> float:
    """Exits a second of CPU of uniform Poisson writes, drawing included."""
    exits, spent_s = drawn_for(n_pages, DRAWN_NS)
    return exits / spent_s


def drawn_for(n_pages: int, simulated_ns: int) -> tuple[int, float]:
    """Exits of uniform Poisson writes in ``simulated_ns``, and the CPU time [s] they took."""
    engine = writing_guest(n_pages)
    spent_s = cpu_s(lambda: engine.advance(simulated_ns))
    return int(engine.exits[WP]), spent_s


def writing_guest(n_pages: int) -> GuestEngine:
    """Its vCPUs about to write any page of ``n_pages`` at the rate of the lock."""
    rate = Fraction(N_VCPUS * NS_PER_S, LOOP_NS)
    engine = _guest([Workload("w", "uniform", tuple(range(N_VCPUS)), 0, n_pages, rate, arrivals="poisson")], n_pages)
    engine.run_to(NEVER - 1, 0)
    return engine


def walk(n_pages: int, stride_pages: int = 1, n_vcpus: int = N_VCPUS) -> tuple[int, float]:
    """End [ns] and CPU time [s] of one exit a page; the arrays are made before the clock starts."""
    each = n_pages // n_vcpus
    once, rate = Active(0, each * LOOP_NS), Fraction(NS_PER_S, LOOP_NS)
    engine = _guest(
        [
            Workload(f"walk {v}", "strided", (v,), v * each, each, rate, stride_pages=stride_pages, active=once)
            for v in range(n_vcpus)
        ],
        n_pages,
        n_vcpus,
    )
    engine.run_to((each - 1) * LOOP_NS, 0)
    ends: list[int] = []

    def to_the_end() -> None:
        while (due := engine.advance(NEVER)) is not None:
            ends.append(due.ns)

    spent_s = cpu_s(to_the_end)
    assert engine.exits[WP] == n_pages
    assert len(ends) == n_vcpus
    return ends[-1] - EXIT_NS, spent_s


def cpu_s(run: Callable[[], Any]) -> float:
    """CPU time [s] of ``run``."""
    start = time.process_time()
    run()
    return time.process_time() - start


def _guest(loads: list[Workload], n_pages: int, n_vcpus: int = N_VCPUS) -> GuestEngine:
    """Its vCPUs in user space, its log on."""
    memory = make_memory(lay_out([("pc.ram", n_pages, [(0, n_pages)])]))
    mode, hold_ns = np.full(N_KINDS, EXCLUSIVE, np.int64), np.full(N_KINDS, HOLD_NS, np.int64)
    costs = ExitCosts(EXIT_NS, ENTRY_NS, HOLD_NS, 0, 0, mode, hold_ns, np.zeros((3, 1), np.int64))
    engine = GuestEngine(build_guest(loads, 1), memory, n_vcpus, MmuConfig(), costs, running=False)
    engine.log.start(all_set=False, eager=True, now_ns=0)
    return engine


def run_simpy(n_pages: int) -> tuple[int, float]:
    """As ``walk``: a process for each exit, a Resource as the lock, timeouts for exit, hold, entry and loop."""
    env = simpy.Environment()
    lock, writable, each = simpy.Resource(env), bytearray(n_pages), n_pages // N_VCPUS
    for v in range(N_VCPUS):
        env.process(_vcpu(env, lock, writable, range(v * each, (v + 1) * each)))
    spent_s = cpu_s(env.run)
    assert sum(writable) == n_pages
    return int(env.now) - LOOP_NS, spent_s


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
