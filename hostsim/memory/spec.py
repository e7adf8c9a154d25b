"""A host's memory in a scenario."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.kvm.spec import AgeingLock

NO_LIMIT = 1 << 62
NO_RECLAIM = "none"
"""The policy of a VM from which no page is taken by the clock."""
PAGE_CLUSTER = 3
"""mm/swap.c::page_cluster: 2 ** 3 pages are read at a time."""
PCP_BATCH = 63
"""mm/page_alloc.c::zone_batchsize: frames that go to a CPU's list at a time."""


@dataclass(frozen=True)
class ReclaimSpec:
    """Proactive reclaim.

    policy: a name of the registry, for "reclaim"; NO_RECLAIM: all pages stay.
    age_scans: scans after which an idle page is paged out.
    scan_ns: from the begin of a scan to that of the next.
    warm_up_ns: from the start of the run to that of the measurement.
    """

    policy: str
    age_scans: int
    scan_ns: int
    warm_up_ns: int = 0

    @property
    def age_ns(self) -> int:
        """Pages that are idle for as long are paged out."""
        return self.age_scans * self.scan_ns


@dataclass(frozen=True)
class HostMemorySpec:
    """Memory of a host.

    frames: frames for guests.
    swap: name of the swap device, "none": no swap.
    swap_pages: slots of the device.
    policy: a name of the registry that serves "memory".
    page_cluster: log2 of the pages of one swap read (vm.page-cluster).
    proactive_ns: period of ageing without pressure, 0: the host ages under pressure alone.
    async_pf: a guest task that waits for swap sleeps, and its vCPU runs other tasks (KVM_ASYNC_PF).
    reclaim: proactive reclaim of the first VM; None: the host reclaims under pressure alone.
    """

    frames: int
    swap: str = "nvme"
    swap_pages: int = 1 << 22
    policy: str = "two-list"
    page_cluster: int = PAGE_CLUSTER
    proactive_ns: int = 0
    async_pf: bool = False
    reclaim: ReclaimSpec | None = None


@dataclass(frozen=True)
class AgeingSpec:
    """An ageing daemon of a scenario.

    policy: a name of the registry that serves "ageing".
    period_ns: time from the start of a pass to the start of the next.
    call_pages: pages of one notifier call of a scan.
    flush: the daemon calls clear_flush_young, as reclaim does, else clear_young.
    passes: passes that a run waits for; 0: the run waits for none.
    mmu_lock: the way in which ageing takes mmu_lock.
    """

    policy: str = "scan"
    period_ns: int = 1_000_000_000
    call_pages: int = 1
    flush: bool = False
    passes: int = 0
    mmu_lock: AgeingLock = "era"
