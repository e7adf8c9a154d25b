"""What a scenario says of a host's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hostsim.memory.policies.generations import Generations
from hostsim.memory.policies.protocol import AgeingPolicy
from hostsim.memory.policies.two_list import TwoList

POLICIES: dict[str, Callable[[int], AgeingPolicy]] = {
    "two-list": TwoList,
    "two-list-before-5.9": lambda n_pages: TwoList(n_pages, second_chance=False),
    "mglru": Generations,
    "mglru-walk": Generations,
    "mglru-no-walk": lambda n_pages: Generations(n_pages, walks=False),
}
"""What decides which pages go, by the name a scenario gives it; made for a number of pages.

"mglru" walks secondary MMUs, as "mglru-walk"; hostsim.memory.ageing_policies.named_for gives the name that goes with an era.
"""
PAGE_CLUSTER = 3
"""mm/swap.c::page_cluster: 2 ** 3 pages are read at a time."""
PCP_BATCH = 63
"""mm/page_alloc.c::zone_batchsize: frames that go to a CPU's list at a time."""


@dataclass(frozen=True)
class HostMemorySpec:
    """frames: of the host, for its guests; swap: the device's name, "none": there is none; swap_pages: its size.

    policy: one of POLICIES; page_cluster: log2 of the pages read at a time; proactive_ns: memory is aged each so often
    besides, 0: only under pressure; async_pf: a task that waits for swap sleeps, and its vCPU does what else it has to do.
    """

    frames: int
    swap: str = "nvme"
    swap_pages: int = 1 << 22
    policy: str = "two-list"
    page_cluster: int = PAGE_CLUSTER
    proactive_ns: int = 0
    async_pf: bool = False
