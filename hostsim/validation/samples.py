"""Rows that hold samples of any simulator, an engine run or plain draws, against the closed forms.

z-scores: the distance of samples from a closed form, in standard deviations. ``samples``: float64[n], one figure per
independent replication. The forms give mean and variance; nothing is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from hostsim.theory.page_classes import PageClasses
from hostsim.theory.precopy import throughput_mbps
from hostsim.validation.rows import Row, exact, relative, sigma


def mean_z(samples: ArrayLike, mean: float, variance: float) -> float:
    """Z of the sample mean, given the variance of one sample; a form without spread must be met exactly."""
    values = np.asarray(samples, np.float64)
    off = float(values.mean()) - mean
    if variance == 0.0:
        return 0.0 if off == 0.0 else math.copysign(math.inf, off)
    return off / math.sqrt(variance / len(values))


def variance_z(samples: ArrayLike, mean: float, variance: float) -> float:
    """Z of the mean squared distance from ``mean``, for near-normal counts: its sd is variance sqrt(2/n)."""
    values = np.asarray(samples, np.float64)
    spread = float(np.mean((values - mean) ** 2))
    return (spread / variance - 1.0) / math.sqrt(2.0 / len(values))


def page_bits_z(dirty_counts: ArrayLike, replications: int, probabilities: ArrayLike) -> float:
    """Z of the chi-square of independent per-page dirty bits.

    dirty_counts: int64[pages], replications in which each page was dirty; probabilities: float64[pages].
    Chi-square is the sum of (c - n p)^2 / (n p q); a term has mean 1 and variance 2 + (1 - 6 p q) / (n p
    q), exactly. Pages with n p q below 1 would drown the others and are left to the test of the mean; one
    that must be clean or must be dirty (p is 0 or 1) and is not makes z infinite.
    """
    p, counts = np.asarray(probabilities, np.float64), np.asarray(dirty_counts, np.float64)
    npq = replications * p * (1.0 - p)
    if np.any((npq == 0.0) & (counts != replications * p)):
        return math.inf
    p, counts, npq = p[npq >= 1.0], counts[npq >= 1.0], npq[npq >= 1.0]
    variance = float(np.sum(2.0 + (1.0 - 6.0 * p * (1.0 - p)) / npq))
    return (float(np.sum((counts - replications * p) ** 2 / npq)) - len(p)) / math.sqrt(variance)


def sample_z(samples: ArrayLike, mean: float) -> float:
    """Z of the sample mean where no form gives the variance: by that of the samples, which have to be independent."""
    values = np.asarray(samples, np.float64)
    return mean_z(values, mean, float(values.var(ddof=1)))


SUITE = "oracles"


def count_rows(row_id: str, quantity: str, samples: ArrayLike, mean: float, variance: float) -> Iterator[Row]:
    """Two rows: mean and variance of a count against the two moments of its form (O1, O2, O29).

    row_id: of both rows. quantity: the count, in words. samples: float64[n], independent.
    mean, variance: of the form; the spread of ``samples`` is taken around ``mean``.
    """
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
    """Dirty bits of each page independent with its own probability (O2).

    row_id: of the row. dirty_counts, replications, probabilities: as in ``page_bits_z``.
    """
    expected = float(np.sum(np.asarray(probabilities)) * replications)
    got = float(np.sum(np.asarray(dirty_counts)))
    z = page_bits_z(dirty_counts, replications, probabilities)
    return sigma(SUITE, row_id, "dirty bits over all pages, by chi-square a page", expected, got, z)


def harvest_row(row_id: str, harvested_pages: int, first_writes: int) -> Row:
    """Row ``row_id``: ``harvested_pages``, by a run, has to equal ``first_writes``, counted from clear to clear (O32)."""
    return exact(SUITE, row_id, "dirty bits harvested", first_writes, harvested_pages)


def pages_sent_row(row_id: str, vm_pages: int, newly_dirty_pages: ArrayLike, sent_pages: int) -> Row:
    """Pages sent by a completed migration: all once, and each newly dirty page of every sync again (O32).

    row_id: of the row. vm_pages: pages of the VM.
    newly_dirty_pages: int64[syncs], dirty since the previous sync and not pending; the sync after the stop included.
    sent_pages: counted by the run; it has to be exactly the sum.
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
    """Row ``row_id``: reported throughput is bytes x 8 / (total - setup) (O34).

    mbps: as reported [Mbit/s]. transferred_bytes, total_ms, setup_ms: as reported beside it.
    tolerance: as a share of ``mbps``.
    """
    got = throughput_mbps(transferred_bytes, total_ms, setup_ms)
    return relative(SUITE, row_id, "throughput, Mbit/s", mbps, got, tolerance)
