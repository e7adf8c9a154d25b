"""One case of ``hostsim reclaim``: a VM, an idle age after which pages go to swap, and perhaps a migration meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from hostsim.core.constants import NS_PER_S
from hostsim.guest.popularity import zipf_shares
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.theory.working_set import working_set_pages

WARM_UP_AGES, WARM_UP_SCANS = 2, 2
"""Warm-up until the resident set is steady: reclaim takes a page only after it was idle for an age."""


@dataclass(frozen=True)
class ReclaimCase:
    """used_pages: of n_pages, that the guest touches; the rest was written once. rate_per_s: touches of each vCPU.

    age_scans: idle scans after which a page goes; scan_ns: from scan to scan; measure_ns: after the warm-up, without a
    migration; migrates: one begins after the warm-up, over ``bandwidth`` bytes/s, and is given up after ``timeout_ns``.
    """

    policy: str
    n_vcpus: int
    n_pages: int
    used_pages: int
    exponent: float
    rate_per_s: Fraction
    write_share: Fraction
    swap: str
    age_scans: int
    scan_ns: int
    measure_ns: int
    mmu: MmuSpec
    migrates: bool = False
    bandwidth: int = 0
    timeout_ns: int = 0
    async_pf: bool = False

    @property
    def warm_up_ns(self) -> int:
        """Time until measuring, or the migration, begins."""
        return WARM_UP_AGES * self.age_ns + WARM_UP_SCANS * self.scan_ns + self.scan_ns // 2

    @property
    def age_ns(self) -> int:
        """Reclaim takes pages that are idle for this long."""
        return self.age_scans * self.scan_ns

    def workload(self) -> Workload:
        """Touches by all vCPUs of the pages in use."""
        rate = self.n_vcpus * self.rate_per_s
        return Workload(
            "guest", "zipf", tuple(range(self.n_vcpus)), 0, self.used_pages, rate * self.write_share,
            rate * (1 - self.write_share), exponent=self.exponent,
        )  # fmt: skip

    def cold_pages(self) -> float:
        """The truth: pages idle for an age, in the mean, were they all resident (oracle O13)."""
        rates = zipf_shares(self.used_pages, self.exponent) * float(self.n_vcpus * self.rate_per_s)
        return self.n_pages - working_set_pages(rates, self.age_ns / NS_PER_S)

    def with_migration(self) -> ReclaimCase:
        """This case with a migration."""
        return replace(self, migrates=True)
