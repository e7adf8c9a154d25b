"""Waits of vCPUs, and of their sleeping tasks, for pages that are not resident."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.latency import Latencies


class PageWaits:
    """Waits of one VM, by a vCPU, or by a task that sleeps so that its vCPU runs other tasks.

    faults: faults that reached the host.
    sleeps: faults whose task was put to sleep.
    in_flight: faults that are not resolved yet.
    in_flight_ns: ``in_flight`` integrated over time.
    latencies: of resolved faults, from fault to resolution.
    """

    def __init__(self, n_vcpus: int) -> None:
        self.faults = self.sleeps = self.in_flight = self.in_flight_ns = 0
        self.latencies = Latencies()
        self._waited_ns = np.zeros(n_vcpus, np.int64)
        self._vcpu_since_ns: dict[int, int] = {}
        self._task_since_ns: dict[int, int] = {}
        self._changed_ns = 0

    def count_anew(self) -> None:
        """Reset faults and latencies; a wait under way counts when it ends."""
        self.faults, self.latencies = 0, Latencies()

    def begins(self, vcpu: int, now_ns: int) -> None:
        """Begin a wait of ``vcpu`` for a page."""
        self.faults += 1
        self._vcpu_since_ns[vcpu] = now_ns
        self._count(1, now_ns)

    def ends(self, vcpu: int, now_ns: int) -> None:
        """End the wait of ``vcpu``."""
        since_ns = self._vcpu_since_ns.pop(vcpu)
        self._waited_ns[vcpu] += now_ns - since_ns
        self._answered(since_ns, now_ns)

    def falls_asleep(self, vcpu: int, clock: int, now_ns: int) -> None:
        """Turn the wait of ``vcpu`` into a wait of its task, which has work clock ``clock``."""
        self.sleeps += 1
        since_ns = self._vcpu_since_ns.pop(vcpu)
        self._waited_ns[vcpu] += now_ns - since_ns
        self._task_since_ns[clock] = since_ns

    def wakes(self, clock: int, now_ns: int) -> None:
        """End the wait of the task of work clock ``clock``."""
        self._answered(self._task_since_ns.pop(clock), now_ns)

    def waited_ns(self, now_ns: int) -> NDArray[np.int64]:
        """int64[n_vcpus]: time that each vCPU has waited [ns], waits under way included, sleeping tasks not."""
        found = self._waited_ns.copy()
        for vcpu, since_ns in self._vcpu_since_ns.items():
            found[vcpu] += now_ns - since_ns
        return found

    def _answered(self, since_ns: int, now_ns: int) -> None:
        self._count(-1, now_ns)
        self.latencies.record(now_ns - since_ns)

    def _count(self, more: int, now_ns: int) -> None:
        self.in_flight_ns += self.in_flight * (now_ns - self._changed_ns)
        self._changed_ns = now_ns
        self.in_flight += more
