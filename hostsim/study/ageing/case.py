"""One case of ``hostsim age``: what ages, the VM that is aged, and what its guest does meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.costs.costs import load_costs
from hostsim.guest.popularity import zipf_shares
from hostsim.guest.workload import Active, Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.theory.working_set import working_set_pages

Under = Literal["faulting", "touching", "idle"]
UNDER: tuple[Under, ...] = ("faulting", "touching", "idle")
Notifier = Literal["era", "locked", "lockless"]
NOTIFIERS: tuple[Notifier, ...] = ("era", "locked", "lockless")


@dataclass(frozen=True)
class Load:
    """How a guest touches its memory: ``exponent`` of a Zipf law, 0: all pages alike; touches of a vCPU a second.

    write_share: of those; the others read.
    """

    exponent: float = 0.9
    rate_per_s: Fraction = Fraction(200_000)
    write_share: Fraction = Fraction(0)


@dataclass(frozen=True)
class AgeCase:
    """under: faulting (memory is populated meanwhile), touching (it is there, and read by ``load``), idle.

    notifier: how ageing takes mmu_lock if not as kernels of the era do. period_ns: from the begin of a pass to that of the
    next, if it is over by then; passes: how many, under faulting as many as it takes to populate memory.
    """

    policy: str
    n_vcpus: int
    vcpu_pages: int
    mmu: MmuSpec
    under: Under
    notifier: Notifier = "era"
    load: Load = Load()
    period_ns: int = 250_000_000
    passes: int = 4

    @property
    def n_pages(self) -> int:
        """Of all vCPUs."""
        return self.n_vcpus * self.vcpu_pages

    @property
    def loop_ns(self) -> int:
        """A vCPU's own work for a page that it populates."""
        return round(load_costs(self.mmu.costs).loop_ns)

    @property
    def populate_work_ns(self) -> int:
        """A vCPU's work until it has populated its part."""
        return self.vcpu_pages * self.loop_ns

    def workload(self) -> Workload:
        """What the guest does."""
        vcpus = tuple(range(self.n_vcpus))
        if self.under == "idle":
            return Workload("guest", "idle", vcpus, 0, self.n_pages)
        if self.under == "touching":
            rate, share = self.n_vcpus * self.load.rate_per_s, self.load.write_share
            return Workload(
                "guest", "zipf", vcpus, 0, self.n_pages, rate * share, rate * (1 - share), exponent=self.load.exponent
            )
        rate = Fraction(self.n_vcpus * NS_PER_S, self.loop_ns)
        once = Active(0, self.populate_work_ns)
        return Workload("guest", "sequential", vcpus, 0, self.n_pages, rate, split=True, active=once)

    def rates_per_s(self) -> NDArray[np.float64]:
        """float64[n_pages]: accesses to each page a second of work, under ``touching``."""
        return zipf_shares(self.n_pages, self.load.exponent) * float(self.n_vcpus * self.load.rate_per_s)

    def used_pages(self, work_ns: float) -> float:
        """The truth: pages accessed, in the mean, while each vCPU does ``work_ns`` of work: w(T) of a working set."""
        if self.under == "idle":
            return 0.0
        if self.under == "faulting":
            return self.n_vcpus * work_ns / self.loop_ns
        return working_set_pages(self.rates_per_s(), work_ns / NS_PER_S)

    def used_among(self, pages: NDArray[np.int64], work_ns: float) -> float:
        """The same of int64[k] ``pages`` alone; under faulting none: what is new is asked for."""
        if self.under != "touching":
            return 0.0
        return working_set_pages(self.rates_per_s()[pages], work_ns / NS_PER_S)
