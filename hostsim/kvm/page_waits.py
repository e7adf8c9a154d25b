"""Waits of vCPUs, and of their tasks that sleep, for pages that the host does not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.core.latency import Latencies


class PageWaits:
    """Of one VM. Who waits for a page is a vCPU, or a task that was put to sleep so that its vCPU goes on.

    faults: that came to the host; sleeps: of these, where the task was put to sleep; in_flight: not answered yet;
    in_flight_ns: integrated over time.
    latencies: of those answered, from the fault to the answer.
    """

    def __init__(self, n_vcpus: int) -> None:
        self.faults = self.sleeps = self.in_flight = self.in_flight_ns = 0
        self.latencies = Latencies()
        self._waited_ns = np.zeros(n_vcpus, np.int64)
        self._vcpu_since_ns: dict[int, int] = {}
        self._task_since_ns: dict[int, int] = {}
        self._changed_ns = 0

    def count_anew(self) -> None:
        """Faults and latencies begin at zero; a wait under way counts when it ends."""
        self.faults, self.latencies = 0, Latencies()

    def begins(self, vcpu: int, now_ns: int) -> None:
        """``vcpu`` waits for a page from now on."""
        self.faults += 1
        self._vcpu_since_ns[vcpu] = now_ns
        self._count(1, now_ns)

    def ends(self, vcpu: int, now_ns: int) -> None:
        """The page that ``vcpu`` waits for is there."""
        since_ns = self._vcpu_since_ns.pop(vcpu)
        self._waited_ns[vcpu] += now_ns - since_ns
        self._answered(since_ns, now_ns)

    def falls_asleep(self, vcpu: int, clock: int, now_ns: int) -> None:
        """From now on the task of work clock ``clock`` waits, and its ``vcpu`` does not."""
        self.sleeps += 1
        since_ns = self._vcpu_since_ns.pop(vcpu)
        self._waited_ns[vcpu] += now_ns - since_ns
        self._task_since_ns[clock] = since_ns

    def wakes(self, clock: int, now_ns: int) -> None:
        """The page that the task of ``clock`` waits for is there."""
        self._answered(self._task_since_ns.pop(clock), now_ns)

    def waited_ns(self, now_ns: int) -> NDArray[np.int64]:
        """int64[n_vcpus]: how long each vCPU has waited, waits under way included; tasks that sleep are not in it."""
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
