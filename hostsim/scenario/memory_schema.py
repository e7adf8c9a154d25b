"""[host.memory], [host.memory.reclaim] and [ageing]: memory of a host that may run short, the thread that pages out idle
pages by the clock, and the thread that finds used pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from hostsim.core.units import shown
from hostsim.kvm.spec import AgeingLock
from hostsim.memory.policies.registry import all_names, policy_names
from hostsim.memory.spec import NO_RECLAIM, PAGE_CLUSTER, ReclaimSpec
from hostsim.memory.swap_sheet import swap_names
from hostsim.scenario.problems import wanted_name
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Duration, DurationOrOff, Flag, PageBytes, refused

NO_SWAP = "none"
PAGE_CLUSTER_MAX = 8
"""2^8 pages are a MiB: more is no read-ahead."""
MIB = 1 << 20


def _one_of(
    names: tuple[str, ...], others: Callable[[], Iterable[str]] = tuple
) -> tuple[BeforeValidator, WithJsonSchema]:  # fmt: skip
    """A text that is one of ``names``, or of ``others``, which are asked for where it is none; the error lists them."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in names:
            return value
        every = dict.fromkeys([*names, *others()])
        if not isinstance(value, str) or value not in every:
            raise refused(shown(value), wanted_name(str(value), every), f'"{names[0]}"')
        return value

    told = f"one of {', '.join(names)}"
    return BeforeValidator(read), WithJsonSchema({"type": "string", "description": told, "enum": list(names)})


SWAPS = (NO_SWAP, *swap_names())
SwapName = Annotated[str, *_one_of(SWAPS)]
PolicyName = Annotated[str, *_one_of(policy_names("memory"))]
ReclaimName = Annotated[str, *_one_of((*policy_names("reclaim"), NO_RECLAIM))]
AgeingName = Annotated[str, *_one_of(policy_names("ageing"), partial(all_names, "ageing"))]


class Reclaim(Section):
    """[host.memory.reclaim]: a thread of the host that scans [vm] by the clock and pages out what is idle."""

    policy: ReclaimName = Field(
        default="idle",
        description="policy that finds idle pages: see [ageing policies](#ageing-policies); none: all pages stay",
    )
    age: Duration = Field(default=10_000_000_000, gt=0, description="pages that have been idle for this time are paged out")
    scan: Duration | None = Field(
        default=None,
        gt=0,
        description="time from one scan to the next; `age` is a multiple of it; default: `age`",
        examples=["1s"],
    )
    warm_up: Duration = Field(
        default=0, description="time at which `hostsim reclaim` begins to measure; does not change the run"
    )

    @property
    def scan_ns(self) -> int:
        """Time from the begin of a scan to that of the next."""
        return self.scan or self.age

    @property
    def pages_out(self) -> bool:
        """Whether any page is taken."""
        return self.policy != NO_RECLAIM

    def spec(self) -> ReclaimSpec:
        """The table as the machine takes it: ages in scans, times in ns."""
        return ReclaimSpec(self.policy, self.age // self.scan_ns, self.scan_ns, self.warm_up)


class Frames(Section):
    """Keys of the memory of a host that runs guests: frames and swap."""

    size: PageBytes = Field(gt=0, description="frames for guests, at least 1 MiB", examples=["8GiB"])
    swap: SwapName = Field(default="nvme", description="the swap device; none: pages without a frame have no place")
    swap_size: PageBytes = Field(default=16 << 30, gt=0, description="room on the swap device")
    policy: PolicyName = Field(default="two-list", description="policy that selects the pages to evict")
    page_cluster: Count = Field(
        default=PAGE_CLUSTER, ge=0, le=PAGE_CLUSTER_MAX, description="vm.page-cluster: 2^n pages are read at a time"
    )
    proactive: DurationOrOff = Field(default=0, description="period at which memory is also aged; off: only under pressure")
    async_page_faults: Flag = Field(
        default=False,
        description="asynchronous page faults: a task that waits for swap sleeps, and its vCPU runs other tasks",
    )


class HostMemory(Frames):
    """[host.memory]: frames and swap under all VMs; without the table all of their memory is there. Needs KVM."""

    reclaim: Reclaim | None = Field(
        default=None, description="proactive reclaim: idle pages are swapped out before memory runs short"
    )

    @property
    def pages_out(self) -> bool:
        """Whether pages of [vm] are taken by the clock: its lists are those of [host.memory.reclaim] then."""
        return self.reclaim is not None and self.reclaim.pages_out


class DestinationMemory(Frames):
    """[destination.memory]: frames and swap of the destination, under the guest that post-copy has moved there."""


class Destination(Section):
    """[destination]: the host to which post-copy moves [vm]; without the table all memory of [vm] is there. Needs KVM."""

    memory: DestinationMemory = Field(description="frames and swap")


class Ageing(Section):
    """[ageing]: a thread of the host for each VM that asks, period after period, which pages were accessed. Needs KVM."""

    policy: AgeingName = Field(
        default="scan", description="pages whose accessed bits a pass reads: see [ageing policies](#ageing-policies)"
    )
    period: Duration = Field(
        default=1_000_000_000, gt=0, description="time from the start of a pass to the start of the next"
    )
    call_pages: Count = Field(default=1, ge=1, le=1 << 20, description="scan: pages in one call of the mmu notifier")
    flush: Flag = Field(
        default=False, description="true: clear_flush_young, as in reclaim; false: clear_young, which flushes no TLB"
    )
    passes: Count | None = Field(
        default=None,
        ge=1,
        description="number of passes over [vm] for which the run waits, and for the start of the next; default: none",
    )
    mmu_lock: AgeingLock = Field(
        default="era", description="how ageing takes mmu_lock: as kernels of the era do, locked (exclusively), or lockless"
    )
