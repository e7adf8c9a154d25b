"""The work of a run, counted in pages sent and never in seconds, so that all machines decide alike which trials are run."""

from __future__ import annotations

EXIT_WORK = 16
"""An exit is as much work as this many pages sent (measured: 0.4 to 1.1 us against 0.05 us)."""
REPORT_WORK = 2000
"""Work counted for 100 ms of simulated time, even if little happens in them (measured: about 0.1 ms)."""
REPORT_NS = 100_000_000
SYNC_SHARE = 0.15
"""Work counted for each page of the guest at a sync, which also checks all of them (measured: 7.5 ns against 50 ns)."""


def counted(pages: float, exits: int, syncs: int, ram_pages: float, simulated_ns: int) -> int:
    """Work of a run.

    pages: sent and harvested.
    exits: of logged memory.
    syncs: of the dirty bitmap.
    ram_pages: of the guest.
    simulated_ns: from the begin of the run.
    """
    return int(pages + EXIT_WORK * exits + SYNC_SHARE * syncs * ram_pages + REPORT_WORK * simulated_ns // REPORT_NS)
