"""The pace of a core: how long a loop of plain instructions takes beside each timing.

Virtual machines of a host often share a core, a thread each, and neither sees the other: no clock of theirs stands still,
steal time stays 0. But the loop (guest.asm::pace) begins as many instructions a cycle as a core can. It takes longer as soon
as the other thread begins some, and when the clock of the core falls. Its least time is sharp and comes back in every run:
repetitions beside which it took no longer are those in which the core was ours alone.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import time
from collections.abc import Callable

import numpy as np

from hostsim.core.constants import NS_PER_MS
from hostsim.measure.kvm.guest import PACE_AT, PROGRAM
from hostsim.measure.kvm.region import Region

PACE_INSTRUCTIONS = 160_000
"""Of the loop: 20000 turns of eight."""
CALM = 1.03
"""Times the least time of the loop: up to here the core was ours alone. An own core differs by 0.5 %, a shared one begins at
1.15 (Zen 4).
"""
PATIENCE_NS = 150 * NS_PER_MS
"""A single wait for an own core takes no longer: most spells of another guest end within 5 ms, nine in ten within this."""
PREEMPTED = 1 << 62
"""Stands for the ticks of the loop beside a timing during which this thread was preempted."""
WAITING_SHARE = 0.4
"""Of a measurement's time, may be waited in all."""


class Pace:
    """The loop as a function of the host, and the waits for a core of one's own.

    least_ticks: fewest ticks of the time stamp counter that the loop has taken, in the host or in a guest.
    """

    def __init__(self, *, waits: bool = True) -> None:
        """waits: ``wait`` waits for an own core; else it looks once."""
        self._code = _executable(PROGRAM)
        self._loop: Callable[[], int] = ctypes.CFUNCTYPE(ctypes.c_int64)(self._code.address + PACE_AT)
        self.least_ticks = self._loop()
        self._waits, self._waited_ns, self._began_ns = waits, 0, time.monotonic_ns()

    def look(self) -> int:
        """Ticks of the loop now."""
        return self.see(self._loop())

    def see(self, ticks: int) -> int:
        """Take note of ``ticks`` that the loop took in a guest; returns them."""
        self.least_ticks = min(self.least_ticks, ticks)
        return ticks

    def wait(self) -> int:
        """Wait until this thread's core is its own, or patience ends; returns the last ticks of the loop."""
        now_ns = begin_ns = time.monotonic_ns()
        until_ns = begin_ns + self._patience_ns(begin_ns)
        while not is_calm(ticks := self.look(), self.least_ticks) and now_ns < until_ns:
            now_ns = time.monotonic_ns()
        self._waited_ns += now_ns - begin_ns
        return ticks

    def _patience_ns(self, now_ns: int) -> int:
        left_ns = int(WAITING_SHARE * (now_ns - self._began_ns)) - self._waited_ns
        return max(0, min(PATIENCE_NS, left_ns)) if self._waits else 0

    def close(self) -> None:
        """Give the function's memory back."""
        self._code.close()


def preemptions() -> int:
    """Times that another thread of this kernel took the processor from this one."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def waits() -> int:
    """Times that this thread gave the processor up by itself, to wait for something."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def is_calm(ticks: int, least_ticks: int) -> bool:
    """Whether a loop that took ``ticks`` had the core to itself; least_ticks: of such a loop."""
    return ticks <= CALM * least_ticks


def _executable(code: bytes) -> Region:
    region = Region.anonymous(len(code))
    region.array(np.uint8, 0, len(code))[:] = np.frombuffer(code, np.uint8)
    region.protect(mmap.PROT_READ | mmap.PROT_EXEC)
    return region
