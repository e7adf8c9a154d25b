"""Waits for pages, by waiter: a vCPU, a sleeping task of the guest, the migration thread."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from hostsim.core.clock import Clock
from hostsim.core.latency import Latencies

VCPU, TASK, MIGRATION = WAITERS = ("vcpu", "task", "migration")
POPULATE, MINOR, MAJOR = FAULTS = ("populate", "minor", "major")
"""Why a fault waits: for a frame for a first touch; for a page of the swap cache; for a page of the swap device."""
Step = Generator[simpy.Event, Any, None]


class FaultWaits:
    """Waits of one kind of waiter of one VM.

    latencies: of faults, by kind (FAULTS).
    reclaims: of direct reclaim within the faults.
    """

    def __init__(self, env: Clock) -> None:
        self.latencies = {kind: Latencies() for kind in FAULTS}
        self.reclaims = Latencies()
        self._env = env
        self._since_ns: list[int] = []

    def timed(self, kind: str, work: Step) -> Step:
        """Do ``work`` and record its time as the latency of a fault of ``kind``."""
        asked_ns = self._env.now_ns
        self._since_ns.append(asked_ns)
        yield from work
        self._since_ns.remove(asked_ns)
        self.latencies[kind].record(self._env.now_ns - asked_ns)

    @property
    def ns(self) -> int:
        """All waits so far, those under way included, summed [ns]."""
        over_ns = sum(latencies.total_ns for latencies in self.latencies.values())
        return over_ns + sum(self._env.now_ns - since_ns for since_ns in self._since_ns)

    @property
    def fetched(self) -> int:
        """Faults resolved from the swap cache or the swap device."""
        return self.latencies[MINOR].count + self.latencies[MAJOR].count
