"""The scenario of a guest whose idle memory is paged out: a table as a scenario file has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.units import format_bandwidth, format_bytes, format_duration, format_rate
from hostsim.memory.spec import NO_RECLAIM

INTERFACE = "clear-dirty-log"
SPARE_PAGES, BATCH_PAGES = 4096, 64
"""Frames beyond those of the VM, and for each vCPU: memory does not run short."""
SWAP_PAGES = 1 << 22
"""Room on the swap device, unless the VM is larger."""
WARM_UP_AGES, WARM_UP_SCANS = 2, 2
"""Until the number of resident pages is steady: a page has to be idle for an age before it is paged out."""


@dataclass(frozen=True)
class ReclaimedGuest:
    """A guest that touches ``used_pages`` of its ``n_pages``; the rest was written once.

    exponent: of a Zipf law, 0: all pages alike.
    rate_per_s: touches of each vCPU.
    write_share: of those; the others read.
    swap: the device.
    scan_ns: from scan to scan.
    measure_ns: from the end of the warm-up to the end of a run without a migration.
    mmu: keys of [vm.mmu].
    bandwidth: of the migration's link [bytes/s], 0: unlimited.
    timeout_ns: after which the migration is given up.
    async_pf: a task that waits for swap sleeps.
    """

    n_vcpus: int
    n_pages: int
    used_pages: int
    exponent: float
    rate_per_s: Fraction
    write_share: Fraction
    swap: str
    scan_ns: int
    measure_ns: int
    mmu: dict[str, Any] = field(default_factory=dict)
    bandwidth: int = 0
    timeout_ns: int = 0
    async_pf: bool = False

    def table(self, age_ns: int, policy: str = NO_RECLAIM, *, migrates: bool = False, seed: int = 1) -> dict[str, Any]:
        """The scenario. policy: of [host.memory.reclaim]; migrates: a migration begins as the warm-up is over.

        age_ns: pages that are idle for as long are paged out; without reclaim the warm-up alone follows from it.
        """
        warm_up_ns = WARM_UP_AGES * age_ns + WARM_UP_SCANS * self.scan_ns + self.scan_ns // 2
        measured_ns = 2 * self.timeout_ns if migrates else self.measure_ns
        found = {
            "name": "reclaim", "seed": seed, "duration": format_duration(warm_up_ns + measured_ns), "vm": self._vm(),
            "host": {"memory": self._memory() | {"reclaim": self._reclaim(age_ns, policy, warm_up_ns)}},
        }  # fmt: skip
        return found | (self._migration(warm_up_ns) if migrates else {})

    def _vm(self) -> dict[str, Any]:
        return {
            "memory": format_bytes(self.n_pages * PAGE_BYTES), "vcpus": self.n_vcpus, "dirty_tracking": INTERFACE,
            "mmu": self.mmu, "workload": [{"name": "guest", **self._workload()}],
        }  # fmt: skip

    def _workload(self) -> dict[str, Any]:
        shape = {"pattern": "zipf", "exponent": self.exponent}
        if not self.exponent:
            shape = {"pattern": "uniform", "arrivals": "poisson"}
        rate, share = self.n_vcpus * self.rate_per_s, self.write_share
        rates = {"write_rate": rate * share, "read_rate": rate * (1 - share)}
        shape["size"] = format_bytes(self.used_pages * PAGE_BYTES)
        return {**shape, **{name: format_rate(value) for name, value in rates.items() if value}}

    def _memory(self) -> dict[str, Any]:
        frames = self.n_pages + self.n_pages // 4 + SPARE_PAGES + BATCH_PAGES * (self.n_vcpus + 1)
        more = {"swap_size": format_bytes(self.n_pages * PAGE_BYTES)} if self.n_pages > SWAP_PAGES else {}
        asleep = {"async_page_faults": True} if self.async_pf else {}
        return {"size": format_bytes(frames * PAGE_BYTES), "swap": self.swap, **more, **asleep}

    def _reclaim(self, age_ns: int, policy: str, warm_up_ns: int) -> dict[str, Any]:
        ages = {} if policy == NO_RECLAIM else {"age": format_duration(age_ns), "scan": format_duration(self.scan_ns)}
        return {"policy": policy, **ages, "warm_up": format_duration(warm_up_ns)}

    def _migration(self, start_ns: int) -> dict[str, Any]:
        timeout = format_duration(self.timeout_ns)
        migration = {"start": format_duration(start_ns), "bandwidth": "unlimited", "timeout": timeout}
        bandwidth = format_bandwidth(self.bandwidth) if self.bandwidth else "unlimited"
        # The default send buffer would take most of a small guest at once, and the link would not be the bottleneck.
        return {"migration": migration, "link": {"bandwidth": bandwidth, "latency": "0s", "socket_buffer": "0B"}}
