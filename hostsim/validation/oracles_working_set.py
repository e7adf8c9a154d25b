"""O12, O13: pages that ageing scans find young in a drawn guest, against the working-set forms."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.guest.touch import TouchTable, next_touches
from hostsim.guest.workload import Workload, build_guest
from hostsim.memory.policies.idle import IdlePages
from hostsim.theory import working_set
from hostsim.validation.rows import Row, relative, sigma
from hostsim.validation.samples import SUITE, count_rows
from hostsim.validation.sigmas import mean_z, page_bits_z

N_PAGES, ACCESSES_PER_S, SCAN_NS = 600, 3000, 100_000_000
SCANS, WARM_UP = 1200, 40
AGES = (1, 3, 8)
"""Scans after which a page counts as idle."""
STEP = 1e-5
"""Share of T by which w is differenced."""


def working_set_rows(seed: int = 1) -> Iterator[Row]:
    """Idle-page tracking of a guest whose reads are Poisson and Zipf: 1200 scans of 600 pages."""
    table = _guest(seed)
    rates = NS_PER_S / table.page_mean_ns
    yield from _form_rows(rates)
    young = _young_bits(table)
    yield from young_rows("O12-run/young", young, rates)
    for age in AGES:
        yield from idle_rows("run", young, rates, age)


def _guest(seed: int) -> TouchTable:
    load = Workload("reader", "zipf", (0,), 0, N_PAGES, read_rate_per_s=Fraction(ACCESSES_PER_S), exponent=0.9)
    return build_guest([load], seed).table


def _young_bits(table: TouchTable) -> NDArray[np.bool_]:
    """bool[SCANS, N_PAGES]: accessed since the scan before, which cleared the bit."""
    pages, found = np.arange(N_PAGES), np.empty(N_PAGES, np.int64)
    young = np.empty((SCANS, N_PAGES), np.bool_)
    for scan in range(SCANS):
        next_touches(table, 0, pages, np.full(N_PAGES, scan * SCAN_NS), found)
        young[scan] = found < (scan + 1) * SCAN_NS
    return young


def _form_rows(rates: NDArray[np.float64]) -> Iterator[Row]:
    """The promotion rate is the slope of the working set; by difference of w."""
    for age in AGES:
        seconds = age * SCAN_NS / NS_PER_S
        low, high = (working_set.working_set_pages(rates, seconds * (1.0 + side * STEP)) for side in (-1.0, 1.0))
        slope = (high - low) / (2.0 * STEP * seconds)
        got = working_set.promotion_rate_per_s(rates, seconds)
        yield relative(SUITE, f"O13/{seconds:g}s", "promotions a second, as slope of w", slope, got, 1e-7)


def young_rows(row_id: str, young: NDArray[np.bool_], rates: NDArray[np.float64]) -> Iterator[Row]:
    """O12: bool[SCANS, N_PAGES] of pages read at ``rates``, against 1 - e^(-r P)."""
    scan_s = SCAN_NS / NS_PER_S
    chance = working_set.young_probability(rates, scan_s)
    mean = working_set.working_set_pages(rates, scan_s)
    counts = young.sum(axis=1)
    yield from count_rows(row_id, "pages a scan finds young", counts, mean, count_variance(chance))
    z = page_bits_z(young.sum(axis=0), SCANS, chance)
    what = "pages found young over all scans, by chi-square a page"
    yield sigma(SUITE, row_id, what, mean * SCANS, float(young.sum()), z)


def idle_rows(name: str, young: NDArray[np.bool_], rates: NDArray[np.float64], age: int) -> Iterator[Row]:
    """Counts of scans so far apart that they share no access: idle pages, and those of them that come back."""
    tracker = IdlePages(N_PAGES, age)
    tracker.insert(np.arange(N_PAGES))
    idle, promoted = [], []
    for bits in young:
        before = tracker.promoted_pages
        tracker.age(bits.astype(np.uint8))
        promoted.append(tracker.promoted_pages - before)
        idle.append(int(np.count_nonzero(tracker.idle_scans() >= age)))
    age_s, scan_s = age * SCAN_NS / NS_PER_S, SCAN_NS / NS_PER_S
    apart = slice(WARM_UP, None, age + 1)
    stays = np.exp(-rates * age_s)
    mean, what = working_set.cold_pages(rates, age_s), f"pages idle for {age} scans"
    yield from count_rows(f"O12-{name}/idle {age}", what, idle[apart], mean, count_variance(stays))
    comes = stays * working_set.young_probability(rates, scan_s)
    grown = working_set.working_set_pages(rates, age_s + scan_s) - working_set.working_set_pages(rates, age_s)
    z = mean_z(promoted[apart], grown, count_variance(comes))
    what = f"promotions a scan after {age} idle ones, as growth of w"
    yield sigma(SUITE, f"O13-{name}/idle {age}", what, grown, float(np.mean(promoted[apart])), z)


def count_variance(chances: NDArray[np.float64]) -> float:
    """Variance of a count of independent pages, float64[n] ``chances``."""
    return float((chances * (1.0 - chances)).sum())
