"""A thread of the host that ages a VM's memory through its mmu notifier, period after period."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import RESIDENT
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, MmuNotifier
from hostsim.memory.ageing_policies import ageing_policy
from hostsim.memory.pages import BY_HOST, VmPages
from hostsim.memory.policies.ages import N_SUMS, mark_asked, note_pass
from hostsim.memory.policies.protocol import AgeingPolicy, Pages, check_estimate

SCANS = ("scan", "idle")
"""With these a daemon asks for all of memory, or for what the host has; no policy decides."""
AGEING = (*SCANS, "two-list", "mglru", "mglru-walk", "mglru-no-walk")
"""What a daemon may age by."""
MAP_BINS = 64
"""Most bins of gfns of a map of ages."""


@dataclass(frozen=True)
class AgeingSpec:
    """policy: one of AGEING; call_pages: of a scan; flush: by clear_flush_young, as reclaim does, else by clear_young."""

    policy: str = "scan"
    period_ns: int = 1_000_000_000
    call_pages: int = 1
    flush: bool = False


@dataclass(frozen=True)
class AgeingPass:
    """start_ns, took_ns; calls: of the notifier; asked: pages they were about, each once; young: how many of them
    were young, each once; host_read: of the young, how many the migration thread alone has read; false_old: how many of the
    others are expected to have been accessed since the pass before, unseen.

    work_ns: what the guest's work clocks had done at the start, summed; mean_ages, young_shares: float64[bins of gfns], of
    the pages of a bin that were ever asked about, after it; NaN where there are none.
    """

    start_ns: int
    took_ns: int
    calls: int
    asked: int
    young: int
    host_read: int
    false_old: float
    work_ns: int
    mean_ages: NDArray[np.float64] = field(compare=False)
    young_shares: NDArray[np.float64] = field(compare=False)


class AgeingDaemon:
    """``passes`` so far. young_counts: int32[n_pages], how many passes found each page young; ages: int32[n_pages], how many
    of those that asked about it since did not, -1: none has asked.

    A pass begins each ``period_ns``, or when the one before is over if that takes longer. With a policy it asks, page by
    page, for those that the policy asks for; without one for all memory, ``call_pages`` a call. ``flushes``: by
    clear_flush_young, as reclaim does; else by clear_young.
    """

    def __init__(
        self,
        vm: LiveVm,
        notifier: MmuNotifier,
        period_ns: int,
        policy: AgeingPolicy | None = None,
        call_pages: int = 1,
        *,
        flushes: bool = False,
        resident_only: bool = False,
        pages: VmPages | None = None,
        before_pass: Callable[[], None] | None = None,
    ) -> None:
        """A ``policy`` gets every page here, in the order of gfns: all of memory is resident. resident_only: calls that are
        about no page which the host has are left out. pages: where the VM's pages are, if its host can run short.
        before_pass: called when a pass begins; who gives it gives the policy its pages as well.
        """
        assert period_ns >= 1, "a period takes time"
        assert call_pages >= 1, "a call is about a page at least"
        n_pages = vm.memory.n_pages
        self.passes: list[AgeingPass] = []
        self.young_counts, self.ages = np.zeros(n_pages, np.int32), np.full(n_pages, -1, np.int32)
        self._vm, self._notifier, self._period_ns, self._policy = vm, notifier, period_ns, policy
        self._call_pages, self._flushes, self._host, self._before_pass = call_pages, flushes, pages, before_pass
        self._resident_only = resident_only or pages is not None
        self._young, self._asked_about = np.zeros(n_pages, np.uint8), np.zeros(n_pages, np.uint8)
        self._sums = np.zeros((N_SUMS, min(MAP_BINS, n_pages)), np.int64)
        self._edges = np.linspace(0, n_pages, min(MAP_BINS, n_pages) + 1).astype(np.int64)
        if policy is not None and before_pass is None:
            policy.insert(np.arange(n_pages))
        vm.engine.tlb.model(vm.env.now_ns)
        self.process = vm.env.process(self._run())

    @property
    def bin_edges(self) -> NDArray[np.int64]:
        """int64[bins + 1], gfns: where the bins of ``mean_ages`` and ``young_shares`` begin and end."""
        return self._edges

    def _run(self) -> Generator[simpy.Event, Any, None]:
        env = self._vm.env
        start_ns = env.now_ns + self._period_ns
        while True:
            yield env.timeout(max(0, start_ns - env.now_ns))
            start_ns = env.now_ns + self._period_ns
            if self._before_pass is not None:
                self._before_pass()
            yield from self._pass()

    def _pass(self) -> Generator[simpy.Event, Any, None]:
        env, start_ns, work_ns = self._vm.env, self._vm.env.now_ns, self._vm.work_ns()
        firsts, call_pages = self._calls()
        event = CLEAR_FLUSH_YOUNG if self._flushes else CLEAR_YOUNG
        self._vm.engine.tlb.model(start_ns)
        false_before = self._notifier.false_old
        self._young[:] = 0
        yield from self._notifier.each(event, firsts, call_pages, self._young)
        mark_asked(self._asked_about, firsts, call_pages)
        host_read = 0 if self._host is None else self._share(self._host, np.flatnonzero(self._asked_about))
        note_pass(self._young, self._asked_about, self.ages, self.young_counts, self._edges, self._sums)
        known, ages, asked, young = self._sums
        check_estimate(int(young.sum()), int(asked.sum()), "pages that a pass asked about")
        check_estimate(int(asked.sum()), self._vm.memory.n_pages, "pages of the guest")
        false_old = self._notifier.false_old - false_before
        self.passes.append(
            AgeingPass(
                start_ns, env.now_ns - start_ns, len(firsts), int(asked.sum()), int(young.sum()), host_read, false_old,
                work_ns, _mean(ages, known), _mean(young, asked),
            )
        )  # fmt: skip

    def _calls(self) -> tuple[Pages, int]:
        """(where the calls of a pass begin, pages of each)."""
        if self._policy is not None:
            return self._asked(self._policy), 1
        firsts = np.arange(0, self._vm.memory.n_pages, self._call_pages)
        if self._resident_only:
            is_there = self._vm.engine.pages.backing == RESIDENT
            firsts = firsts[np.logical_or.reduceat(is_there, firsts)]
        return firsts, self._call_pages

    def _asked(self, policy: AgeingPolicy) -> Pages:
        # Model limit: a policy decides on what was young when its step began; a page that is accessed between then and its
        # own call is made old unseen.
        self._notifier.look(self._young)
        return policy.age(self._young).asked

    def _share(self, host: VmPages, asked: Pages) -> int:
        """Reclaim is to know what was young, and what reclaim made old meanwhile was (folio_set_young, _test_idle).

        Returns how many pages are young because the migration thread has read them, and the guest has not accessed them.
        """
        there = asked[host.where[asked] == RESIDENT]
        found, users = there[self._young[there] == 1], host.not_idle[there]
        host_read = int(np.count_nonzero((self._young[there] == 0) & (users == BY_HOST)))
        self._young[there] |= (users != 0).astype(np.uint8)
        host.not_idle[there], host.host_young[found] = 0, 1
        return host_read


def daemon_of(
    vm: LiveVm, notifier: MmuNotifier, spec: AgeingSpec, era: str, pages: VmPages | None = None
) -> AgeingDaemon:
    """The daemon that ``spec`` asks for, in a kernel of ``era``."""
    policy = None if spec.policy in SCANS else ageing_policy(spec.policy, era, vm.memory.n_pages)
    return AgeingDaemon(
        vm, notifier, spec.period_ns, policy, spec.call_pages, flushes=spec.flush, resident_only=spec.policy == "idle",
        pages=pages,
    )  # fmt: skip


def _mean(sums: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[bins]; NaN where nothing is counted."""
    means = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means
