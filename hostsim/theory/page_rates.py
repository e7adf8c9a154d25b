"""Access rate of each page of a guest whose workloads draw their pages: the truth that ageing estimates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.guest.popularity import zipf_shares
from hostsim.guest.workload import Workload

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
