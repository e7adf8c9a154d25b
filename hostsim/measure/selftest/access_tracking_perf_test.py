"""The phases of Linux tools/testing/selftests/kvm/access_tracking_perf_test.c on a simulated VM.

Every vCPU writes its whole region (populate), writes it and reads it again; then all memory is marked idle, or aged by
MGLRU, before it is written and before it is read once more. With ``during_populate`` it is aged while it is populated and
that is all. A phase lasts as long as its slowest vCPU.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from hostsim.core.clock import Clock
from hostsim.core.errors import InvariantError
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.costs import CostSheet, load_costs
from hostsim.costs.exits import NONE
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.mmu_notifier import CLEAR_YOUNG
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tally import Tally
from hostsim.kvm.work_phases import WorkPhases

POPULATE, WRITE, READ, MARK_IDLE, WRITE_IDLE, READ_IDLE, AGEING = (
    "Populating memory", "Writing to populated memory", "Reading from populated memory", "Mark memory idle",
    "Writing to idle memory", "Reading from idle memory", "Ageing",
)  # fmt: skip
ACCESSES = (POPULATE, WRITE, READ, WRITE_IDLE, READ_IDLE)
READS = (READ, READ_IDLE)
SYSCALLS_A_PAGE = 3
UNLOCKED_PAGES = 512
"""Pages of one call where no lock is taken, so that calls could be of any length: a page table of the host."""
Step = Generator[Any, Any, None]


@dataclass(frozen=True)
class AccessPlan:
    """Options of a run. mglru: ageing by page-table walks, not page by page from user space."""

    mmu: MmuSpec
    n_vcpus: int
    vcpu_pages: int
    mglru: bool = False
    during_populate: bool = False
    ages: bool = True

    @property
    def n_pages(self) -> int:
        """Pages of all vCPUs."""
        return self.n_vcpus * self.vcpu_pages


@dataclass(frozen=True)
class AccessPhase:
    """A phase of the selftest.

    pages: accessed or aged; young: aged pages that were young.
    passes: over all memory; tally: growth of the VM's counters.
    """

    name: str
    pages: int
    tally: Tally
    young: int = 0
    passes: int = 0

    @property
    def duration_ns(self) -> int:
        """Duration of the phase."""
        return self.tally.now_ns


@dataclass
class AccessResult:
    """``phases`` in their order; a pass of ageing that goes on when the vCPUs are done is ended first."""

    plan: AccessPlan
    phases: list[AccessPhase] = field(default_factory=list)

    def of(self, name: str) -> list[AccessPhase]:
        """Phases of that name."""
        return [phase for phase in self.phases if phase.name == name]


def run_access_test(plan: AccessPlan) -> AccessResult:
    """Run all phases. Raises InvariantError if memory that was accessed is not young."""
    result = AccessResult(plan)
    test = _Test(plan, result)
    test.vm.env.process(test.benchmark() if plan.during_populate else test.phases())
    test.vm.env.run()
    return result


class _Test:
    def __init__(self, plan: AccessPlan, result: AccessResult) -> None:
        self._plan, self._result, self._costs = plan, result, load_costs(plan.mmu.costs)
        self.vm = _vm(plan, self._costs)
        self._notifier, self._walks = notifier_of(self.vm, plan.mmu), WorkPhases(self.vm)
        self._young = np.zeros(plan.n_pages, np.uint8)
        self._work_ns = 0

    def phases(self) -> Step:
        """The test itself."""
        yield from self._access(POPULATE)
        yield from self._access(WRITE)
        yield from self._access(READ)
        for name in (WRITE_IDLE, READ_IDLE):
            yield from self._mark_idle()
            yield from self._access(name)

    def benchmark(self) -> Step:
        """Ageing while memory is populated."""
        before, populated = self.vm.tally(), self.vm.env.process(self._access(POPULATE))
        passes = 0
        while self._plan.ages and not populated.processed:
            yield from self._age_all()
            passes += 1
        yield populated
        if passes:
            young, pages = self._notifier.young, self._notifier.pages[CLEAR_YOUNG]
            self._result.phases.append(AccessPhase(AGEING, pages, self.vm.tally() - before, young, passes))

    def _access(self, name: str) -> Step:
        before = self.vm.tally()
        self._work_ns += self._plan.vcpu_pages * loop_ns(self._costs, name)
        yield from self._walks.run_to(self._work_ns)
        self._result.phases.append(AccessPhase(name, self._plan.n_pages, self.vm.tally() - before))

    def _mark_idle(self) -> Step:
        """Mark all pages idle, page by page from user space or by a walk of MGLRU; the guest just accessed all of them."""
        before = self.vm.tally()
        if not self._plan.mglru:
            # Model limit: threads that mark pages idle wait for each other all the time, so their work between
            # notifier calls adds up. In the example with which the selftest was submitted, marking takes 8 times as
            # long with 8 vCPUs.
            yield self.vm.env.timeout(round(SYSCALLS_A_PAGE * self._plan.n_pages * self._costs.idle_syscall_ns))
        young = yield from self._notifier.clear_young(0, self._plan.n_pages, self._young)
        if young != self._plan.n_pages:
            raise InvariantError(f"{young} of {self._plan.n_pages} pages are young, all were accessed")
        self._result.phases.append(AccessPhase(MARK_IDLE, self._plan.n_pages, self.vm.tally() - before, young, 1))

    def _age_all(self) -> Step:
        """One pass of MGLRU: each page by a call of its own if that takes mmu_lock."""
        # Model limit: a pass asks for all pages of the slot, mapped or not; MGLRU skips pages that the host has not mapped.
        step = UNLOCKED_PAGES if self._notifier.plan.lock_mode == NONE else 1
        yield from self._notifier.each(CLEAR_YOUNG, np.arange(0, self._plan.n_pages, step), step, self._young)


def loop_ns(costs: CostSheet, name: str) -> int:
    """A vCPU's own work for a page in phase ``name``, by ``costs`` [ns]."""
    return round(costs.read_loop_ns if name in READS else costs.loop_ns)


def _vm(plan: AccessPlan, costs: CostSheet) -> LiveVm:
    """The VM of ``plan``: each phase of accesses is a sweep, active in its part of the vCPUs' work."""
    loads, start_ns = [], 0
    for name in ACCESSES:
        rate = Fraction(plan.n_vcpus * 1_000_000_000, loop_ns(costs, name))
        length_ns = plan.vcpu_pages * loop_ns(costs, name)
        writes, reads = (Fraction(0), rate) if name in READS else (rate, Fraction(0))
        loads.append(
            Workload(
                name, "sequential", tuple(range(plan.n_vcpus)), 0, plan.n_pages, writes, reads, split=True,
                active=Active(start_ns, length_ns),
            )
        )  # fmt: skip
        start_ns += length_ns
    memory = make_memory(lay_out([("pc.ram", plan.n_pages, [])]))
    return live_vm(Clock(), memory, build_guest(loads, 1), plan.n_vcpus, 0, plan.mmu, "get-dirty-log")

