"""Timed work of guests and of the host, checked by KVM's counters, repetition by repetition."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_MS
from hostsim.measure.calibrate.arena import written
from hostsim.measure.calibrate.machine import read_machine
from hostsim.measure.kvm import abi
from hostsim.measure.kvm.counters import changed
from hostsim.measure.kvm.device import Kvm, ioctl
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.pace import PREEMPTED, Pace, preemptions, waits
from hostsim.measure.kvm.repetitions import Counted, Repetitions
from hostsim.measure.kvm.rules import REPETITIONS_MIN, Expected, complaint
from hostsim.measure.kvm.vcpu import Outcome
from hostsim.measure.kvm.vm import Call, Vm, VmSpec

WARMING = 3
PART_PAGES = 512
"""Of a pass, timed together: 1 to 3 ms where each page faults, as short as most spells for which a core is ours alone."""
ASLEEP_NS = 100_000
"""A thread that sleeps longer, each time, was woken late: the worker that ends the grace period waited for a processor. It
sleeps for 8 to 23 us on a machine at rest, for milliseconds beside other processes.
"""
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
    pace_ticks: of the loop right before or after, on any core that worked, whichever took longest; PREEMPTED if another
      process had one of these cores meanwhile.
    slept: the host's thread waited for another one within the call.
    """

    wall_ns: float
    cpu_ns: float
    counters: Mapping[str, int]
    outcomes: Sequence[Outcome] = ()
    pace_ticks: int = 0
    slept: bool = False

    @property
    def ns(self) -> float:
        """The wall's if the thread slept: KVM_SET_USER_MEMORY_REGION waits for a grace period (synchronize_srcu_expedited).

        Else the smaller: a neighbour on the processor, or a hypervisor that takes it, lengthens the one, entry and Python
        the other. The thread's clock loses up to a quarter of a call in which the thread was preempted (PREEMPTED).
        """
        return self.wall_ns if self.slept else min(self.wall_ns, self.cpu_ns)


def guest_timing(vm: Vm, works: Sequence[Work], *, patient: bool = True) -> Timing:
    """Let the vCPUs do ``works``: time between two reads of the guest's own clock, and the thread's in KVM_RUN.

    patient: they begin when each has a core to itself.
    """
    before = vm.read_counters()
    outcomes = vm.run(works, patient=patient)
    moved = changed(before, vm.read_counters())
    ns_per_tick = NS_PER_MS / vm.tsc_khz
    slowest = max(outcomes, key=lambda one: min(one.ticks * ns_per_tick, one.cpu_ns))
    pace_ticks = max(one.pace_ticks for one in outcomes)
    return Timing(slowest.ticks * ns_per_tick, slowest.cpu_ns, moved, outcomes, pace_ticks)


def host_timing(vm: Vm, call: Callable[[], object], *, patient: bool = True) -> Timing:
    """Time a call of the host's thread, on its clock and on the wall's.

    patient: when the thread has its core to itself.
    Before it ioctls that do nothing: the first after a while finds neither Python's code nor the kernel's in a cache.
    """
    before = vm.read_counters()
    pace_ticks = vm.pace.wait() if patient else vm.pace.look()
    for _ in range(WARMING):
        _clocked(partial(ioctl, vm.kvm.fd, abi.KVM_CHECK_EXTENSION, abi.KVM_CAP_USER_MEMORY))
    switches, sleeps = preemptions(), waits()
    wall_ns, cpu_ns = _clocked(call)
    sleeps = waits() - sleeps
    is_late = wall_ns - cpu_ns > ASLEEP_NS * sleeps > 0
    pace_ticks = max(pace_ticks, vm.pace.look(), PREEMPTED * (is_late or preemptions() > switches))
    return Timing(wall_ns, max(1, cpu_ns), changed(before, vm.read_counters()), pace_ticks=pace_ticks, slept=sleeps > 0)


def _clocked(call: Callable[[], object]) -> tuple[int, int]:
    """(wall, thread) ns; the wall's clock is read within, since reading the thread's takes a system call of 0.4 us."""
    cpu_ns, wall_ns = time.thread_time_ns(), time.perf_counter_ns()
    call()
    wall_ns, cpu_ns = time.perf_counter_ns() - wall_ns, time.thread_time_ns() - cpu_ns
    return wall_ns, cpu_ns


