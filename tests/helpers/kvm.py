"""Costs with round numbers, so that times of phases can be told by hand."""

from __future__ import annotations

import numpy as np

from hostsim.costs.exits import EXCLUSIVE, MAP, N_KINDS, NONE, SHARED, SPLIT, TRACK, WP, ExitCosts
from hostsim.kvm.setup import KvmCosts, LogCosts

EXIT_NS, ENTRY_NS, LOOP_NS, READ_LOOP_NS = 600, 400, 60, 15
HOLD_NS = {MAP: 1000, TRACK: 100, WP: 120, SPLIT: 30_000}
LOG = LogCosts(
    get_ns=0.5, clear_ns=30.0, protect_ns=14.0, split_ns=26_000.0, recover_ns=36_000.0, all_set_ns=0.25, flush_ns=661.0,
    first_ipi_ns=775.0, more_ipi_ns=70.0,
)  # fmt: skip


def round_costs(mode: dict[int, int] | None = None) -> KvmCosts:
    """TDP of 5.17: map faults shared, write-protection faults without the lock; ``mode`` replaces modes by kind."""
    modes = {MAP: SHARED, TRACK: NONE, WP: NONE, SPLIT: SHARED} | (mode or {})
    exits = ExitCosts(
        EXIT_NS, ENTRY_NS, spurious_ns=50, pml_ns=40, pml_drain_ns=2000, mode=_by_kind(modes), hold_ns=_by_kind(HOLD_NS, 1),
        queue_ns=np.zeros((3, 1), np.int64),
    )  # fmt: skip
    return KvmCosts(exits, 0, LOG, LOOP_NS, READ_LOOP_NS)


def exclusive_costs() -> KvmCosts:
    """Shadow paging: every fault takes mmu_lock for itself."""
    return round_costs(dict.fromkeys(HOLD_NS, EXCLUSIVE))


def _by_kind(values: dict[int, int], otherwise: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([values.get(kind, otherwise) for kind in range(N_KINDS)], np.int64)
