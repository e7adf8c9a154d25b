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
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, TEST_YOUNG, MmuNotifier
from hostsim.kvm.notifier_plan import AgeingLock
from hostsim.memory.pages import BY_HOST, VmPages
from hostsim.memory.policies.ages import N_SUMS, mark_asked, note_pass
from hostsim.memory.policies.protocol import NO_PAGES, AgeingPolicy, Pages, Scan, check_estimate, held_in_use
from hostsim.memory.policies.registry import policy_of

MAP_BINS = 64
"""Most bins of gfns of a map of ages."""


@dataclass(frozen=True)
class AgeingSpec:
    """policy: a name of the registry, for "ageing"; call_pages: of a scan; flush: by clear_flush_young, as reclaim does,
    else by clear_young; passes: a run waits for, 0: for none; mmu_lock: how ageing takes it.
    """

    policy: str = "scan"
    period_ns: int = 1_000_000_000
    call_pages: int = 1
    flush: bool = False
    passes: int = 0
    mmu_lock: AgeingLock = "era"


@dataclass(frozen=True)
class AgeingPass:
    """start_ns; took_ns: of its calls, without the waits between the samples of a policy that has several.

    calls: of the notifier; asked: pages they were about, each once; young: how many of them were young, each once;
    host_read: of the young, how many the migration thread alone has read; false_old: how many of the others are expected to
    have been accessed since the pass before, unseen; new: pages that came under the policy as the pass began.

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
    new: int
    mean_ages: NDArray[np.float64] = field(compare=False)
    young_shares: NDArray[np.float64] = field(compare=False)


Listener = Callable[[AgeingPass, Pages], None]
"""Told of a pass that is over: with int64[k] pages that the policy takes for used and the pass did not find young."""


class AgeingDaemon:
    """``passes`` so far. young_counts: int32[n_pages], how many passes found each page young; ages: int32[n_pages], how many
    of those that asked about it since did not, -1: none has asked.

    A pass begins each ``period_ns``, or when the one before is over if that takes longer. With a policy it asks about the
    pages that the policy names, page by page, in ``samples`` steps at even distances; without one about all memory,
    ``call_pages`` a call. ``flushes``: by clear_flush_young, as reclaim does; else by clear_young.
    young: uint8[n_pages], the pages that the last pass found young. over: comes up as a pass begins when so many as are
    waited for are over.
    """

    def __init__(
        self,
        vm: LiveVm,
        notifier: MmuNotifier,
        period_ns: int,
        policy: AgeingPolicy | None = None,
        call_pages: int = 1,
        *,
        samples: int = 1,
        flushes: bool = False,
        resident_only: bool = False,
        pages: VmPages | None = None,
        passes: int = 0,
    ) -> None:
        """``policy``: gets the pages that the host has, in the order of gfns: here, and new ones when a pass begins.

        resident_only: calls that are about no page which the host has are left out. pages: where the VM's pages are, if its
        host can run short. passes: how many are waited for, 0: none.
        """
        assert period_ns >= 1, "a period takes time"
        assert call_pages >= 1, "a call is about a page at least"
        assert samples >= 1, "a pass is a step at least"
        n_pages = vm.memory.n_pages
        self.passes: list[AgeingPass] = []
        self.young_counts, self.ages = np.zeros(n_pages, np.int32), np.full(n_pages, -1, np.int32)
        self._vm, self._notifier, self._period_ns, self._policy = vm, notifier, period_ns, policy
        self._call_pages, self._flushes, self._host = call_pages, flushes, pages
        self._samples, self._n_passes = samples, passes
        self._listeners: list[Listener] = []
        self.over: simpy.Event = vm.env.event()
        self._resident_only = resident_only or pages is not None
        self.young, self._asked_about, self._seen = (np.zeros(n_pages, np.uint8) for _ in range(3))
        self._sums = np.zeros((N_SUMS, min(MAP_BINS, n_pages)), np.int64)
        self._edges = np.linspace(0, n_pages, min(MAP_BINS, n_pages) + 1).astype(np.int64)
        self._take_in()
        vm.engine.tlb.model(vm.env.now_ns)
        self.process = vm.env.process(self._run())

    @property
    def bin_edges(self) -> NDArray[np.int64]:
        """int64[bins + 1], gfns: where the bins of ``mean_ages`` and ``young_shares`` begin and end."""
        return self._edges

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of each pass from now on."""
        self._listeners.append(listener)

    def _run(self) -> Generator[simpy.Event, Any, None]:
        env = self._vm.env
        start_ns = env.now_ns + self._period_ns
        while True:
            yield env.timeout(max(0, start_ns - env.now_ns))
            start_ns = env.now_ns + self._period_ns
            if self._n_passes and len(self.passes) == self._n_passes:
                self.over.succeed()
            yield from self._pass()
            for tell in self._listeners:
                tell(self.passes[-1], self._held())

    def _take_in(self) -> int:
        """Pages that the host has got come under the policy; returns how many."""
        if self._policy is None:
            return 0
        backing = self._vm.engine.pages.backing
        is_new = backing == RESIDENT if len(backing) else np.ones(self._vm.memory.n_pages, np.bool_)
        is_new[self._policy.resident_pages()] = False
        new = np.flatnonzero(is_new)
        self._policy.insert(new)
        return len(new)

    def _held(self) -> Pages:
        if self._policy is None:
            return NO_PAGES
        return np.setdiff1d(held_in_use(self._policy), np.flatnonzero(self.young))

    def _pass(self) -> Generator[simpy.Event, Any, None]:
        env, start_ns, work_ns = self._vm.env, self._vm.env.now_ns, self._vm.work_ns()
        false_before, new = self._notifier.false_old, self._take_in()
        self.young[:] = 0
        calls = took_ns = 0
        for sample in range(self._samples):
            due_ns = start_ns + sample * self._period_ns // self._samples
            if due_ns > env.now_ns:
                yield env.timeout(due_ns - env.now_ns)
            began_ns = env.now_ns
            calls += yield from self._step()
            took_ns += env.now_ns - began_ns
        host_read = 0 if self._host is None else self._share(self._host, np.flatnonzero(self._asked_about))
        note_pass(self.young, self._asked_about, self.ages, self.young_counts, self._edges, self._sums)
        known, ages, asked, young = self._sums
        check_estimate(int(young.sum()), int(asked.sum()), "pages that a pass asked about")
        check_estimate(int(asked.sum()), self._vm.memory.n_pages, "pages of the guest")
        false_old = self._notifier.false_old - false_before
        self.passes.append(
            AgeingPass(
                start_ns, took_ns, calls, int(asked.sum()), int(young.sum()), host_read, false_old,
                work_ns, new, _mean(ages, known), _mean(young, asked),
            )
        )  # fmt: skip

    def _step(self) -> Generator[simpy.Event, Any, int]:
        """The calls of one step; returns how many. A step that tests pages learns from the tests what was young."""
        firsts, call_pages, tested = self._calls()
        event = CLEAR_FLUSH_YOUNG if self._flushes else CLEAR_YOUNG
        self._vm.engine.tlb.model(self._vm.env.now_ns)
        if len(tested):
            yield from self._notifier.each(TEST_YOUNG, tested, 1, self.young)
            mark_asked(self._asked_about, tested, 1)
        yield from self._notifier.each(event, firsts, call_pages, self._seen if self._samples > 1 else self.young)
        if self._samples == 1:
            mark_asked(self._asked_about, firsts, call_pages)
        return len(tested) + len(firsts)

    def _calls(self) -> tuple[Pages, int, Pages]:
        """(where the clearing calls of a step begin, pages of each, pages that are tested before)."""
        if self._policy is not None:
            scan = self._asked(self._policy)
            return scan.asked, 1, scan.tested
        firsts = np.arange(0, self._vm.memory.n_pages, self._call_pages)
        if self._resident_only:
            is_there = self._vm.engine.pages.backing == RESIDENT
            firsts = firsts[np.logical_or.reduceat(is_there, firsts)]
        return firsts, self._call_pages, NO_PAGES

    def _asked(self, policy: AgeingPolicy) -> Scan:
        # Model limit: a policy decides on what was young when its step began; a page that is accessed between then and its
        # own call is made old unseen.
        self._notifier.look(self._seen)
        return policy.age(self._seen)

    def _share(self, host: VmPages, asked: Pages) -> int:
        """Reclaim is to know what was young, and what reclaim made old meanwhile was (folio_set_young, _test_idle).

        Returns how many pages are young because the migration thread has read them, and the guest has not accessed them.
        """
        there = asked[host.where[asked] == RESIDENT]
        found, users = there[self.young[there] == 1], host.not_idle[there]
        host_read = int(np.count_nonzero((self.young[there] == 0) & (users == BY_HOST)))
        self.young[there] |= (users != 0).astype(np.uint8)
        host.not_idle[there], host.host_young[found] = 0, 1
        return host_read


def daemon_of(
    vm: LiveVm, notifier: MmuNotifier, spec: AgeingSpec, era: str, pages: VmPages | None = None, seed: int = 1
) -> AgeingDaemon:
    """The daemon that ``spec`` asks for, in a kernel of ``era``; seed: of the draws of a policy that draws. InputError."""
    found = policy_of(spec.policy, era, "ageing")
    by = None if found.scans else found.passes
    return AgeingDaemon(
        vm, notifier, spec.period_ns, by.make(vm.memory.n_pages, seed) if by else None, spec.call_pages,
        samples=by.samples if by else 1, flushes=spec.flush, resident_only=found.scans == "resident", pages=pages,
        passes=spec.passes,
    )  # fmt: skip


def _mean(sums: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[bins]; NaN where nothing is counted."""
    means = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means
