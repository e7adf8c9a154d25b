"""Remote TLB flushes: an IPI to every vCPU in guest mode, and the wait for all of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.costs.costs import LogCosts
from hostsim.kvm.loops.layout import W_FLUSH_COUNT, W_FLUSH_NS


class Interruptible(Protocol):
    """The part of the engine that takes IPIs."""

    def flush_translations(self, now_ns: int) -> int:
        """Every vCPU in guest mode leaves it for a moment; how many there were. None has an old translation any more."""
        ...

    def walk_sum(self, column: int) -> int:
        """Of a column of Kvm.walks, over all walkers so far."""
        ...


class RemoteFlush:
    """kvm_flush_remote_tlbs."""

    def __init__(self, env: Clock, vcpus: Interruptible, costs: LogCosts) -> None:
        self._count = self._ns = 0
        self._env, self._vcpus, self._costs = env, vcpus, costs

    @property
    def count(self) -> int:
        """Flushes so far, those of walkers included."""
        return self._count + self._vcpus.walk_sum(W_FLUSH_COUNT)

    @property
    def ns(self) -> int:
        """What they took [ns]."""
        return self._ns + self._vcpus.walk_sum(W_FLUSH_NS)

    def table_ns(self, n_vcpus: int) -> NDArray[np.int64]:
        """int64[n_vcpus + 1], what a flush takes by how many vCPUs are in guest mode."""
        return np.array([self._took_ns(running) for running in range(n_vcpus + 1)], np.int64)

    def _took_ns(self, running: int) -> int:
        return round(self._costs.remote_flush_ns(running))

    def __call__(self) -> Generator[simpy.Event, Any, None]:
        """Interrupt the vCPUs now; returns when no stale translation is left. Takes no lock."""
        took_ns = self._took_ns(self._vcpus.flush_translations(self._env.now_ns))
        self._count += 1
        self._ns += took_ns
        yield self._env.timeout(took_ns)
