"""Plain draws, one write at a time: an independent check of the closed forms and of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def generator(seed: int, stream: int) -> np.random.Generator:
    """A stream of its own for each experiment."""
    return np.random.default_rng([seed, stream])


def distinct_of_uniform_writes(
    rng: np.random.Generator, pages: int, writes: int, replications: int
) -> Counts:
    """int64[replications]: distinct pages among ``writes`` uniform writes with replacement."""
    return np.array([len(np.unique(rng.integers(pages, size=writes))) for _ in range(replications)])


def dirty_bits_of_poisson_writes(
    rng: np.random.Generator, expected_writes: NDArray[np.float64], replications: int
) -> NDArray[np.bool_]:
    """bool[replications, pages]: whether each page was written, drawn from ``rng``.

    expected_writes: float64[pages], mean of the Poisson count of writes to each page.
    """
    return rng.poisson(expected_writes, (replications, len(expected_writes))) > 0


def writes_until_all_dirty(rng: np.random.Generator, pages: int, replications: int) -> Counts:
    """int64[replications]: uniform writes to ``pages`` pages, drawn from ``rng``, until every page was written once."""
    return np.array([_writes_until_all_dirty(rng, pages) for _ in range(replications)])


def _writes_until_all_dirty(rng: np.random.Generator, pages: int) -> int:
    first_write, written = np.full(pages, -1), 0
    while (first_write < 0).any():
        gfns, at = np.unique(rng.integers(pages, size=8 * pages), return_index=True)
        new = first_write[gfns] < 0
        first_write[gfns[new]] = written + at[new]
        written += 8 * pages
    return int(first_write.max()) + 1


def sweep_distinct(pages: int, touches: int) -> int:
    """Distinct pages of a cyclic sweep, by marking them one at a time."""
    dirty = np.zeros(pages, np.bool_)
    for touch in range(touches):
        dirty[touch % pages] = True
    return int(dirty.sum())


def harvests(rng: np.random.Generator, pages: int, writes: int, every: int) -> tuple[int, int]:
    """Uniform writes, harvested every ``every``: (dirty bits harvested, first writes after a clear)."""
    dirty, harvested, first_writes = np.zeros(pages, np.bool_), 0, 0
    for number, gfn in enumerate(rng.integers(pages, size=writes).tolist(), 1):
        first_writes += not dirty[gfn]
        dirty[gfn] = True
        if number % every == 0 or number == writes:
            harvested += int(dirty.sum())
            dirty[:] = False
    return harvested, first_writes


def fifo_server(
    rng: np.random.Generator, requests: int, mean_gap_ns: int, mean_service_ns: int
) -> tuple[Counts, Counts]:
    """(arrivals, departures) of Poisson requests at a FIFO server with exponential service: int64[requests] each, ns.

    rng: draws gaps, then services. mean_gap_ns: between arrivals. mean_service_ns: of a request.
    Each gap and each service is rounded down to whole ns, and 1 ns is added, so that none is 0.
    """
    arrivals = np.cumsum(1 + rng.exponential(mean_gap_ns, requests).astype(np.int64))
    services = 1 + rng.exponential(mean_service_ns, requests).astype(np.int64)
    departures, free_ns = np.empty(requests, np.int64), 0
    for i in range(requests):
        free_ns = max(free_ns, int(arrivals[i])) + int(services[i])
        departures[i] = free_ns
    return arrivals, departures


def in_flight_integral_ns(arrivals_ns: Counts, departures_ns: Counts) -> int:
    """Requests in flight integrated over time [requests x ns], by walking the events in order.

    arrivals_ns, departures_ns: int64[requests]; each departure belongs to one arrival, in any order.
    """
    times = np.concatenate([arrivals_ns, departures_ns])
    steps = np.concatenate([np.ones(len(arrivals_ns), np.int64), -np.ones(len(departures_ns), np.int64)])
    order = np.argsort(times, kind="stable")
    levels = np.cumsum(steps[order])[:-1]
    return int(np.sum(levels * np.diff(times[order])))


def throttle_climb(
    needed: float, initial_percent: int, increment_percent: int, max_percent: int
) -> tuple[int, int]:
    """(steps, syncs) until the throttle suffices: syncs one by one, each with a high dirty rate.

    needed: share of CPU time to take (0..1), at most ``max_percent`` / 100, else the climb never ends.
    initial_percent, increment_percent, max_percent: QEMU's parameters of auto-converge.
    """
    percent, high_count, steps, syncs = 0, 0, 0, 0
    while percent < 100.0 * needed:
        syncs, high_count = syncs + 1, high_count + 1
        if high_count == 2:
            high_count, steps = 0, steps + 1
            percent = min(percent + increment_percent, max_percent) if percent else initial_percent
    return steps, syncs
