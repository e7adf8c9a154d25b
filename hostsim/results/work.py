"""The price of the work of a run, in pages sent and never in seconds: all machines decide alike what a question may run."""

from __future__ import annotations

from hostsim.core.constants import NS_PER_MS
from hostsim.qemu.cpu_throttle import TIMESLICE_NS

EXIT_WORK, WINDOW_WORK, SWAP_WORK, SLEEP_WORK = 16, 2000, 100, 200
"""Work of an exit of a KVM guest, of 100 ms of simulated time, of a page swapped in, and of a sleep of a throttled vCPU.

Measured: 0.4 to 1.1 us an exit, 0.1 ms a window, some 5 us a swap-in, 10 us a sleep (an event of the clock and an exit of
the vCPU), against 0.05 us for a page that is sent or harvested.
"""
WINDOW_NS = 100 * NS_PER_MS
SYNC_SHARE = 0.15
"""Work counted for each page of the guest at a sync (measured before checks had spans: 7.5 ns against 50 ns; at most)."""


def sleeps(awake_ns: float, n_vcpus: int) -> float:
    """Sleeps of ``n_vcpus`` throttled vCPUs, each of which was awake for ``awake_ns``: one after each time slice."""
    return n_vcpus * max(0.0, awake_ns) / TIMESLICE_NS
