"""Memory and time that runs of ageing and trials of reclaim will take on this machine, estimated before they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hostsim.core.errors import Problem
from hostsim.core.units import format_bytes
from hostsim.scenario.footprint import (
    HOST_BYTES_A_PAGE,
    KVM_BYTES_A_PAGE,
    MEMORY_BYTES_A_PAGE,
    MIGRATION_BYTES_A_PAGE,
    SWAP_BYTES_A_PAGE,
    ZIPF_BYTES_A_PAGE,
    ZIPF_SCRATCH_BYTES_A_PAGE,
    available_bytes,
    footprint_bytes,
)
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.plan import Run
from hostsim.study.compare.together import cores, workers_that_fit
from hostsim.study.reclaim.case import ReclaimCase

GUEST_BYTES_A_PAGE = MEMORY_BYTES_A_PAGE + KVM_BYTES_A_PAGE + ZIPF_BYTES_A_PAGE
"""For each of the two VMs of a trial: with reclaim and without."""
AGED_NS, AGED_TOUCHED_NS = {"sequential": (3500, 0), "idle": (300, 0)}, (1500, 100)
"""(CPU time [ns] for a page in a pass, extra time [ns] for each vCPU, whose TLB is flushed and whose faults are simulated)
by pattern of the guest; the last pair is for all other patterns.

Measured on one core of an AMD EPYC: 0.8 to 35 us by policy and vCPUs, so an estimate separates minutes from seconds only.
"""
RECLAIM_NS = 4000
"""CPU time [ns] for a page in a scan of reclaim, including the guest's touches between two scans (assumed)."""


@dataclass(frozen=True)
class Size:
    """Runs in all, the CPU time of all, the memory of the largest, and how many run at a time."""

    n_runs: int
    cpu_seconds: float
    run_bytes: int
    workers: int

    @property
    def seconds(self) -> float:
        """Estimate of the wall time."""
        return self.cpu_seconds / self.workers


def age_size(runs: Sequence[Run], workers: int | None) -> Size:
    """The size of ``runs`` of `hostsim age`; ``workers``: None for one a core."""
    largest = max((footprint_bytes(run.scenario) for run in runs), default=0)
    return _size(len(runs), sum(age_seconds(run.scenario) for run in runs), largest, workers)


def reclaim_size(cases: Sequence[ReclaimCase], n_seeds: int, workers: int | None) -> Size:
    """The size of all ``cases`` with ``n_seeds`` seeds; ``workers``: None for one a core."""
    seconds = sum(map(reclaim_seconds, cases)) * n_seeds
    return _size(len(cases) * n_seeds, seconds, max(map(reclaim_bytes, cases)), workers)


def _size(n_runs: int, cpu_seconds: float, run_bytes: int, workers: int | None) -> Size:
    at_once = min(workers or workers_that_fit(run_bytes, cores()), n_runs, cores())
    return Size(n_runs, cpu_seconds, run_bytes, at_once)


def age_seconds(scenario: Scenario) -> float:
    """CPU time of a run, about; hardly any of one without ageing."""
    ageing, (load, *_) = scenario.ageing, scenario.vm.workload
    if ageing is None:
        return 0.0
    passes = 4 if load.pattern == "sequential" else 1 + (ageing.passes or 0)
    page_ns, vcpu_ns = AGED_NS.get(load.pattern, AGED_TOUCHED_NS)
    return scenario.vm.memory_pages * passes * (page_ns + vcpu_ns * scenario.vm.vcpus) / 1e9


def reclaim_bytes(case: ReclaimCase) -> int:
    """Memory that a trial takes: two VMs on hosts of their own, all idle memory of one in swap."""
    more = ZIPF_SCRATCH_BYTES_A_PAGE + SWAP_BYTES_A_PAGE + MIGRATION_BYTES_A_PAGE * 2 * case.migrates
    return case.n_pages * (2 * (GUEST_BYTES_A_PAGE + HOST_BYTES_A_PAGE) + more)


def reclaim_seconds(case: ReclaimCase) -> float:
    """CPU time of a trial, about."""
    scans = (case.warm_up_ns + case.measure_ns) / case.scan_ns
    return case.n_pages * scans * RECLAIM_NS / 1e9


def size_problems(option: str, size: str, needed_bytes: int) -> Iterator[Problem]:
    """A problem where one trial needs more memory than is free; ``size``: as typed."""
    free = available_bytes()
    if free is not None and needed_bytes > free:
        got = f"{size}, whose simulation takes {format_bytes(needed_bytes, 3)}"
        yield Problem(option, "", got, f"at most the {format_bytes(free, 3)} of memory that are free on this machine")
