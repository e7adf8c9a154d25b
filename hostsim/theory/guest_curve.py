"""The dirty curve that a guest's workloads are expected to have, from their closed forms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.guest.workload import TouchTrace, Workload, first_visits, part_sizes, sweep_cycle
from hostsim.theory.dirty_curve import DirtyCurve

TRACE_KNOTS = 64


def guest_curve(workloads: Sequence[Workload], seed: int) -> DirtyCurve:
    """D(t) of all writing workloads, unthrottled, cut off at the pages that some workload writes.

    seed: of the run; it draws the start of sweeps that share a region.

    Workloads that overlap are added up to that cut; one with active windows counts as if always in one (the worst interval),
    one that thinks by its mean rate.
    """
    total = DirtyCurve(np.array([0.0, 1.0]), np.zeros(2))
    for load in workloads:
        total = total.plus(_curve(load, seed))
    return DirtyCurve(total.t_s, total.pages, total.last_slope_pages_per_s, float(_written_pages(workloads)))


def _written_pages(workloads: Sequence[Workload]) -> int:
    """Pages that some workload writes; regions are united as intervals, for a guest of 1 TiB has 268 million pages."""
    regions = [
        (load.first_gfn, load.first_gfn + load.n_pages) for load in workloads
        if load.trace is None and load.write_rate_per_s > 0 and load.pattern != "idle"
    ]  # fmt: skip
    pages = reached = 0
    for first, end in sorted(regions):
        pages += max(0, end - max(first, reached))
        reached = max(reached, end)
    return pages + _traced_pages([load.trace for load in workloads if load.trace is not None], regions)


def _traced_pages(traces: Sequence[TouchTrace], regions: Sequence[tuple[int, int]]) -> int:
    """Pages outside of ``regions`` that ``traces`` write."""
    gfns = [trace.gfn[trace.is_write] for trace in traces]
    written = np.zeros(1 + max((int(one.max()) for one in gfns if len(one)), default=0), np.bool_)
    for one in gfns:
        written[one] = True
    for first, end in regions:
        written[first:end] = False
    return int(written.sum())


def _curve(load: Workload, seed: int) -> DirtyCurve:
    rate = float(load.write_rate_per_s * load.pacing.duty)
    if load.trace is not None:
        return _trace_curve(load.trace)
    if rate == 0 or load.pattern == "idle":
        return DirtyCurve(np.array([0.0, 1.0]), np.zeros(2))
    if load.pattern == "uniform":
        return DirtyCurve.uniform(load.n_pages, rate)
    if load.pattern == "hotcold":
        return DirtyCurve.hotcold(load.n_pages, load.hot_pages, load.hot_share, rate)
    if load.pattern == "zipf":
        return DirtyCurve.zipf(load.n_pages, load.exponent, rate)
    return _swept(_reaches(load, seed), rate / len(load.vcpus))


def _reaches(load: Workload, seed: int) -> NDArray[np.int64]:
    """int64[vCPUs]: pages each vCPU writes before it comes to one that is dirty: its part, or up to the next vCPU."""
    if load.split:
        return np.array([sweep_cycle(load, size)[0] for size in part_sizes(load)], np.int64)
    # Model limit: sweeps of one region keep the distances at which they begin; under KVM those of closed loops drift.
    cycle, _ = sweep_cycle(load, load.n_pages)
    visits = np.sort(np.array(first_visits(load, seed), np.int64))
    return np.diff(visits, append=visits[0] + cycle)


def _swept(reaches: NDArray[np.int64], rate_each: float) -> DirtyCurve:
    """D(t) of sweeps that write ``rate_each`` pages per second until each has written its int64[vCPUs] ``reaches``."""
    ends, counts = np.unique(reaches[reaches > 0], return_counts=True)
    left = counts.sum() - np.concatenate([[0], np.cumsum(counts)[:-1]])
    pages = np.cumsum(np.diff(ends, prepend=0) * left)
    return DirtyCurve(np.concatenate([[0.0], ends / rate_each]), np.concatenate([[0.0], pages.astype(np.float64)]))


def _trace_curve(trace: TouchTrace) -> DirtyCurve:
    """Distinct pages written in the first t of the trace, at TRACE_KNOTS times."""
    written = trace.is_write
    if not written.any():
        return DirtyCurve(np.array([0.0, 1.0]), np.zeros(2))
    order = np.argsort(trace.time_ns[written], kind="stable")
    _, first = np.unique(trace.gfn[written][order], return_index=True)
    times = np.sort(trace.time_ns[written][order][first]) / 1e9
    t_s = np.linspace(0.0, max(float(times[-1]), 1e-9), TRACE_KNOTS + 1)
    return DirtyCurve(t_s, np.searchsorted(times, t_s, side="right").astype(np.float64))
