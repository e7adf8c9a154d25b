"""Timed work of guests and of the host, checked by KVM's counters, repetition by repetition."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_MS
from hostsim.measure.calibrate.arena import written
from hostsim.measure.calibrate.machine import read_machine
from hostsim.measure.calibrate.sample import Sample
from hostsim.measure.kvm import abi
from hostsim.measure.kvm.counters import changed
from hostsim.measure.kvm.device import Kvm, ioctl
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.rules import REPETITIONS_MIN, Expected, complaint
from hostsim.measure.kvm.vcpu import Outcome
from hostsim.measure.kvm.vm import Call, Vm, VmSpec

WARMING = 3
CALL_ROWS, CALLS_A_ROW = 4, 100
CACHES_TIMES, CACHES_LEAST_BYTES, CACHES_MOST_BYTES = 6, 16 << 20, 256 << 20
"""Memory that is read to empty caches: so many times the caches that the kernel reports, within these bounds.

Measured on Zen 4 with a last cache of 32 MiB, by loads in 1 MiB that the caches had held (94 ns if all are memory's): after
64 MiB were read they took 34 to 109 ns, after 96 MiB 51 to 118, after 192 MiB 93 to 107.
"""


@dataclass(frozen=True)
class Timing:
    """One repetition.

    wall_ns, cpu_ns: of the slowest vCPU, or of the host's thread.
    counters: of KVM, that moved.
    outcomes: of the vCPUs, () for work of the host.
    """

    wall_ns: float
    cpu_ns: float
    counters: Mapping[str, int]
    outcomes: Sequence[Outcome] = ()

    @property
    def ns(self) -> float:
        """The smaller: a neighbour on the processor lengthens the one, entry and Python the other; neither is shortened."""
        return min(self.wall_ns, self.cpu_ns)


def guest_timing(vm: Vm, works: Sequence[Work]) -> Timing:
    """Let the vCPUs do ``works``: time between two reads of the guest's own clock, and the thread's in KVM_RUN."""
    before = vm.read_counters()
    outcomes = vm.run(works)
    moved = changed(before, vm.read_counters())
    ns_per_tick = NS_PER_MS / vm.tsc_khz
    slowest = max(outcomes, key=lambda one: min(one.ticks * ns_per_tick, one.cpu_ns))
    return Timing(slowest.ticks * ns_per_tick, slowest.cpu_ns, moved, outcomes)


def host_timing(vm: Vm, call: Callable[[], object]) -> Timing:
    """Time a call of the host's thread, on its clock and on the wall's.

    Before it ioctls that do nothing: the first after a while finds neither Python's code nor the kernel's in a cache.
    """
    before = vm.read_counters()
    for _ in range(WARMING):
        _clocked(partial(ioctl, vm.kvm.fd, abi.KVM_CHECK_EXTENSION, abi.KVM_CAP_USER_MEMORY))
    wall_ns, cpu_ns = _clocked(call)
    return Timing(wall_ns, max(1, cpu_ns), changed(before, vm.read_counters()))


def _clocked(call: Callable[[], object]) -> tuple[int, int]:
    """(wall, thread) ns."""
    wall_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
    call()
    cpu_ns, wall_ns = time.thread_time_ns() - cpu_ns, time.perf_counter_ns() - wall_ns
    return wall_ns, cpu_ns


def asking(vm: Vm, calls: Sequence[Call]) -> Timing:
    """Time of the ioctls ``calls`` of ``vm``, as the host sees it."""
    return host_timing(vm, partial(vm.ask, calls))


@dataclass
class Bench:
    """Repetitions by name.

    repetitions: of each measurement, each time that it is made.
    memory_bytes: of a VM, unless a measurement asks for less.
    cpus: processors for vCPUs and the host's thread.
    pml: whether the processor logs writes by itself.
    chain_repetitions: as ``repetitions``, of chains of sptes, which take longest; 0: as many.
    values: ns a unit, a repetition each.
    refused: reasons of repetitions that were not taken.
    absent: reasons of numbers that this host cannot give.
    """

    kvm: Kvm
    repetitions: int
    memory_bytes: int
    cpus: tuple[int, ...]
    pml: bool = False
    chain_repetitions: int = 0
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    absent: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chain_repetitions = self.chain_repetitions or self.repetitions

    @property
    def n_cpus(self) -> int:
        """Processors there are."""
        return len(self.cpus)

    @contextmanager
    def vm(self, **spec: Any) -> Iterator[Vm]:
        """A VM for one measurement; memory_bytes: this bench's unless given."""
        with Vm(self.kvm, VmSpec(**{"memory_bytes": self.memory_bytes, "cpus": self.cpus, **spec})) as vm:
            vm.run([Work(Command.NOTHING)] * len(vm.vcpus))  # the first entry maps the program
            yield vm

    def take(self, name: str, timing: Timing, units: float, *expected: Expected) -> Timing:
        """Keep a repetition of ``name`` if its counters are as expected."""
        self.keep(name, timing.ns / units, complaint(timing.counters, expected))
        return timing

    def keep(self, name: str, ns: float, why_not: str = "") -> None:
        """Keep ``ns``, computed for number ``name``; if ``why_not`` is not "", keep that reason instead."""
        if why_not:
            self.refused[name].append(why_not)
        else:
            self.values[name].append(ns)

    def sample(self, name: str) -> Sample | None:
        """All repetitions of ``name``; None if fewer than REPETITIONS_MIN were taken."""
        found = self.values.get(name, [])
        return Sample(np.array(found)) if len(found) >= REPETITIONS_MIN else None

    def why_not(self, name: str) -> str:
        """Why there is no number ``name``."""
        reasons = self.refused.get(name)
        return self.absent.get(name) or (f"refused: {reasons[-1]}" if reasons else "not reached")

    def empty_caches(self) -> None:
        """Read so much memory that the host's thread finds neither KVM's data nor the kernel's in a cache."""
        self._other_memory.sum()

    @cached_property
    def _other_memory(self) -> NDArray[np.uint64]:
        wanted = CACHES_TIMES * max(read_machine().cache_bytes, default=0)
        return written(min(CACHES_MOST_BYTES, max(CACHES_LEAST_BYTES, wanted)))

    def call_ns(self) -> float:
        """The least ioctl: a system call, and Python around it.

        The shortest of several rows: it is subtracted, so that a disturbed one would make a number too small.
        """
        return min(_row_of_calls(self.kvm.fd) for _ in range(CALL_ROWS)) / CALLS_A_ROW


def _row_of_calls(descriptor: int) -> int:
    """Thread's time [ns] of CALLS_A_ROW ioctls."""
    begin_ns = time.thread_time_ns()
    for _ in range(CALLS_A_ROW):
        ioctl(descriptor, abi.KVM_CHECK_EXTENSION, abi.KVM_CAP_USER_MEMORY)
    return time.thread_time_ns() - begin_ns
