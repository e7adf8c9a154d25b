"""Machines whose touches are drawn: the same case by the engine's keyed draws and by the twin's plain ones."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hostsim.core.dirty_tracker import at_once
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import HostSheet, punctual
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.cpu_throttle import CpuThrottle
from hostsim.qemu.parameters import MigrationParameters
from tests.twins.machine import TwinMachine
from tests.twins.mutate import MUTATIONS, apply
from tests.twins.throttle import TwinThrottle

MS = 1_000_000
N_PAGES = 60
DURATION_NS = 60 * MS
SHEET = HostSheet(100_000, 0, 20_000, MS, 50_000, MS, 60_000, 0, 5_000, 60_000)
PUNCTUAL = punctual(SHEET)
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One workload on a machine of N_PAGES pages, for DURATION_NS; 1500 writes a second make 90."""

    load: Workload
    throttle_percent: int = 0

    def spec(self, seed: int, migration: MigrationParameters | None = None, duration_ns: int = DURATION_NS) -> MachineSpec:
        blocks = lay_out([("pc.ram", N_PAGES, [(0, N_PAGES // 2)])])
        n_vcpus = max(self.load.vcpus) + 1
        return MachineSpec(blocks, (self.load,), n_vcpus, SHEET, seed, duration_ns, migration=migration)


def _load(pattern: str, **changes: object) -> Workload:
    return replace(Workload("load", pattern, (0,), 0, N_PAGES, Fraction(1500)), **changes)


HOT = {"hot_pages": 6, "hot_share": 0.8}
CASES = {
    "uniform": Case(_load("uniform")),
    "uniform poisson": Case(_load("uniform", arrivals="poisson")),
    "hotcold": Case(_load("hotcold", **HOT)),
    "hotcold poisson": Case(_load("hotcold", **HOT, arrivals="poisson")),
    "zipf": Case(_load("zipf", exponent=0.9)),
    "uniform, 3 vCPUs": Case(_load("uniform", vcpus=(0, 1, 2))),
    "uniform poisson, 3 vCPUs": Case(_load("uniform", vcpus=(0, 1, 2), arrivals="poisson")),
    "hotcold, 3 vCPUs, split": Case(_load("hotcold", vcpus=(0, 1, 2), split=True, **HOT)),
    "uniform, phases": Case(_load("uniform", active=Active(5 * MS, 10 * MS, 20 * MS))),
    "zipf, phases": Case(_load("zipf", active=Active(5 * MS, 10 * MS, 20 * MS))),
    "uniform, throttled": Case(_load("uniform"), 50),
    "uniform poisson, open loop, throttled": Case(
        _load("uniform", arrivals="poisson", pacing=Pacing(True, Fraction(3, 2), 4 * MS)), 75
    ),
    "zipf, ticks, throttled": Case(_load("zipf", pacing=Pacing(tick_ns=4 * MS, tick_late_ns=8 * MS)), 50),
}  # fmt: skip


def engine_bits(case: Case, seeds: range) -> Bits:
    """uint8[len(seeds), N_PAGES]: pages dirty at the end."""
    return np.array([_engine_run(case, seed) for seed in seeds])


def twin_bits(case: Case, seeds: range) -> Bits:
    return np.array([_twin_run(case, seed) for seed in seeds])


def _engine_run(case: Case, seed: int) -> Bits:
    machine = Machine(case.spec(seed))
    at_once(machine.tracker.start_log())
    if case.throttle_percent:
        CpuThrottle(machine.env, machine.vm, PUNCTUAL, seed).set(case.throttle_percent)
    machine.run()
    bits = np.zeros(N_PAGES, np.uint8)
    at_once(machine.tracker.sync(bits))
    return bits


def _twin_run(case: Case, seed: int) -> Bits:
    machine = TwinMachine(case.spec(seed), np.random.default_rng([seed, 77]))
    machine.memory.logging = True
    if case.throttle_percent:
        TwinThrottle(machine.env, machine.vcpus, PUNCTUAL).set(case.throttle_percent)
    machine.run()
    bits = np.zeros(N_PAGES, np.uint8)
    bits[sorted(machine.memory.dirty)] = 1
    return bits


def two_sample_z(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Difference of the means in standard errors; 0 where both are constant and equal."""
    gap = float(a.mean() - b.mean())
    error = float(np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))
    return gap / error if gap else 0.0


def chi_square_z(counts: NDArray[np.float64], n: int, dirty: NDArray[np.float64]) -> float:
    """Chi-square of independent bits, in standard deviations from its mean; ``dirty``: probability a page."""
    chi_square = float(((counts - n * dirty) ** 2 / (n * dirty * (1 - dirty))).sum())
    return (chi_square - len(counts)) / (2 * len(counts)) ** 0.5


def variance_z(samples: NDArray[np.float64], variance: float) -> float:
    """Sample variance against ``variance``, in standard deviations (near-normal samples)."""
    return float(samples.var(ddof=1) / variance - 1) * ((len(samples) - 1) / 2) ** 0.5


def poisson_mean_z(replications: int) -> float:
    """O2 for uniform writes: mean number of dirty pages, in standard errors."""
    dirty = 1 - np.exp(-1500 * DURATION_NS / 1e9 / N_PAGES)
    pages = engine_bits(CASES["uniform poisson"], range(replications)).sum(axis=1)
    error = (N_PAGES * dirty * (1 - dirty) / replications) ** 0.5
    return float((pages.mean() - N_PAGES * dirty) / error)


if __name__ == "__main__":
    apply(MUTATIONS[sys.argv[1]])
    sys.stdout.write(f"{poisson_mean_z(int(sys.argv[2]))}\n")
