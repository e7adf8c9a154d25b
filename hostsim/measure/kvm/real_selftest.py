"""The phases of Linux tools/testing/selftests/kvm/dirty_log_perf_test.c on /dev/kvm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from hostsim.core.units import format_bytes
from hostsim.kvm.interfaces import Interface
from hostsim.measure.kvm import abi
from hostsim.measure.kvm.bench import Timing, asking, guest_timing
from hostsim.measure.kvm.bystanders import Bystanders, check_quiet, look_first
from hostsim.measure.kvm.device import Kvm, KvmError, refusal
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.pace import Pace, is_calm
from hostsim.measure.kvm.page_tables import PAGE_BYTES
from hostsim.measure.kvm.vm import Vm, VmSpec, address_of, pinned, usable_cpus
from hostsim.measure.selftest.dirty_log_perf_test import CLEAR, DIRTY_MEMORY, DISABLE, ENABLE, GET, POPULATE, Plan
from hostsim.measure.selftest.walked_vm import WalkedSpec
from hostsim.scenario.footprint import available_bytes

RUNS = 5
"""All phases, so many times over, each time in a new VM; of each phase the median of those on cores of their own counts."""
VCPUS_MAX = 64
MEMORY_SHARE = 2
"""One part in so many of the free memory may be the guest's."""
MANUAL: dict[Interface, int] = {
    "get-dirty-log": 0,
    "clear-dirty-log": abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
    "initially-all-set": abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | abi.KVM_DIRTY_LOG_INITIALLY_SET,
}
"""Flags of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2."""


@dataclass(frozen=True)
class RealPhase:
    """One phase on /dev/kvm.

    iteration: 0 outside of iterations.
    pages: of all vCPUs or slots, that are written or worked on.
    ns: the median of the runs that had cores of their own, of all if none had.
    counters: of KVM, that moved in the first run.
    least_ns, most_ns: of the runs.
    pace_ticks: of the loop beside it (pace.py).
    """

    name: str
    iteration: int
    pages: int
    ns: float
    counters: Mapping[str, int]
    least_ns: float = 0.0
    most_ns: float = 0.0
    pace_ticks: int = 0

    def __str__(self) -> str:
        """As tables have it."""
        return f"{self.name} {self.iteration}" if self.iteration else self.name

    def count(self, counter: str) -> int:
        """How far ``counter`` moved."""
        return self.counters.get(counter, 0)

    @property
    def pages_a_fault(self) -> float:
        """Pages that one fault maps; 0 where none is mapped."""
        return max(0, self.count("pages_4k")) / max(1, self.count("pf_taken"))


@dataclass(frozen=True)
class RealResult:
    """phases: in their order; foreign_share: of the processors' time, that others took."""

    phases: tuple[RealPhase, ...]
    foreign_share: float


def check_real(spec: WalkedSpec) -> None:
    """KvmError for a VM that this host cannot give."""
    if spec.mmu.page_size == "1GiB":
        raise refusal("-s anonymous_hugetlb_1gb", "no page of 1 GiB is to be had without root", "-s anonymous_hugetlb_2mb")
    if spec.n_vcpus > VCPUS_MAX:
        raise refusal(f"-v {spec.n_vcpus}", f"more vCPUs than {VCPUS_MAX}", f"-v {VCPUS_MAX}")
    if spec.mmu.n_slots > spec.n_pages:
        raise refusal(f"-x {spec.mmu.n_slots}", f"more memslots than pages, {spec.n_pages}", "-x 1")
    free, wanted = available_bytes(), spec.n_pages * PAGE_BYTES
    if free is not None and wanted * MEMORY_SHARE > free:
        got = f"{format_bytes(wanted, 3)} of guest memory, {format_bytes(free, 3)} are free here"
        raise refusal("-b", got, "-b 64M")


def run_real(
    kvm: Kvm, spec: WalkedSpec, plan: Plan, *, busy: bool = False, step: Callable[[str], None] = lambda _about: None
) -> RealResult:
    """Run all phases RUNS times on ``kvm``. KvmError if the machine is busy, KVM fails, or a page is missing in the log.

    spec: the VM. plan: phases and iterations.
    busy: accept a busy machine.
    step: called with a sentence after each run.
    """
    check_real(spec)
    look_first(accept=busy)
    bystanders, cpus = Bystanders(), usable_cpus()
    runs = []
    with pinned(cpus[0]), closing(Pace()) as pace:
        for number in range(1, RUNS + 1):
            with Vm(kvm, vm_spec(spec, cpus), pace) as vm:
                runs.append(_Run(vm, spec, plan).phases())
            step(f"run {number} of {RUNS} on /dev/kvm")
    share = bystanders.share()
    check_quiet(share, accept=busy)
    return RealResult(tuple(_median_of(same, pace.least_ticks) for same in zip(*runs, strict=True)), share)


