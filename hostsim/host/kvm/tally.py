"""What a phase cost: time, exits by kind, waits for mmu_lock, holds of it, flushes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hostsim.kernels.exits import HOLD_NS, WAIT_NS, Counts
from hostsim.kernels.faults import MAP, N_KINDS, PML_FULL, SPLIT, SPURIOUS, TRACK, WP

KINDS = {
    "map_faults": MAP, "track_faults": TRACK, "wp_faults": WP, "split_faults": SPLIT, "spurious": SPURIOUS,
    "pml_full": PML_FULL,
}  # fmt: skip
"""Counters of exits, by the engine's kind."""


@dataclass(frozen=True)
class Tally:
    """Counters of a VM; the difference of two is a phase. Times in ns.

    wait_ns, hold_ns: of mmu_lock, summed over vCPUs; host_hold_ns: holds by the thread that works on the log.
    """

    now_ns: int = 0
    map_faults: int = 0
    track_faults: int = 0
    wp_faults: int = 0
    split_faults: int = 0
    spurious: int = 0
    pml_full: int = 0
    wait_ns: int = 0
    hold_ns: int = 0
    host_hold_ns: int = 0
    flushes: int = 0

    def __sub__(self, before: Tally) -> Tally:
        """What happened since ``before``."""
        return Tally(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def faults(self) -> int:
        """Exits that handled a fault, spurious ones too."""
        return self.map_faults + self.track_faults + self.wp_faults + self.split_faults + self.spurious

    def to_dict(self) -> dict[str, Any]:
        """By name, the time as ``duration_ns``."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"duration_ns": values.pop("now_ns"), **values}


def new_counts() -> Counts:
    """Counters of the engine at zero, without an exit log."""
    return Counts(np.zeros(N_KINDS, np.int64), np.zeros(3, np.int64), np.zeros((0, 4), np.int64))


def tally_of(now_ns: int, counts: Counts, host_hold_ns: int, flushes: int) -> Tally:
    """The counters as they stand."""
    kinds = {name: int(counts.exits[kind]) for name, kind in KINDS.items()}
    wait_ns, hold_ns = int(counts.sums[WAIT_NS]), int(counts.sums[HOLD_NS])
    return Tally(now_ns, **kinds, wait_ns=wait_ns, hold_ns=hold_ns, host_hold_ns=host_hold_ns, flushes=flushes)
