"""A VM whose memory is aged, for studies: its daemon, and where things stood as each pass began."""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.workload import build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.mmu_notifier import MmuNotifier
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.work_phases import WorkPhases
from hostsim.memory.ageing_daemon import AgeingDaemon, AgeingPass
from hostsim.memory.policies.protocol import AgeingPolicy, Pages, check_estimate, held_in_use
from hostsim.spte_index.spte import PRESENT
from hostsim.study.ageing.case import AgeCase
from hostsim.study.how_far import AGED_PER_MILLE, HowFar, ignore


class Mark(NamedTuple):
    """Where things stand as a pass begins; work_ns: of a vCPU in the mean."""

    ns: int
    work_ns: float
    faults: int


class AgedVm:
    """A VM, its notifier, and, once it is aged, its daemon."""

    def __init__(self, case: AgeCase, seed: int, how_far: HowFar = ignore) -> None:
        self._how_far, self._seed = how_far, seed
        n_pages, env = case.n_pages, Clock()
        there = [] if case.under == "faulting" else [(0, n_pages)]
        memory = make_memory(lay_out([("pc.ram", n_pages, there)]))
        guest = build_guest([case.workload()], seed)
        self.case, self.marks, self.populated_ns = case, list[Mark](), 0
        self.held: list[NDArray[np.int64]] = []
        self.new_unasked: list[int] = []
        self.vm: LiveVm = live_vm(env, memory, guest, case.n_vcpus, 0, case.mmu, "get-dirty-log")
        self._enough = env.event()

    @cached_property
    def notifier(self) -> MmuNotifier:
        """With mmu_lock as the case has it."""
        return notifier_of(self.vm, self.case.mmu, self.case.notifier)

    def begin(self) -> None:
        """Ageing begins, a period from now."""
        case = self.case
        self._policy: AgeingPolicy = case.passes_by.make(case.n_pages, self._seed)
        self.daemon = AgeingDaemon(
            self.vm, self.notifier, case.period_ns, self._policy, samples=case.passes_by.samples,
            flushes=case.passes_by.flushes, before_pass=self._mark,
        )  # fmt: skip

    def age(self) -> None:
        """Until so many passes were made, or memory is populated and one pass over."""
        self.begin()
        case, env = self.case, self.vm.env
        if case.under == "faulting":
            self._populate()
            while not self.daemon.passes:
                env.run(until=env.now_ns + case.period_ns)
        else:
            env.run(until=self._enough)
        self.end()

    def end(self) -> None:
        """Nothing is aged any more that counts."""
        self.held.append(self._held())

    def _held(self) -> Pages:
        """Pages that the policy takes for used although the pass did not find them young."""
        return np.setdiff1d(held_in_use(self._policy), np.flatnonzero(self.daemon.young))

    @property
    def passes(self) -> list[AgeingPass]:
        """As many as were asked for; under faulting all that are over."""
        done = self.daemon.passes
        return done if self.case.under == "faulting" else done[: self.case.passes]

    def leave_alone(self, until_ns: int) -> None:
        """As long as the other one, with nothing that ages; under faulting as long as it takes to populate memory."""
        self._populate() if self.case.under == "faulting" else self.vm.env.run(until=until_ns)

    def _populate(self) -> None:
        self.vm.env.run(until=self.vm.env.process(self._walk()))
        self.populated_ns = self.vm.env.now_ns

    def _walk(self) -> Generator[Any, Any, None]:
        yield from WorkPhases(self.vm).run_to(self.case.populate_work_ns)

    def _mark(self) -> None:
        """What has been mapped since the last pass comes under the policy."""
        vm = self.vm
        self.held += [self._held()] if self.marks else []
        flags = vm.engine.kvm.sptes.spte[: self.case.n_pages]
        new = np.setdiff1d(np.flatnonzero(flags & PRESENT), self._policy.resident_pages(), assume_unique=True)
        self._policy.insert(new)
        self.new_unasked.append(len(new) if self.case.by.new_in_use else 0)
        self.marks.append(Mark(vm.env.now_ns, vm.work_ns() / self.case.n_vcpus, vm.tally().faults))
        self._how_far(round(AGED_PER_MILLE * self._share()))
        if self.case.under != "faulting" and len(self.marks) == self.case.passes + 1:
            self._enough.succeed()

    def _share(self) -> float:
        """Of the passes, or of the memory that is populated."""
        case = self.case
        if case.under == "faulting":
            return min(1.0, self.marks[-1].work_ns / case.populate_work_ns)
        return len(self.marks) / (case.passes + 2)


def against_the_truth(aged: AgedVm) -> dict[str, float]:
    """Of passes that look back on a whole period: the first finds old what was never made young, or young what is new.

    working_set_pages: the estimate, pages found young and those that the policy holds in use unasked; used_pages: accessed
    in truth; false_old_pages: used, and taken for idle; false_young_pages: not used in the period, and taken for used.
    """
    case = aged.case
    first, starts = int(case.under != "faulting"), [Mark(0, 0.0, 0), *aged.marks]
    young, used, held, missed = [0.0], [0.0], [0.0], [0.0]
    seen = list(zip(aged.passes, aged.held, aged.new_unasked, starts, starts[1:], strict=False))
    for done, held_pages, new, before, begin in seen[first:]:
        work_ns = begin.work_ns - before.work_ns
        young.append(float(done.young))
        held.append(float(len(held_pages) + new))
        check_estimate(young[-1] + held[-1], case.n_pages, "pages of the guest")
        used.append(case.used_pages(work_ns))
        missed.append(used[-1] - young[-1] - new - case.used_among(held_pages, work_ns))
    n = max(1, len(young) - 1)
    estimate, true, false_old = (sum(young) + sum(held)) / n, sum(used) / n, max(0.0, sum(missed) / n)
    return {
        "young_pages": sum(young) / n,
        "working_set_pages": estimate,
        "used_pages": true,
        "false_old_pages": false_old,
        "false_young_pages": max(0.0, estimate - true + false_old),
    }
