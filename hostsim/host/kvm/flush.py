"""Remote TLB flushes: an IPI to every vCPU in guest mode, and the wait for all of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import simpy

from hostsim.host.clock import Clock
from hostsim.host.kvm.setup import LogCosts


class Interruptible(Protocol):
    """The part of the engine that takes IPIs."""

    def flush_translations(self, now_ns: int) -> int:
        """Every vCPU in guest mode leaves it for a moment; how many there were. None has an old translation any more."""
        ...


class RemoteFlush:
    """kvm_flush_remote_tlbs. count, ns: flushes so far and what they took."""

    def __init__(self, env: Clock, vcpus: Interruptible, costs: LogCosts) -> None:
        self.count = self.ns = 0
        self._env, self._vcpus, self._costs = env, vcpus, costs

    def __call__(self) -> Generator[simpy.Event, Any, None]:
        """Interrupt the vCPUs now; returns when no stale translation is left. Takes no lock."""
        took_ns = round(self._costs.remote_flush_ns(self._vcpus.flush_translations(self._env.now_ns)))
        self.count += 1
        self.ns += took_ns
        yield self._env.timeout(took_ns)
