"""Proactive reclaim: a thread that scans a VM's memory periodically and pages out pages that were idle long enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any, NamedTuple

import simpy

from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG
from hostsim.memory.host_memory import HostMemory
from hostsim.memory.pages import VmPages
from hostsim.memory.policies.protocol import ColdPolicy
from hostsim.memory.policies.registry import PagingOut, policy_of
from hostsim.memory.spec import NO_RECLAIM, ReclaimSpec


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


class MeasuredWindow:
    """The time after a warm-up: start_ns; work_ns, counts: work and page counts of the VM when the window begins."""

    def __init__(self, pages: VmPages, warm_up_ns: int) -> None:
        """pages: of the VM that is measured, which has not run yet."""
        self.start_ns, self.work_ns, self.counts = warm_up_ns, 0, Counter[str]()
        self._pages = pages
        pages.vm.env.process(self._begin())

    def _begin(self) -> Generator[simpy.Event, Any, None]:
        vm = self._pages.vm
        yield vm.env.timeout(self.start_ns)
        vm.page_waits.count_anew()
        self.work_ns, self.counts = vm.work_ns(), Counter(self._pages.counts)


def cold_policy(spec: ReclaimSpec | None, era: str, n_pages: int, seed: int) -> ColdPolicy | None:
    """The policy that ``spec`` asks for, in a kernel of ``era``; None: no page is taken by the clock. InputError."""
    if spec is None or spec.policy == NO_RECLAIM:
        return None
    made: ColdPolicy = _paging_out(spec, era).make(n_pages, seed, spec.age_scans)
    return made


def reclaim_of(
    memory: HostMemory, pages: VmPages, policy: ColdPolicy | None, spec: ReclaimSpec, era: str
) -> ProactiveReclaim | None:
    """The thread of proactive reclaim; None without a policy.

    memory: of the host.
    pages: of the VM that is scanned.
    policy: made by cold_policy.
    spec: age, scan interval, warm-up [ns].
    era: of the kernel; decides the variant of the policy (mglru).
    """
    if policy is None:
        return None
    by = _paging_out(spec, era)
    return ProactiveReclaim(memory, pages, policy, by.period_ns(spec.age_ns, spec.scan_ns), flushes=by.flushes)


def _paging_out(spec: ReclaimSpec, era: str) -> PagingOut:
    by = policy_of(spec.policy, era, "reclaim").pages_out
    assert by is not None, "policy_of refuses what does not page out"
    return by
