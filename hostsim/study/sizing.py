"""Memory and time that runs of ageing and of reclaim will take on this machine, estimated before they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hostsim.core.constants import NS_PER_S
from hostsim.core.errors import Problem
from hostsim.core.units import format_bytes
from hostsim.scenario.footprint import available_bytes, footprint_bytes
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.plan import Run
from hostsim.study.compare.together import cores, workers_that_fit

AGED_NS, AGED_TOUCHED_NS = {"sequential": (3500, 0), "idle": (300, 0)}, (1500, 100)
"""(CPU time [ns] for a page in a pass, extra time [ns] for each vCPU, whose TLB is flushed and whose faults are simulated)
by pattern of the guest; the last pair is for all other patterns.

Measured on one core of an AMD EPYC: 0.8 to 35 us by policy and vCPUs, so an estimate separates minutes from seconds only.
"""
RECLAIM_NS = 4000
"""CPU time [ns] for a page in a scan of reclaim, including the guest's touches between two scans (assumed)."""


SAMPLED_NS, LOGGED_NS = 20, 500
"""CPU time [ns] for a page of the guest in a measurement by sampling, and for a page that is logged (measured, AMD EPYC)."""


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


def reclaim_size(runs: Sequence[Run], workers: int | None) -> Size:
    """The size of ``runs`` of `hostsim reclaim`; ``workers``: None for one a core."""
    largest = max((footprint_bytes(run.scenario) for run in runs), default=0)
    return _size(len(runs), sum(reclaim_seconds(run.scenario) for run in runs), largest, workers)


def measure_size(runs: Sequence[Run], workers: int | None) -> Size:
    """The size of ``runs`` of `hostsim measure-dirty`; ``workers``: None for one a core."""
    largest = max((footprint_bytes(run.scenario) for run in runs), default=0)
    return _size(len(runs), sum(measure_seconds(run.scenario) for run in runs), largest, workers)


def measure_seconds(scenario: Scenario) -> float:
    """CPU time of a run, about: sampling looks at each page of the guest, a log costs a fault for each page written."""
    n, pages = len(scenario.vm.calc_dirty_rate), scenario.vm.memory_pages
    if scenario.vm.dirty_tracking == "tcg" or not n:
        return n * pages * SAMPLED_NS / 1e9
    writes = float(sum(load.write_rate for load in scenario.vm.workload))
    return sum(min(pages, writes * one.calc_time / NS_PER_S) for one in scenario.vm.calc_dirty_rate) * LOGGED_NS / 1e9


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


def reclaim_seconds(scenario: Scenario) -> float:
    """CPU time of a run, about; hardly any of one without reclaim."""
    memory, migration = scenario.host.memory, scenario.migration
    if memory is None or memory.reclaim is None or not memory.reclaim.pages_out:
        return 0.0
    ns = scenario.duration
    if migration is not None:
        sent_ns = NS_PER_S * scenario.vm.memory // scenario.link.bandwidth if scenario.link.bandwidth else 0
        ns = memory.reclaim.warm_up + min(migration.timeout, sent_ns)
    return scenario.vm.memory_pages * ns / memory.reclaim.scan_ns * RECLAIM_NS / 1e9


def size_problems(option: str, size: str, needed_bytes: int) -> Iterator[Problem]:
    """A problem of ``option`` where one run takes ``needed_bytes``, more memory than is free; ``size``: as it was typed."""
    free = available_bytes()
    if free is not None and needed_bytes > free:
        got = f"{size}, whose simulation takes {format_bytes(needed_bytes, 3)}"
        yield Problem(option, "", got, f"at most the {format_bytes(free, 3)} of memory that are free on this machine")
