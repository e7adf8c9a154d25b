"""What a scenario says of a host's memory."""

from __future__ import annotations

from dataclasses import dataclass

PAGE_CLUSTER = 3
"""mm/swap.c::page_cluster: 2 ** 3 pages are read at a time."""
PCP_BATCH = 63
"""mm/page_alloc.c::zone_batchsize: frames that go to a CPU's list at a time."""


@dataclass(frozen=True)
class HostMemorySpec:
    """frames: of the host, for its guests; swap: the device's name, "none": there is none; swap_pages: its size.

    policy: a name of the registry, for "memory"; page_cluster: log2 of the pages read at a time; proactive_ns: memory is
    aged each so often besides, 0: only under pressure;
    async_pf: a task that waits for swap sleeps, and its vCPU does what else it has to do.
    """

    frames: int
    swap: str = "nvme"
    swap_pages: int = 1 << 22
    policy: str = "two-list"
    page_cluster: int = PAGE_CLUSTER
    proactive_ns: int = 0
    async_pf: bool = False
