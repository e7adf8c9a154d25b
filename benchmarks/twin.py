"""The engine against its twin, a plain SimPy simulation with an event for each access."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np

from benchmarks.measure import median_s
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from tests.twins.machine import TwinMachine

MIB_PAGES = 256
TWIN_TOUCHES_PER_S = 50_000
FAST_TOUCHES_PER_S = 1_000_000_000


def spec(touches_per_s: int) -> MachineSpec:
    """64 MiB, written uniformly, migrated over 200 Mbit/s until it is cancelled after 4 s."""
    n_pages = 64 * MIB_PAGES
    load = Workload("uniform", "uniform", (0,), 0, n_pages, Fraction(touches_per_s))
    return MachineSpec(
        lay_out([("pc.ram", n_pages, [(0, n_pages)])]), (load,), 1, load_sheet("generic"),
        link=LinkSpec(25_000_000, 0, 65536),
        migration=MigrationParameters(max_bandwidth=0, downtime_limit_ms=1, timeout_ns=4_000_000_000),
    )  # fmt: skip


def accesses_per_second() -> dict[str, float]:
    """Accesses simulated a wall second: the twin (once: it is slow), the engine on the same machine, and on a fast guest."""
    start = time.perf_counter()
    twin = TwinMachine(spec(TWIN_TOUCHES_PER_S), np.random.default_rng(1))
    twin.run()
    twin_s = time.perf_counter() - start
    accesses = TWIN_TOUCHES_PER_S * twin.env.now / 1e9
    return {
        "twin_per_s": accesses / twin_s,
        "engine_per_s": _engine(TWIN_TOUCHES_PER_S),
        "engine_fast_per_s": _engine(FAST_TOUCHES_PER_S),
    }


def _engine(touches_per_s: int) -> float:
    ended: list[int] = []

    def once() -> None:
        machine = Machine(spec(touches_per_s))
        machine.run()
        ended.append(machine.env.now_ns)

    return touches_per_s * ended_s(ended, median_s(once))


def ended_s(ended: list[int], wall_s: float) -> float:
    """Simulated seconds a wall second."""
    return ended[-1] / 1e9 / wall_s
