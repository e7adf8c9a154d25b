"""Working sets of independent Poisson accesses: pages that ageing scans find young or idle, and accesses to idle pages.

``rates_per_s``: float64[N], accesses to each page: the truth that ageing estimates. Source: P. J. Denning, S. C. Schwartz,
"Properties of the working-set model", Comm. ACM 15(3), 1972; here each page has its own rate. A page that is accessed at
rate r is young in a pass with 1 - exp(-r T), T from its last pass to this one, and of age k or more with exp(-r k T).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.guest.popularity import zipf_shares
from hostsim.guest.workload import Workload

Rates = NDArray[np.float64]


def young_probability(rates_per_s: Rates, scan_s: float) -> Rates:
    """float64[N]: chance that a scan finds the accessed bit that the scan ``scan_s`` before it cleared."""
    return -np.expm1(-rates_per_s * scan_s)


def working_set_pages(rates_per_s: Rates, window_s: float) -> float:
    """Mean pages accessed in ``window_s``: w(T)."""
    return float(young_probability(rates_per_s, window_s).sum())


def cold_pages(rates_per_s: Rates, age_s: float) -> float:
    """Mean pages not accessed for ``age_s``: N - w(T)."""
    return float(np.exp(-rates_per_s * age_s).sum())


def promotion_rate_per_s(rates_per_s: Rates, age_s: float) -> float:
    """Accesses to pages that were idle for ``age_s`` or longer: dw/dT, and the miss rate of a working set of that window."""
    return float(rates_per_s @ np.exp(-rates_per_s * age_s))


DRAWN = ("uniform", "hotcold", "zipf")


def page_rates_per_s(workloads: Sequence[Workload], n_pages: int) -> NDArray[np.float64] | None:
    """float64[n_pages]: reads and writes of each page per second of work; None if some are swept, recorded or pause."""
    rates = np.zeros(n_pages)
    for load in workloads:
        if load.pattern == "idle":
            continue
        if load.pattern not in DRAWN or load.active is not None:
            return None
        rate = float(load.write_rate_per_s + load.read_rate_per_s)
        rates[load.first_gfn : load.first_gfn + load.n_pages] += rate * _shares(load)
    return rates


def swept_pages(workloads: Sequence[Workload], work_s: float) -> float | None:
    """Pages that a guest's only work, a sequential sweep, accesses in ``work_s``; None if the guest does anything else."""
    works = [load for load in workloads if load.pattern != "idle"]
    load = works[0] if len(works) == 1 else None
    if load is None or load.pattern != "sequential" or load.active or not (load.split or len(load.vcpus) == 1):
        return None
    return min(float(load.n_pages), float(load.write_rate_per_s + load.read_rate_per_s) * work_s)


def _shares(load: Workload) -> NDArray[np.float64]:
    """float64[load.n_pages], shares of accesses that sum to 1; with ``split`` the shares repeat in each vCPU's part."""
    parts = len(load.vcpus) if load.split else 1
    return np.tile(_part_shares(load, load.n_pages // parts, load.hot_pages // parts), parts) / parts


def _part_shares(load: Workload, n_pages: int, hot_pages: int) -> NDArray[np.float64]:
    if load.pattern == "zipf":
        return zipf_shares(n_pages, load.exponent)
    if load.pattern == "uniform":
        return np.full(n_pages, 1 / n_pages)
    shares = np.full(n_pages, (1 - load.hot_share) / max(1, n_pages - hot_pages))
    shares[:hot_pages] = load.hot_share / max(1, hot_pages)
    return shares


AGES_MAX = 16
"""The last age stands for it and for all above."""


def age_counts(ages: NDArray[np.int32], n_passes: int) -> NDArray[np.int64]:
    """int64[k]: pages of age 0, 1, ... of those that some pass has tested (``ages``: int32[n], -1: none has)."""
    most = min(AGES_MAX, max(0, n_passes - 1))
    return np.bincount(np.minimum(ages[ages >= 0], most), minlength=most + 1)


def expected_counts(rates_per_s: NDArray[np.float64], pass_s: float, n_passes: int) -> NDArray[np.float64]:
    """float64[k]: expected pages of age 0, 1, ..., accessed at ``rates_per_s`` (float64[n]), with a pass each ``pass_s``."""
    most = min(AGES_MAX, max(0, n_passes - 1))
    at_least = np.array([np.exp(-rates_per_s * age * pass_s).sum() for age in range(most + 1)] + [0.0])
    return np.asarray(at_least[:-1] - at_least[1:], np.float64)


def misplaced_share(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """Share of the pages that would have to change their age for two histograms to be equal (total variation).

    counts, expected: int64[k] and float64[k], pages of each age. A share of the pages expected; 0 if there are none.
    """
    total = float(expected.sum())
    return float(np.abs(counts - expected).sum() / 2 / total) if total else 0.0
