"""A host's memory in a scenario."""

from __future__ import annotations

from dataclasses import dataclass

PAGE_CLUSTER = 3
"""mm/swap.c::page_cluster: 2 ** 3 pages are read at a time."""
PCP_BATCH = 63
"""mm/page_alloc.c::zone_batchsize: frames that go to a CPU's list at a time."""


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
    """

    frames: int
    swap: str = "nvme"
    swap_pages: int = 1 << 22
    policy: str = "two-list"
    page_cluster: int = PAGE_CLUSTER
    proactive_ns: int = 0
    async_pf: bool = False
