"""O1, O5, O8, O29, O34: single numbers of the closed forms at the digits of their check vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hostsim.theory.distinct import all_dirty_mean_writes, all_dirty_sd_writes, distinct_mean_pages, distinct_variance_pages
from hostsim.theory.precopy import saturating_fixed_point
from hostsim.theory.throttle import high_syncs_needed, steps_needed, throttle_needed
from hostsim.validation.data import published
from hostsim.validation.draws import throttle_climb
from hostsim.validation.rows import Row, digits, exact
from hostsim.validation.samples import SUITE, throughput_row

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
