"""A thread of the host that ages a VM's memory through its mmu notifier, period after period."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from hostsim.host.kvm.live_vm import LiveVm
from hostsim.host.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, MmuNotifier
from hostsim.mmu.ageing import AgeingPolicy, Pages


@dataclass(frozen=True)
class AgeingPass:
    """start_ns, took_ns; calls: of the notifier; asked: pages they were about; young: how many of those were young;
    false_old: how many of the others are expected to have been accessed since the pass before, unseen.
    """

    start_ns: int
    took_ns: int
    calls: int
    asked: int
    young: int
    false_old: float = 0.0


class AgeingDaemon:
    """``passes`` so far. young_counts: int32[n_pages], how many passes found each page young.

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
        before_pass: Callable[[], None] | None = None,
    ) -> None:
        """All of memory is resident: a ``policy`` gets every page here, in the order of gfns.

        before_pass: called when a pass begins; who gives it gives the policy its pages as well.
        """
        assert period_ns >= 1, "a period takes time"
        assert call_pages >= 1, "a call is about a page at least"
        self.passes: list[AgeingPass] = []
        self.young_counts = np.zeros(vm.memory.n_pages, np.int32)
        self._vm, self._notifier, self._period_ns, self._policy = vm, notifier, period_ns, policy
        self._call_pages, self._flushes, self._before_pass = call_pages, flushes, before_pass
        self._young = np.zeros(vm.memory.n_pages, np.uint8)
        if policy is not None and before_pass is None:
            policy.insert(np.arange(vm.memory.n_pages))
        vm.engine.model_tlb(vm.env.now_ns)
        self.process = vm.env.process(self._run())

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
        env, start_ns = self._vm.env, self._vm.env.now_ns
        firsts, call_pages = self._calls()
        event = CLEAR_FLUSH_YOUNG if self._flushes else CLEAR_YOUNG
        self._vm.engine.model_tlb(start_ns)
        pages_before, false_before = self._notifier.pages[event], self._notifier.false_old
        self._young[:] = 0
        young = yield from self._notifier.each(event, firsts, call_pages, self._young)
        self.young_counts += self._young
        asked, false_old = self._notifier.pages[event] - pages_before, self._notifier.false_old - false_before
        self.passes.append(AgeingPass(start_ns, env.now_ns - start_ns, len(firsts), asked, young, false_old))

    def _calls(self) -> tuple[Pages, int]:
        """(where the calls of a pass begin, pages of each)."""
        if self._policy is None:
            return np.arange(0, self._vm.memory.n_pages, self._call_pages), self._call_pages
        return self._asked(self._policy), 1

    def _asked(self, policy: AgeingPolicy) -> Pages:
        # Model limit: a policy decides on what was young when its step began; a page that is accessed between then and its
        # own call is made old unseen.
        self._notifier.look(self._young)
        return policy.age(self._young).asked
