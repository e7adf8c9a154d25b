"""Proactive reclaim: a thread that scans a VM's memory periodically and pages out pages that were idle long enough."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import simpy

from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG
from hostsim.memory.host_memory import HostMemory
from hostsim.memory.pages import VmPages
from hostsim.memory.policies.protocol import ColdPolicy


class ScanDone(NamedTuple):
    """One scan.

    start_ns, took_ns: of the ageing step.
    cold: pages paged out after it.
    resident: frames of the VM after that.
    """

    start_ns: int
    took_ns: int
    cold: int
    resident: int


class ProactiveReclaim:
    """The thread; ``scans`` so far. A scan begins each ``scan_ns``, or at the end of the previous scan if that is later."""

    def __init__(
        self, memory: HostMemory, pages: VmPages, policy: ColdPolicy, scan_ns: int, *, flushes: bool = True
    ) -> None:
        """``policy``: of ``pages``; flushes: the scan clears accessed bits by clear_flush_young, else by clear_young."""
        assert scan_ns >= 1, "a scan takes time"
        assert pages.policy is policy, "pages go by the policy that is scanned"
        self.scans: list[ScanDone] = []
        self._memory, self._pages, self._policy, self._scan_ns = memory, pages, policy, scan_ns
        self._event = CLEAR_FLUSH_YOUNG if flushes else CLEAR_YOUNG
        memory.env.process(self._run())

    def _run(self) -> Generator[simpy.Event, Any, None]:
        env = self._memory.env
        start_ns = env.now_ns + self._scan_ns
        while True:
            yield env.timeout(max(0, start_ns - env.now_ns))
            start_ns = env.now_ns + self._scan_ns
            yield from self._scan()

    def _scan(self) -> Generator[simpy.Event, Any, None]:
        """Age by one step, then page out the cold pages. From era E5 on clear_flush_young does not flush."""
        env, reclaim, pages = self._memory.env, self._memory.reclaim, self._pages
        start_ns = env.now_ns
        yield from reclaim.age(pages, self._event)
        took_ns = env.now_ns - start_ns
        wanted = self._policy.cold_pages()
        taken = (yield from reclaim.shrink(pages, wanted)) if wanted else 0
        self.scans.append(ScanDone(start_ns, took_ns, taken, pages.charged))
