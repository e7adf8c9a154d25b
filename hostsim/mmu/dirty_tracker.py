"""The protocol of dirty tracking: how guest writes leave a record, and how the host harvests it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Harvest:
    """What a harvest found: pages written since the last one, and those of them not pending in the bitmap before."""

    dirtied_pages: int
    newly_dirty_pages: int
    hold_ns: int = 0
    """Host time the harvest takes before the thread goes on."""
    waits_for_vcpus: bool = False
    """The harvest is over when each vCPU thread has run a work item (TCG)."""


class DirtyTracker(Protocol):
    """Dirty tracking of one VM.

    Law: while a log is on, every page that the guest can write without leaving a record has one already.
    """

    name: str

    def start_log(self, now_ns: int) -> int:
        """Switch logging on: every page is clean and armed from ``now_ns``. Returns host time taken [ns]."""
        ...

    def sync(self, bmap: NDArray[np.uint8], now_ns: int) -> Harvest:
        """Move all records of writes before ``now_ns`` into ``bmap`` (uint8[n_pages], in place) and re-arm."""
        ...

    def first_unharvested(self, now_ns: int) -> int:
        """First gfn written before ``now_ns`` whose record no sync has moved yet, or -1; asked at the switchover."""
        ...

    def stop_log(self, now_ns: int) -> int:
        """Switch logging off. Returns host time taken [ns]."""
        ...
