"""Rows that hold samples of any simulator, an engine run or plain draws, against the closed forms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from hostsim.theory.page_classes import PageClasses
from hostsim.theory.precopy import throughput_mbps
from hostsim.validation.rows import Row, exact, relative, sigma
from hostsim.validation.sigmas import mean_z, page_bits_z, variance_z

SUITE = "oracles"


def count_rows(row_id: str, quantity: str, samples: ArrayLike, mean: float, variance: float) -> Iterator[Row]:
    """Mean and variance of a count (O1, O2, O29): float64[n] samples against the form's two moments."""
    values = np.asarray(samples, np.float64)
    got = float(values.mean())
    yield sigma(SUITE, row_id, f"mean {quantity}", mean, got, mean_z(values, mean, variance))
    spread = float(np.mean((values - mean) ** 2))
    yield sigma(
        SUITE, row_id, f"variance of {quantity}", variance, spread, variance_z(values, mean, variance)
    )


def distinct_rows(row_id: str, samples: ArrayLike, classes: PageClasses, seconds: float) -> Iterator[Row]:
    """Distinct pages dirtied in ``seconds`` by independent writes (O2): float64[n] samples."""
    mean, variance = float(classes.mean_pages(seconds)), float(classes.variance_pages(seconds))
    yield from count_rows(row_id, "distinct pages", samples, mean, variance)


def page_bits_row(row_id: str, dirty_counts: ArrayLike, replications: int, probabilities: ArrayLike) -> Row:
    """Dirty bits of each page independent with its own probability (O2); arrays as for ``page_bits_z``."""
    expected = float(np.sum(np.asarray(probabilities)) * replications)
    got = float(np.sum(np.asarray(dirty_counts)))
    z = page_bits_z(dirty_counts, replications, probabilities)
    return sigma(SUITE, row_id, "dirty bits over all pages, by chi-square a page", expected, got, z)


def harvest_row(row_id: str, harvested_pages: int, first_writes: int) -> Row:
    """Dirty bits harvested are the first writes after each clear, no more and no fewer (O32)."""
    return exact(SUITE, row_id, "dirty bits harvested", first_writes, harvested_pages)


def pages_sent_row(row_id: str, vm_pages: int, newly_dirty_pages: ArrayLike, sent_pages: int) -> Row:
    """Pages sent by a completed migration: all once, and each newly dirty page of every sync again (O32).

    newly_dirty_pages: int64[syncs], dirty since the previous sync and not pending; the sync after the stop
    included.
    """
    expected = vm_pages + int(np.sum(np.asarray(newly_dirty_pages, np.int64)))
    return exact(SUITE, row_id, "pages sent", expected, sent_pages)


def little_row(row_id: str, arrivals_ns: ArrayLike, departures_ns: ArrayLike, in_flight_ns: int) -> Row:
    """Little's law (O33) from empty to empty: summed waits are the area under requests in flight.

    arrivals_ns, departures_ns: int64[n], n requests; in_flight_ns: requests in flight integrated over time, by the
    simulator's count.
    """
    waits = int(np.sum(np.asarray(departures_ns, np.int64)) - np.sum(np.asarray(arrivals_ns, np.int64)))
    return exact(SUITE, row_id, "requests in flight, integrated, ns", waits, in_flight_ns)


def closed_requester_row(row_id: str, requests: int, duration_ns: int, latency_ns: int, think_ns: int) -> Row:
    """One requester that thinks, then waits (O33): rate x (mean latency + mean think) = 1.

    latency_ns, think_ns: totals over the ``requests`` complete cycles that fill ``duration_ns``.
    """
    cycles = requests / duration_ns * (latency_ns + think_ns) / requests
    return relative(SUITE, row_id, "rate x (latency + think)", 1.0, cycles, 1e-12)


def throughput_row(
    row_id: str, mbps: float, transferred_bytes: int, total_ms: int, setup_ms: int, tolerance: float
) -> Row:
    """Reported throughput is bytes x 8 / (total - setup) (O34)."""
    got = throughput_mbps(transferred_bytes, total_ms, setup_ms)
    return relative(SUITE, row_id, "throughput, Mbit/s", mbps, got, tolerance)
