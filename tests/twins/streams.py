"""The touches of a workload, as plain generators of (work time [ns], gfn, is_write), endless or not, ascending."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count

import numpy as np

from hostsim.guest.popularity import scatter_step
from hostsim.guest.workload import Active, Workload, first_visits

NS_PER_S = 1_000_000_000
Touch = tuple[int, int, bool]


def touches(load: Workload, i: int, rng: np.random.Generator | None = None, seed: int = 1) -> Iterator[Touch]:
    """Touches of the ``i``-th vCPU of ``load``; ``rng`` draws pages and times, ``seed`` where sweeps stand at first."""
    if load.pattern == "idle":
        return iter(())
    if load.pattern == "trace":
        return through_windows(load.active, _trace(load, i))
    return heapq.merge(
        *(through_windows(load.active, _stream(load, i, rate, w, rng, seed)) for w, rate in load.rates),
    )


def through_windows(active: Active | None, stream: Iterator[Touch]) -> Iterator[Touch]:
    """Stretch the time axis: time passes for the stream inside its active windows only."""
    if active is None or active.is_of_host:  # the clock stands between windows of the host's clock
        yield from stream
        return
    window, start_ns = 0, active.start_ns
    for local_ns, gfn, is_write in stream:
        while local_ns >= (window + 1) * active.length_ns:
            if active.period_ns == 0:
                return
            window, start_ns = window + 1, start_ns + active.period_ns
        yield start_ns + local_ns - window * active.length_ns, gfn, is_write


def _trace(load: Workload, i: int) -> Iterator[Touch]:
    trace = load.trace
    rows = zip(trace.time_ns.tolist(), trace.vcpu.tolist(), trace.gfn.tolist(), trace.is_write.tolist(), strict=True)
    yield from sorted((t, gfn, is_write) for t, vcpu, gfn, is_write in rows if vcpu == load.vcpus[i])


def _stream(
    load: Workload, i: int, rate: Fraction, is_write: bool, rng: np.random.Generator | None, seed: int = 1
) -> Iterator[Touch]:
    k = len(load.vcpus)
    stride = load.stride_pages if load.pattern == "strided" else 1
    sizes = _dealt(load.n_pages, k, stride) if load.split else [load.n_pages] * k
    n_pages = sizes[i]
    first_gfn = load.first_gfn + (sum(sizes[:i]) if load.split else 0)
    if load.pattern in {"sequential", "strided"}:
        start = load.start_page + first_visits(load, seed)[i] * stride
        pages: Iterator[int] = ((start + n * stride) % n_pages for n in count())
    else:
        pages = iter(_page_drawer(load, n_pages, k, rng), -1)
    if load.pattern == "zipf" or load.arrivals == "poisson" or not is_write:
        times = _poisson_times(rate / k, rng) if rng else _even_times(rate / k)
    else:
        times = _even_times(rate / k)
    for local_ns, page in zip(times, pages, strict=False):
        yield local_ns, first_gfn + page, is_write


def _dealt(n_pages: int, k: int, stride: int) -> list[int]:
    """Pages of each of ``k`` parts: touches are dealt out one by one, whole strides where they divide the region."""
    unit = stride if n_pages % stride == 0 and n_pages // stride >= k else 1
    sizes = [0] * k
    for n in range(n_pages // unit):
        sizes[n % k] += unit
    return sizes


def _even_times(rate_per_s: Fraction) -> Iterator[int]:
    """Touch n at n / rate, rounded down."""
    gap = Fraction(NS_PER_S) / rate_per_s
    for n in count():
        yield n * gap.numerator // gap.denominator


def _poisson_times(rate_per_s: Fraction, rng: np.random.Generator) -> Iterator[int]:
    now, mean = 0.0, NS_PER_S / float(rate_per_s)
    while True:
        now += rng.exponential(mean)
        yield int(now)


def _page_drawer(load: Workload, n_pages: int, k: int, rng: np.random.Generator | None) -> Callable[[], int]:
    """Draws one page a call, independent of all before."""
    assert rng is not None
    if load.pattern == "uniform":
        return lambda: int(rng.integers(n_pages))
    if load.pattern == "hotcold":
        hot = load.hot_pages // k if load.split else load.hot_pages
        return lambda: int(rng.integers(hot) if rng.random() < load.hot_share else rng.integers(hot, n_pages))
    weights = np.arange(1, n_pages + 1, dtype=np.float64) ** -load.exponent
    cumulated = np.cumsum(weights / weights.sum())
    step = scatter_step(n_pages)  # where a rank lies, as the workload says
    return lambda: min(int(np.searchsorted(cumulated, rng.random(), "right")), n_pages - 1) * step % n_pages
