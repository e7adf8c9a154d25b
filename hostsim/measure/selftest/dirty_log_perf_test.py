"""The phases of Linux tools/testing/selftests/kvm/dirty_log_perf_test.c on a simulated VM.

Every vCPU writes its whole region (populate); logging is enabled; then in each iteration every vCPU walks its region once,
writing every n-th page and reading the others, and the dirty log is read and cleared; logging is disabled. A phase lasts as
long as its slowest vCPU.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from hostsim.kvm.tally import Tally
from hostsim.measure.selftest.walked_vm import Timed, Walk, WalkedSpec, WalkedVm

POPULATE, ENABLE, DIRTY_MEMORY, GET, CLEAR, DISABLE = (
    "populate", "enable logging", "dirty memory", "get dirty log", "clear dirty log", "disable logging",
)  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """One phase: ``iteration`` 0 outside of iterations; pages: written, dirty, cleared, or sptes and regions changed."""

    name: str
    iteration: int
    pages: int
    tally: Tally

    @property
    def duration_ns(self) -> int:
        """Duration of the phase."""
        return self.tally.now_ns


@dataclass(frozen=True)
class Plan:
    """Options of a run besides the VM: one page in ``write_every`` is written, the others are read."""

    iterations: int = 2
    write_every: int = 1
    run_while_disabling: bool = False


@dataclass(frozen=True)
class SelftestResult:
    """``phases`` in the order in which they ran."""

    spec: WalkedSpec
    plan: Plan
    phases: list[Phase] = field(default_factory=list)

    def of(self, name: str) -> list[Phase]:
        """Phases of that name, one an iteration."""
        return [phase for phase in self.phases if phase.name == name]


def run_selftest(spec: WalkedSpec, plan: Plan) -> SelftestResult:
    """Run all phases of ``plan`` on the simulated VM ``spec``.

    InputError for a VM that its era does not offer; InvariantError if a write is lost (law 3).
    """
    vm, result = WalkedVm(spec), SelftestResult(spec, plan)
    vm.env.process(_phases(vm, result))
    vm.env.run()
    return result


def _phases(vm: WalkedVm, result: SelftestResult) -> Generator[Any, Any, None]:
    yield from _phase(vm, result, POPULATE, 0, vm.run(Walk()))
    yield from _phase(vm, result, ENABLE, 0, vm.enable())
    for iteration in range(1, result.plan.iterations + 1):
        yield from _iteration(vm, result, iteration)
    disabling = vm.run_while(vm.disable()) if result.plan.run_while_disabling else vm.disable()
    yield from _phase(vm, result, DISABLE, 0, disabling)


def _iteration(vm: WalkedVm, result: SelftestResult, iteration: int) -> Generator[Any, Any, None]:
    walk = vm.walk_for(result.plan.write_every)
    all_set = vm.vm.plan.all_set and iteration == 1
    yield from _phase(vm, result, DIRTY_MEMORY, iteration, vm.run(walk))
    yield from _phase(vm, result, GET, iteration, vm.get())
    vm.check_harvest(walk, result.phases[-1].pages, vm.spec.n_pages if all_set else None)
    if vm.spec.interface != "get-dirty-log":
        yield from _phase(vm, result, CLEAR, iteration, vm.clear())


def _phase(vm: WalkedVm, result: SelftestResult, name: str, iteration: int, work: Timed) -> Generator[Any, Any, None]:
    before = vm.tally()
    pages = yield from work
    result.phases.append(Phase(name, iteration, pages, vm.tally() - before))