def asking(vm: Vm, calls: Sequence[Call], *, patient: bool = True) -> Timing:
    """Time of the ioctls ``calls`` of ``vm``, as ``host_timing`` sees it."""
    return host_timing(vm, partial(vm.ask, calls), patient=patient)


def calmest(timings: Sequence[Timing]) -> Timing:
    """The timing beside which the loop took least."""
    return min(timings, key=lambda one: one.pace_ticks)


@dataclass
class Bench:
    """Repetitions by name.

    repetitions: of each measurement, each time that it is made.
    memory_bytes: of a VM, unless a measurement asks for less.
    cpus: processors for vCPUs and the host's thread.
    pml: whether the processor logs writes by itself.
    passes: as ``repetitions``, of measurements whose passes are timed by part, which gives many; 0: as many.
    pace: of the cores, beside each repetition; None: it is not looked at.
    taken: repetitions by name.
    refused: reasons of repetitions that were not taken.
    absent: reasons of numbers that this host cannot give.
    """

    kvm: Kvm
    repetitions: int
    memory_bytes: int
    cpus: tuple[int, ...]
    pml: bool = False
    passes: int = 0
    pace: Pace | None = None
    taken: dict[str, Repetitions] = field(default_factory=lambda: defaultdict(Repetitions))
    refused: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    absent: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tsc_khz = 0
        self.passes = self.passes or self.repetitions

    @property
    def n_cpus(self) -> int:
        """Processors there are."""
        return len(self.cpus)

    @contextmanager
    def vm(self, **spec: Any) -> Iterator[Vm]:
        """A VM for one measurement; memory_bytes: this bench's unless given."""
        with Vm(self.kvm, VmSpec(**{"memory_bytes": self.memory_bytes, "cpus": self.cpus, **spec}), self.pace) as vm:
            vm.run([Work(Command.NOTHING)] * len(vm.vcpus))  # the first entry maps the program
            self._tsc_khz = vm.tsc_khz
            yield vm

    def take(self, name: str, timing: Timing, units: float, *expected: Expected) -> Timing:
        """Keep a repetition of ``name`` if its counters are as expected."""
        self.keep(name, timing.ns / units, [timing], complaint(timing.counters, expected))
        return timing

    def take_parts(self, name: str, timings: Sequence[Timing], *expected: Expected) -> Sequence[Timing]:
        """As ``take``, each part of a pass by itself."""
        for timing in timings:
            self.take(name, timing, PART_PAGES, *expected)
        return timings

    def keep(self, name: str, ns: float, of: Iterable[Timing], why_not: str = "") -> None:
        """Keep ``ns``, computed for number ``name`` from timings ``of``; with a reason ``why_not`` keep that instead."""
        if why_not:
            self.refused[name].append(why_not)
        else:
            self.taken[name].add(ns, max(one.pace_ticks for one in of))

    def sample(self, name: str) -> Counted | None:
        """The repetitions of ``name`` that count; None if fewer than REPETITIONS_MIN were taken."""
        found = self.taken.get(name, Repetitions())
        return found.counted(self.least_ticks) if len(found.ns) >= REPETITIONS_MIN else None

    @property
    def least_ticks(self) -> int:
        """Of the loop, on a core of one's own."""
        return self.pace.least_ticks if self.pace else 0

    @property
    def pace_ns(self) -> float:
        """Time of the loop on a core of one's own; 0 if no VM has run."""
        return self.least_ticks * NS_PER_MS / self._tsc_khz if self._tsc_khz else 0.0

    @property
    def n_taken(self) -> dict[str, int]:
        """Repetitions by name."""
        return {name: len(found.ns) for name, found in self.taken.items()}

    @property
    def calm_share(self) -> float:
        """Of all repetitions, the part that had cores of their own."""
        return sum(self.n_calm.values()) / max(1, sum(self.n_taken.values()))

    @property
    def n_calm(self) -> dict[str, int]:
        """Repetitions by name that had cores of their own."""
        return {name: found.n_calm(self.least_ticks) for name, found in self.taken.items()}

    def why_not(self, name: str) -> str:
        """Why there is no number ``name``."""
        reasons = self.refused.get(name)
        return self.absent.get(name) or (f"refused: {reasons[-1]}" if reasons else "not reached")

    def wait(self) -> None:
        """Wait until the host's thread has its core to itself, or patience ends."""
        if self.pace:
            self.pace.wait()

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
