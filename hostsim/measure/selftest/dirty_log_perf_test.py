"""The phases of Linux tools/testing/selftests/kvm/dirty_log_perf_test.c on a simulated VM.

Every vCPU writes its whole region (populate); logging is enabled; then in each iteration every vCPU walks its region once,
writing every n-th page and reading the others, and the dirty log is read and cleared; logging is disabled. A phase lasts as
long as its slowest vCPU.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hostsim.core.clock import Clock
from hostsim.core.errors import InvariantError
from hostsim.kvm import dirty_log
from hostsim.kvm.setup import KvmCosts, KvmSetup
from hostsim.kvm.tally import Tally
from hostsim.kvm.vm import KvmVm, Walk
from hostsim.spte_index.spte import PRESENT, REGION_PAGES, TRACKED, WRITABLE

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
        """How long it took."""
        return self.tally.now_ns


@dataclass(frozen=True)
class Plan:
    """What is asked for besides the VM: one page in ``write_every`` is written, the others are read."""

    iterations: int = 2
    write_every: int = 1
    run_while_disabling: bool = False


@dataclass(frozen=True)
class SelftestResult:
    """``phases`` in the order in which they ran."""

    setup: KvmSetup
    plan: Plan
    phases: list[Phase] = field(default_factory=list)

    def of(self, name: str) -> list[Phase]:
        """Phases of that name, one an iteration."""
        return [phase for phase in self.phases if phase.name == name]


def run_selftest(setup: KvmSetup, costs: KvmCosts, plan: Plan) -> SelftestResult:
    """Run all phases. Raises InvariantError if a harvest is not what was written (law 3)."""
    vm = KvmVm(Clock(), setup, costs)
    vm.unmap_all()
    result = SelftestResult(setup, plan)
    vm.env.process(_phases(vm, result))
    vm.env.run()
    return result


def _phases(vm: KvmVm, result: SelftestResult) -> Generator[Any, Any, None]:
    plan, running = result.plan, vm.setup.n_vcpus if result.plan.run_while_disabling else 0
    yield from _phase(vm, result, POPULATE, 0, _walk(vm, Walk(), populate=True))
    yield from _phase(vm, result, ENABLE, 0, dirty_log.enable(vm))
    for iteration in range(1, plan.iterations + 1):
        yield from _iteration(vm, result, iteration)
    yield from _phase(vm, result, DISABLE, 0, dirty_log.disable(vm, running))


def _iteration(vm: KvmVm, result: SelftestResult, iteration: int) -> Generator[Any, Any, None]:
    walk = walk_for(vm, result.plan.write_every)
    all_set = vm.setup.policy.initially_all_set and iteration == 1
    yield from _phase(vm, result, DIRTY_MEMORY, iteration, _walk(vm, walk))
    yield from _phase(vm, result, GET, iteration, dirty_log.get(vm))
    check_harvest(vm, walk, result.phases[-1].pages, vm.setup.n_pages if all_set else None)
    if vm.setup.policy.manual_protect:
        yield from _phase(vm, result, CLEAR, iteration, dirty_log.clear(vm))


def walk_for(vm: KvmVm, write_every: int) -> Walk:
    """The accesses that KVM can see: the writes alone where reads need nothing, else all of them.

    Where the first write splits a large spte, the pages around it are unmapped and dirty as soon as they are read (W on a
    logged slot dirties the page), so reading and writing them is the same.
    """
    if write_every == 1 or _only_writes_fault(vm):
        return Walk(write_every, write_every)
    return Walk(1, write_every)


def _only_writes_fault(vm: KvmVm) -> bool:
    """Whether a read of any page that is walked needs nothing, and no write has to split a large spte."""
    n_pages = vm.setup.walked_pages
    n_regions = -(-n_pages // REGION_PAGES)
    level, large = vm.sptes.level[:n_regions], vm.sptes.large[:n_regions]
    if (large[level != 0] & (PRESENT | WRITABLE | TRACKED) != PRESENT | WRITABLE).any():
        return False
    small = np.repeat(level == 0, REGION_PAGES)[:n_pages]
    return not (small & (vm.sptes.spte[:n_pages] & (PRESENT | TRACKED) != PRESENT)).any()


def check_harvest(vm: KvmVm, walk: Walk, found: int, expected: int | None = None) -> None:
    """Law 3: every page written is in the harvest, and no other unless ``expected`` pages were dirty to begin with.

    Raises InvariantError.
    """
    per_vcpu = walk.accesses(vm.setup.vcpu_pages)
    walkers = 1 if vm.setup.overlap else vm.setup.n_vcpus
    wanted = per_vcpu * walkers if expected is None else expected
    firsts = [vm.setup.first_page(v) for v in range(walkers)]
    lost = sum(int((vm.bitmap[first : first + vm.setup.vcpu_pages : walk.step] == 0).sum()) for first in firsts)
    if lost or found != wanted:
        raise InvariantError(f"dirty log: {found} pages harvested, {wanted} dirtied, {lost} of them lost")


def _walk(vm: KvmVm, walk: Walk, populate: bool = False) -> Generator[Any, Any, int]:
    yield from vm.run(walk, populate)
    return walk.accesses(vm.setup.vcpu_pages) * vm.setup.n_vcpus


def _phase(
    vm: KvmVm, result: SelftestResult, name: str, iteration: int, work: Generator[Any, Any, int]
) -> Generator[Any, Any, None]:
    before = vm.tally()
    pages = yield from work
    result.phases.append(Phase(name, iteration, pages, vm.tally() - before))
