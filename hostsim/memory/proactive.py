"""Proactive reclaim: a thread that scans a VM's memory by the clock and pages out what has been idle long enough."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy

from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG
from hostsim.memory.host_memory import HostMemory
from hostsim.memory.pages import VmPages
from hostsim.memory.policies.generations import MIN_NR_GENS, Generations
from hostsim.memory.policies.idle import IdlePages
from hostsim.memory.policies.protocol import AgeingPolicy, Pages, Scan, Young


class ColdPolicy(AgeingPolicy, Protocol):
    """An ageing policy that can say how many pages are cold."""

    def cold_pages(self) -> int:
        """Pages that evict may give up now."""
        ...


class ColdIdlePages(IdlePages):
    """Idle-page tracking: cold is what was idle for ``cold_scans`` scans."""

    def cold_pages(self) -> int:
        """See ColdPolicy."""
        return int(np.count_nonzero(self.idle_scans() >= self._cold_scans))


class ColdGenerations(Generations):
    """MGLRU: cold are generations but the two youngest; each is looked at again before it goes."""

    def cold_pages(self) -> int:
        """See ColdPolicy."""
        return sum(self.generations()[:-MIN_NR_GENS])

    def wants_ageing(self) -> bool:
        """Scans come by the clock; reclaim asks for none."""
        return False

    def evict(self, young: Young, nr_pages: int) -> Scan:
        """See Generations; asks nobody once nothing is cold."""
        if not self.cold_pages():
            nothing: Pages = np.empty(0, np.int64)
            return Scan(nothing, nothing)
        return super().evict(young, nr_pages)


def cold_policy(name: str, n_pages: int, age_scans: int) -> ColdPolicy:
    """``idle`` counts scans, ``age_scans`` of them; with mglru-walk and mglru-no-walk an age is two generations."""
    if name == "idle":
        return ColdIdlePages(n_pages, age_scans)
    return ColdGenerations(n_pages, walks=name == "mglru-walk")


def scan_period_ns(name: str, age_ns: int, scan_ns: int) -> int:
    """From scan to scan: ``scan_ns``; of MGLRU, whose pages are cold after two generations, half an age."""
    return scan_ns if name == "idle" else max(1, age_ns // MIN_NR_GENS)


class ScanDone(NamedTuple):
    """start_ns, took_ns: of the asking; cold: pages paged out after it; resident: pages of the VM's that were left."""

    start_ns: int
    took_ns: int
    cold: int
    resident: int


class ProactiveReclaim:
    """``scans`` so far. A scan begins each ``scan_ns``, or when the one before is over."""

    def __init__(self, memory: HostMemory, pages: VmPages, policy: ColdPolicy, scan_ns: int) -> None:
        """``policy`` takes the place of that of ``pages``, which has no pages yet."""
        assert scan_ns >= 1, "a scan takes time"
        self.scans: list[ScanDone] = []
        self._memory, self._pages, self._policy, self._scan_ns = memory, pages, policy, scan_ns
        pages.policy = policy
        memory.env.process(self._run())

    def _run(self) -> Generator[simpy.Event, Any, None]:
        env = self._memory.env
        start_ns = env.now_ns + self._scan_ns
        while True:
            yield env.timeout(max(0, start_ns - env.now_ns))
            start_ns = env.now_ns + self._scan_ns
            yield from self._scan()

    def _scan(self) -> Generator[simpy.Event, Any, None]:
        """Young bits are asked for by clear_flush_young, as folio_referenced does; the flush is gone from era E5 on."""
        env, reclaim, pages = self._memory.env, self._memory.reclaim, self._pages
        start_ns = env.now_ns
        yield from reclaim.age(pages, CLEAR_FLUSH_YOUNG)
        took_ns = env.now_ns - start_ns
        wanted = self._policy.cold_pages()
        taken = (yield from reclaim.shrink(pages, wanted)) if wanted else 0
        self.scans.append(ScanDone(start_ns, took_ns, taken, pages.charged))
