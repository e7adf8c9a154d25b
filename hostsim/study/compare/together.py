"""The number of simulations that fit into this machine at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import format_bytes
from hostsim.scenario.footprint import available_bytes, footprint_bytes
from hostsim.study.compare.plan import Run

WORKER_BYTES = 128 << 20
"""Private memory of a worker besides the arrays of its run: compiled code, libraries.

Measured: 131 MB of Private_Dirty with a guest of 64 MiB (Linux, forked, Python 3.11, numba 0.68).
"""


def cores() -> int:
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def check_where(workers: int | None, cluster: str) -> None:
    """InputError or MissingExtraError unless runs can go to ``workers`` processes, or to the scheduler at ``cluster``."""
    if not cluster:
        return
    from hostsim.study.compare.cluster import check_address

    if workers is not None:
        wanted = "one of the two: a cluster has workers of its own"
        raise InputError([Problem("--workers", "", f"{workers}, beside --cluster", wanted, "--cluster tcp://scheduler:8786")])
    check_address(cluster)


def choose_workers(runs: Sequence[Run], wanted: int | None) -> int:
    """``wanted`` workers, or one a core; never more than runs. InputError if memory does not take ``wanted``.

    Without a wish there are fewer where memory is short; a run that is too large by itself is refused when it is built.
    """
    most = min(wanted or cores(), len(runs)) or 1
    fit = max(1, _that_fit(runs, most, available_bytes()))
    if wanted is not None and fit < most:
        free = available_bytes() or 0
        got = f"{wanted}, whose simulations take {format_bytes(together_bytes(runs, most), 3)} together"
        fits = f"at most {fit}: {format_bytes(free, 3)} of memory are free on this machine"
        raise InputError([Problem("--workers", "", got, fits, f"--workers {fit}")])
    return fit


def together_bytes(runs: Sequence[Run], workers: int) -> int:
    """The most that ``workers`` simulations of ``runs`` take at once; in this process there is no worker."""
    sizes = sorted((footprint_bytes(run.scenario) for run in runs), reverse=True)
    return sum(sizes[:workers]) + (workers * WORKER_BYTES if workers > 1 else 0)


def _that_fit(runs: Sequence[Run], most: int, free_bytes: int | None) -> int:
    if free_bytes is None:
        return most
    return next((n for n in range(most, 0, -1) if together_bytes(runs, n) <= free_bytes), 0)


def workers_that_fit(needed_bytes: int, most: int) -> int:
    """The number of trials of ``needed_bytes`` each that fit into free memory at a time, from 1 to ``most``."""
    free = available_bytes()
    return most if free is None else max(1, min(most, free // (needed_bytes + WORKER_BYTES)))
