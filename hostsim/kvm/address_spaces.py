"""Guests that write their page tables under shadow paging: when their vCPUs exit for it.

KVM write-protects the guest's page tables. The first write to a table of the lowest level is a fault, after which the table
is writable and its shadow page ``unsync``; further writes to it are no exits. A CR3 load is an exit. KVM then protects the
unsync tables of the address space again, compares each spte with the guest's entry, and drops the sptes of changed entries.
INVLPG is an exit that compares one spte. A write to a directory, a table above the lowest level, is a fault that KVM
emulates; at the third one KVM zaps the shadow page of the directory. hostsim.kvm.table_work does this work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

import numpy as np

from hostsim.core.constants import NS_PER_S
from hostsim.guest.workload import Workload
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.page_tables import Space, VcpuSpaces, spaces_of
from hostsim.kvm.table_work import Step, TableCosts, TableWork

FORK, INVLPG, CR3_LOAD = range(3)
"""Kinds of exits, in the order in which a vCPU does those that are due at the same work."""


class Schedule:
    """The exits of a vCPU, each kind at even distances of the work of its first clock."""

    def __init__(self, gaps_ns: Mapping[int, Fraction]) -> None:
        """gaps_ns: work from one exit of a kind to the next [ns], by kind."""
        self._gaps_ns = gaps_ns
        self._taken = dict.fromkeys(gaps_ns, 0)

    def take(self) -> tuple[int, list[int]]:
        """(work [ns], kinds) of the exits that come next."""
        due_ns = {kind: -int(-(self._taken[kind] + 1) * gap_ns // 1) for kind, gap_ns in self._gaps_ns.items()}
        work_ns = min(due_ns.values())
        kinds = sorted(kind for kind, ns in due_ns.items() if ns == work_ns)
        for kind in kinds:
            self._taken[kind] += 1
        return work_ns, kinds


def schedule_of(load: Workload) -> Schedule:
    """The exits of each vCPU of ``load``, which loads CR3."""
    rates = {FORK: load.fork_rate_per_s, INVLPG: load.invlpg_rate_per_s, CR3_LOAD: load.cr3_load_rate_per_s}
    return Schedule({kind: Fraction(NS_PER_S * len(load.vcpus)) / rate for kind, rate in rates.items() if rate})


class AddressSpaces:
    """The address spaces of a VM, and a process a vCPU that exits for them.

    work: of KVM; it counts.
    """

    def __init__(self, vm: LiveVm, costs: TableCosts) -> None:
        """Protect all tables, as a guest has them that has loaded CR3 just now, and start the processes."""
        self._vm = vm
        loads = list(self._loads())
        spaces = _distinct(one for _, own, _ in loads for one in own)
        self.work = TableWork(vm, costs, spaces)
        self._acts: Mapping[int, Callable[[int, VcpuSpaces], Step]] = {
            FORK: self.work.fork, INVLPG: self.work.invalidate, CR3_LOAD: self.work.load_cr3,
        }  # fmt: skip
        for vcpu, own, schedule in loads:
            vm.env.process(self._exits(vcpu, VcpuSpaces(own), schedule))
        for space in spaces:
            vm.engine.mmu.write_protect(np.arange(space.first, space.end), vm.env.now_ns)
        vm.engine.mmu.before_protection(self.work.note_unsync)

    def _loads(self) -> Iterator[tuple[int, list[Space], Schedule]]:
        """(vCPU, its address spaces, its exits)."""
        guest = self._vm.guest
        for w, load in enumerate(guest.workloads):
            if load.cr3_load_rate_per_s == 0:
                continue
            first = int(np.flatnonzero(guest.clock_workload == w)[0])
            spaces = spaces_of(load, guest.clocks[first : first + len(load.vcpus)])
            yield from ((vcpu, own, schedule_of(load)) for vcpu, own in zip(load.vcpus, spaces, strict=True))

    def _exits(self, vcpu: int, spaces: VcpuSpaces, schedule: Schedule) -> Step:
        thread, is_out = self._vm.vcpus[vcpu], False
        while True:
            work_ns, kinds = schedule.take()
            done = thread.leave_at(work_ns)
            if is_out:
                thread.release()
            yield done
            is_out = True
            yield from self._exit(vcpu, spaces, kinds[0])
            for kind in kinds[1:]:  # the guest goes on to the next instruction that exits
                yield self._vm.env.timeout(self.work.round_trip_ns)
                yield from self._exit(vcpu, spaces, kind)

    def _exit(self, vcpu: int, spaces: VcpuSpaces, kind: int) -> Step:
        left_ns = self._vm.env.now_ns
        yield from self._acts[kind](vcpu, spaces)
        self.work.counts.spend(kind == CR3_LOAD, self._vm.env.now_ns - left_ns + self.work.round_trip_ns)


def _distinct(spaces: Iterator[Space]) -> list[Space]:
    return list({id(space): space for space in spaces}.values())