def vm_spec(spec: WalkedSpec, cpus: tuple[int, ...]) -> VmSpec:
    """The real VM for the options ``spec`` of a selftest, its vCPUs on ``cpus``.

    Huge pages are transparent ones, which need no root.
    """
    huge = spec.mmu.page_size != "4KiB"
    return VmSpec(
        spec.n_pages * PAGE_BYTES, spec.n_vcpus, huge=huge, guest_huge=huge, manual_protect=MANUAL[spec.interface],
        n_slots=spec.mmu.n_slots, cpus=cpus,
    )  # fmt: skip


def _median_of(runs: Sequence[RealPhase], least_ticks: int) -> RealPhase:
    first, ns = runs[0], [run.ns for run in runs]
    calm = [run.ns for run in runs if is_calm(run.pace_ticks, least_ticks)]
    return RealPhase(first.name, first.iteration, first.pages, median(calm or ns), first.counters, min(ns), max(ns))


class _Run:
    def __init__(self, vm: Vm, spec: WalkedSpec, plan: Plan) -> None:
        self._vm, self._spec, self._plan = vm, spec, plan
        self._bitmaps = vm.bitmaps()
        self._found: list[RealPhase] = []

    def phases(self) -> list[RealPhase]:
        spec, vm = self._spec, self._vm
        vm.run([Work(Command.NOTHING)] * spec.n_vcpus)
        self._add(POPULATE, 0, spec.n_vcpus * spec.vcpu_pages, guest_timing(vm, self._works(1)))
        self._add(ENABLE, 0, spec.n_pages, asking(vm, vm.logs(on=True)))
        for iteration in range(1, self._plan.iterations + 1):
            self._iterate(iteration)
        self._add(DISABLE, 0, spec.n_pages, self._disable())
        return self._found

    def _iterate(self, iteration: int) -> None:
        spec, vm, every = self._spec, self._vm, self._plan.write_every
        written = -(-spec.vcpu_pages // every) * (1 if spec.overlap else spec.n_vcpus)
        self._add(DIRTY_MEMORY, iteration, written, guest_timing(vm, self._works(every)))
        self._add(GET, iteration, spec.n_pages, asking(vm, vm.gets(self._bitmaps)))
        self._check(every)
        if spec.interface != "get-dirty-log":
            dirty = dirty_pages(self._bitmaps)
            self._add(CLEAR, iteration, dirty, asking(vm, vm.clears(self._bitmaps)))

    def _works(self, every: int) -> list[Work]:
        spec = self._spec
        command = Command.WRITE if every == 1 else Command.MIXED
        return [Work(command, address_of(spec.first_page(v)), spec.vcpu_pages, every=every) for v in range(spec.n_vcpus)]

    def _disable(self) -> Timing:
        vm, spec = self._vm, self._spec
        if not self._plan.run_while_disabling:
            return asking(vm, vm.logs(on=False))
        for v in range(spec.n_vcpus):
            vm.start(Work(Command.SPIN, address_of(spec.first_page(v)), spec.vcpu_pages), v)
        timing = asking(vm, vm.logs(on=False))
        for v in range(spec.n_vcpus):
            vm.stop(v)
        return timing

    def _check(self, every: int) -> None:
        """Each page that was written is in the log: a host that fails this is no host to measure."""
        spec = self._spec
        flags = [_flags(one)[: end - first] for one, (first, end) in zip(self._bitmaps, self._vm.spec.slots(), strict=True)]
        log = np.concatenate(flags)
        for vcpu in range(spec.n_vcpus):
            first = spec.first_page(vcpu)
            lost = int((log[first : first + spec.vcpu_pages : every] == 0).sum())
            if lost:
                raise KvmError(f"KVM_GET_DIRTY_LOG: {lost} pages that vCPU {vcpu} wrote are not in the log")

    def _add(self, name: str, iteration: int, pages: int, timing: Timing) -> None:
        self._found.append(RealPhase(name, iteration, pages, timing.ns, timing.counters, pace_ticks=timing.pace_ticks))


def _flags(bitmap: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """uint8 a page of the slot, and of the bits behind its end."""
    return np.unpackbits(bitmap.view(np.uint8), bitorder="little")


def dirty_pages(bitmaps: Sequence[NDArray[np.uint64]]) -> int:
    """Pages that are set in the log of all slots."""
    return sum(int(_flags(one).sum()) for one in bitmaps)
