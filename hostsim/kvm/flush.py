"""Remote TLB flushes, of KVM and of the host: an IPI to every vCPU in guest mode, and the wait for all of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.costs.costs import LogCosts
from hostsim.kvm.engine_tlb import Tlbs
from hostsim.kvm.engine_walks import Walkers


class RemoteFlush:
    """kvm_flush_remote_tlbs of one VM, called by a host process.

    shootdowns: flushes of the host's own translations so far, which ``count`` and ``ns`` leave out.
    """

    def __init__(self, env: Clock, tlb: Tlbs, walks: Walkers, costs: LogCosts, n_vcpus: int) -> None:
        self._count = self._ns = self.shootdowns = 0
        self._env, self._tlb, self._walks, self._costs, self._n_vcpus = env, tlb, walks, costs, n_vcpus

    @property
    def count(self) -> int:
        """Number of flushes so far, with the flushes of walkers."""
        return self._count + self._walks.sum("flushes")

    @property
    def ns(self) -> int:
        """Length of all flushes so far [ns], with the flushes of walkers."""
        return self._ns + self._walks.sum("flush_ns")

    def table_ns(self) -> NDArray[np.int64]:
        """int64[n_vcpus + 1]: length of a flush [ns] by the number of vCPUs in guest mode."""
        return np.array([self._took_ns(running) for running in range(self._n_vcpus + 1)], np.int64)

    def _took_ns(self, running: int) -> int:
        return round(self._costs.remote_flush_ns(running, self._n_vcpus))

    def __call__(self) -> Generator[simpy.Event, Any, int]:
        """Interrupt the vCPUs now; return when all have acknowledged, with their number.

        Takes no lock; the caller may hold mmu_lock.
        """
        running = self._tlb.flush(self._env.now_ns)
        took_ns = self._took_ns(running)
        self._count += 1
        self._ns += took_ns
        yield self._env.timeout(took_ns)
        return running

    def count_idle(self, flushes: int) -> int:
        """Count ``flushes`` that find no vCPU in guest mode; return the length of one [ns], which the caller lets pass."""
        took_ns = self._took_ns(0)
        self._count += flushes
        self._ns += flushes * took_ns
        return took_ns

    def shootdown(self) -> Generator[simpy.Event, Any, None]:
        """Flush the host's own translations of the VM's memory (arch/x86/mm/tlb.c::flush_tlb_multi); sptes stay.

        A CPU that runs a vCPU has the page tables of the VM's process loaded, so the IPI takes the vCPU out of the guest.
        """
        # Model limit: a host's shootdown interrupts vCPUs in guest mode alone: other threads of the VM's process, and vCPUs
        # that handle an exit, take the IPI at no cost.
        self.shootdowns += 1
        yield self._env.timeout(round(self._costs.ipis_ns(self._tlb.interrupt(self._env.now_ns))))
