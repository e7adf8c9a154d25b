"""A thread of the host that ages a VM's memory through its mmu notifier, period after period."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.timeline import Track
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import RESIDENT
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, TEST_YOUNG, MmuNotifier
from hostsim.memory.pages import BY_HOST, VmPages
from hostsim.memory.policies.ages import N_SUMS, mark_asked, note_pass
from hostsim.memory.policies.protocol import NO_PAGES, AgeingPolicy, Pages, Scan, check_estimate, held_in_use
from hostsim.memory.policies.registry import policy_of
from hostsim.memory.spec import AgeingSpec

MAP_BINS = 64
"""Most bins of gfns of a map of ages."""


@dataclass(frozen=True)
class AgeingPass:
    """One pass of the daemon over a VM's memory.

    start_ns: start of the pass.
    took_ns: time of its notifier calls, without the waits between samples.
    calls: notifier calls.
    asked: pages whose accessed bit the calls tested, each page once.
    young: young pages among ``asked``, each page once.
    host_read: pages among ``young`` that the migration thread alone has read.
    false_old: expected number of old pages that the guest has accessed since the previous pass, unseen.
    work_ns: time on the guest's work clocks at the start, summed.
    new: pages inserted into the policy as the pass began.
    in_use: pages that the policy takes for used and that the pass did not find young.
    mean_ages: float64[bins of gfns], mean age in passes of the bin's pages that any pass has tested, after this pass; NaN:
    no such page.
    young_shares: float64[bins of gfns], young pages among the bin's pages that this pass tested; NaN: no such page.
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
    in_use: int
    mean_ages: NDArray[np.float64] = field(compare=False)
    young_shares: NDArray[np.float64] = field(compare=False)


Listener = Callable[[AgeingPass, Pages], None]
"""Called after a pass, with int64[k] pages that the policy counts as used and the pass did not find young."""


class AgeingDaemon:
    """A host thread that ages one VM's memory, pass after pass.

    A pass begins each ``period_ns``, or at the end of the previous pass if that is later. With a policy, the pass tests the
    pages that the policy names, page by page, in ``samples`` steps at even distances. Without a policy it tests all memory,
    ``call_pages`` a call.
    passes: the passes so far.
    young_counts: int32[n_pages], passes that found the page young.
    ages: int32[n_pages], passes that have tested the page since it was young; -1: no pass has tested the page.
    young: uint8[n_pages], 1: the last pass found the page young.
    over: an event that fires as the next pass begins after the passes that the run waits for.
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
        new_in_use: bool = False,
    ) -> None:
        """Insert the resident pages into ``policy``, in the order of gfns, and start the thread.

        period_ns, call_pages, samples: see the class.
        policy: gets new resident pages as each pass begins; None: the daemon scans.
        flushes: the daemon calls clear_flush_young, as reclaim does, else clear_young.
        resident_only: the scan leaves out calls about ranges without a resident page.
        pages: the places of the VM's pages; None: the host cannot run short of memory.
        passes: passes until ``over`` fires; 0: ``over`` does not fire.
        new_in_use: the policy counts a new page as used.
        """
        assert period_ns >= 1, "a period takes time"
        assert call_pages >= 1, "a call is about a page at least"
        assert samples >= 1, "a pass is a step at least"
        n_pages = vm.memory.n_pages
        self.passes: list[AgeingPass] = []
        self.young_counts, self.ages = np.zeros(n_pages, np.int32), np.full(n_pages, -1, np.int32)
        self._vm, self._notifier, self._period_ns, self._policy = vm, notifier, period_ns, policy
        self._call_pages, self._flushes, self._host = call_pages, flushes, pages
        self._samples, self._n_passes, self._new_in_use = samples, passes, new_in_use
        self._listeners: list[Listener] = []
        self._held = NO_PAGES
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
        """int64[bins + 1], gfns: bounds of the bins of ``mean_ages`` and ``young_shares``."""
        return self._edges

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` after each pass from now on."""
        self._listeners.append(listener)

    def _run(self) -> Generator[simpy.Event, Any, None]:
        env = self._vm.env
        start_ns = env.now_ns + self._period_ns
        while True:
            yield env.timeout(max(0, start_ns - env.now_ns))
            start_ns = env.now_ns + self._period_ns
            if self._n_passes and len(self.passes) == self._n_passes:
                self.over.succeed()
            yield from env.traced(Track("host", f"ageing daemon of {self._vm.name}"), "ageing pass", self._pass())
            for tell in self._listeners:
                tell(self.passes[-1], self._held)

    def _take_in(self) -> int:
        """Insert newly resident pages into the policy; return their number."""
        if self._policy is None:
            return 0
        backing = self._vm.engine.pages.backing
        is_new = backing == RESIDENT if len(backing) else np.ones(self._vm.memory.n_pages, np.bool_)
        is_new[self._policy.resident_pages()] = False
        new = np.flatnonzero(is_new)
        self._policy.insert(new)
        return len(new)

    def _in_use(self, new: int) -> int:
        """Pages that the policy takes for used and that this pass, now over, did not find young; ``_held``: but new ones."""
        held = NO_PAGES if self._policy is None else held_in_use(self._policy)
        self._held = held[self.young[held] == 0]
        return len(self._held) + (new if self._new_in_use else 0)

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
                work_ns, new, self._in_use(new), _mean(ages, known), _mean(young, asked),
            )
        )  # fmt: skip

    def _step(self) -> Generator[simpy.Event, Any, int]:
        """Make the notifier calls of a step; return their number. A policy that tests gets young pages from its tests."""
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
        """(first gfns of the clearing calls of a step, pages of each call, pages that are tested before them)."""
        if self._policy is not None:
            scan = self._asked(self._policy)
            return scan.asked, 1, scan.tested
        firsts = np.arange(0, self._vm.memory.n_pages, self._call_pages)
        if self._resident_only:
            is_there = self._vm.engine.pages.backing == RESIDENT
            firsts = firsts[np.logical_or.reduceat(is_there, firsts)]
        return firsts, self._call_pages, NO_PAGES

    def _asked(self, policy: AgeingPolicy) -> Scan:
        # Model limit: a policy decides by the pages that were young when its step began. An access between that
        # moment and the page's own call is lost when the call makes the page old.
        self._notifier.look(self._seen)
        return policy.age(self._seen)

    def _share(self, host: VmPages, asked: Pages) -> int:
        """Exchange flags with reclaim: PG_young for pages found young here, PG_idle for pages that reclaim made old.

        mm/page_idle.c: folio_set_young, folio_test_idle. Returns the number of pages that are young because the migration
        thread has read them, and not because the guest has accessed them.
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
    """The daemon of ``spec`` in a kernel of ``era``; seed: of a policy that draws.

    InputError for a policy that does not age.
    """
    found = policy_of(spec.policy, era, "ageing")
    by = None if found.scans else found.passes
    return AgeingDaemon(
        vm, notifier, spec.period_ns, by.make(vm.memory.n_pages, seed) if by else None, spec.call_pages,
        samples=by.samples if by else 1, flushes=spec.flush, resident_only=found.scans == "resident", pages=pages,
        passes=spec.passes, new_in_use=found.new_in_use,
    )  # fmt: skip


def _mean(sums: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[bins]; NaN where nothing is counted."""
    means = np.full(len(sums), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means
