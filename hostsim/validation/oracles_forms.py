"""O1-O3, O5, O8, O29, O32-O34: closed forms at the digits of their check vectors, and against plain draws.

Draws agree within a stated number of standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hostsim.theory.distinct import (
    all_dirty_mean_writes,
    all_dirty_sd_writes,
    distinct_mean_pages,
    distinct_variance_pages,
    sweep_distinct_pages,
)
from hostsim.theory.page_classes import PageClasses
from hostsim.theory.precopy import saturating_fixed_point
from hostsim.theory.throttle import high_syncs_needed, steps_needed, throttle_needed
from hostsim.validation import draws
from hostsim.validation.draws import throttle_climb
from hostsim.validation.rows import Row, digits, exact, published, sigma
from hostsim.validation.samples import (
    SUITE,
    closed_requester_row,
    count_rows,
    distinct_rows,
    harvest_row,
    little_row,
    mean_z,
    page_bits_row,
    throughput_row,
)

FIXED_POINTS = {"1.2": ".313698", "1.5": ".582812", "2": ".796812", "3": ".940480"}
THROTTLE_RATIOS = (0.9, 1.1, 1.25, 1.5, 2.0, 3.0, 10.0, 100.0)
"""Dirty rate over send rate."""


def form_rows() -> Iterator[Row]:
    """Occupancy, fixed points, coupon collector, throttle steps, throughput."""
    yield digits(
        SUITE, "O1", "mean distinct pages, W=1e4, k=1.5e4", "7768.87", distinct_mean_pages(10_000, 15_000)
    )
    sd = math.sqrt(distinct_variance_pages(10_000, 15_000))
    yield digits(SUITE, "O1", "sd of distinct pages, W=1e4, k=1.5e4", "31.41", sd)
    for rho, share in FIXED_POINTS.items():
        got = saturating_fixed_point(float(rho))
        yield digits(SUITE, f"O5/x*({rho})", "share of memory re-sent by every pass", share, got)
    yield from _throttle_rows()
    yield digits(
        SUITE, "O29", "mean writes until 1000 pages are dirty", "7485.47", all_dirty_mean_writes(1000)
    )
    yield digits(SUITE, "O29", "sd of writes until 1000 pages are dirty", "1279.2", all_dirty_sd_writes(1000))
    yield from _throughput_rows()


def _throttle_rows() -> Iterator[Row]:
    """Steps and syncs by formula against auto-converge walked sync by sync."""
    for ratio in THROTTLE_RATIOS:
        needed = throttle_needed(ratio, 1.0)
        steps = steps_needed(needed)
        got = None if steps is None else f"{steps} steps, {high_syncs_needed(steps)} syncs"
        expected = "{} steps, {} syncs".format(*throttle_climb(needed, 20, 10, 99))
        yield exact(SUITE, f"O8/r={ratio:g}B", f"until throttle {needed:.1%}", expected, got)


def _throughput_rows() -> Iterator[Row]:
    data = published("throughput")
    for run in data["migrations"]:
        yield throughput_row(
            f"O34/{run['id']}", run["mbps"], run["transferred_bytes"],
            run["total_time_ms"], run["setup_time_ms"], data["tolerance"],
        )  # fmt: skip


REPLICATIONS = 400
WRITES_PER_S = 1000.0


def drawn_rows(seed: int = 1) -> Iterator[Row]:
    """Rows from about a million drawn writes; equal seeds give equal rows."""
    yield from _occupancy_rows(draws.generator(seed, 1))
    yield from _popularity_rows(draws.generator(seed, 2))
    yield from _sweep_rows()
    yield _coupon_row(draws.generator(seed, 3))
    yield harvest_row("O32/drawn", *draws.harvests(draws.generator(seed, 4), 500, 20_000, 300))
    yield from _queue_rows(draws.generator(seed, 5))


def _occupancy_rows(rng: np.random.Generator) -> Iterator[Row]:
    samples = draws.distinct_of_uniform_writes(rng, 1000, 1500, REPLICATIONS)
    mean, variance = distinct_mean_pages(1000, 1500), distinct_variance_pages(1000, 1500)
    yield from count_rows("O1/drawn", "distinct pages", samples, mean, variance)


def _popularity_rows(rng: np.random.Generator) -> Iterator[Row]:
    popularities = {
        "uniform": PageClasses.uniform(500, WRITES_PER_S),
        "hotcold": PageClasses.hotcold(500, 50, 0.9, WRITES_PER_S),
        "zipf": PageClasses.zipf(500, 0.99, WRITES_PER_S),
    }
    for name, classes in popularities.items():
        per_page = np.repeat(classes.rates_per_s, classes.counts.astype(np.int64))
        bits = draws.dirty_bits_of_poisson_writes(rng, per_page * 0.5, REPLICATIONS)
        yield from distinct_rows(f"O2/{name}", bits.sum(axis=1), classes, 0.5)
        yield page_bits_row(f"O2/{name}", bits.sum(axis=0), REPLICATIONS, -np.expm1(-per_page * 0.5))


def _sweep_rows() -> Iterator[Row]:
    for touches in (1, 299, 300, 301, 650):
        expected = draws.sweep_distinct(300, touches)
        got = float(sweep_distinct_pages(300, WRITES_PER_S, touches / WRITES_PER_S))
        yield exact(SUITE, f"O3/{touches}", "distinct pages of a sweep over 300", expected, round(got, 9))


def _coupon_row(rng: np.random.Generator) -> Row:
    """The mean only: the count is skewed, so a normal bound on its variance would not hold."""
    samples = draws.writes_until_all_dirty(rng, 200, REPLICATIONS)
    mean, variance = all_dirty_mean_writes(200), all_dirty_sd_writes(200) ** 2
    z, got = mean_z(samples, mean, variance), float(samples.mean())
    return sigma(SUITE, "O29/drawn", "mean writes until 200 pages are dirty", mean, got, z)


def _queue_rows(rng: np.random.Generator) -> Iterator[Row]:
    arrivals, departures = draws.fifo_server(rng, 5000, 2000, 1500)
    in_flight_ns = draws.in_flight_integral_ns(arrivals, departures)
    yield little_row("O33/fifo", arrivals, departures, in_flight_ns)
    think_ns, latency_ns = (1 + rng.exponential(mean, 1000).astype(np.int64) for mean in (10_000, 2_000))
    end_ns = int(np.cumsum(np.ravel(np.column_stack([think_ns, latency_ns])))[-1])
    yield closed_requester_row("O33/closed", 1000, end_ns, int(latency_ns.sum()), int(think_ns.sum()))
