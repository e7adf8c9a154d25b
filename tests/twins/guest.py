"""Guest memory and the vCPUs that touch it: one SimPy event a memory access."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import simpy

from hostsim.core.memory import RamBlock
from tests.twins.clock import TwinClock
from tests.twins.instant import at_guest_rank
from tests.twins.streams import Touch


class TwinMemory:
    """Contents as a count of writes a page; the dirty log as a set of pages."""

    def __init__(self, blocks: tuple[RamBlock, ...]) -> None:
        self.blocks = blocks
        self.content = [0] * blocks[-1].end_gfn
        filled = [range(first, first + n) for block in blocks for first, n in block.filled]
        self.filled = {gfn for pages in filled for gfn in pages}
        self.logging = False
        self.dirty: set[int] = set()
        self.first_writes: dict[tuple[int, int, int], int] = {}

    def write(self, gfn: int, workload: int, vcpu: int, work_ns: int) -> None:
        self.content[gfn] += 1
        if self.logging:
            self.dirty.add(gfn)
            self.first_writes.setdefault((workload, vcpu, gfn), work_ns)

    def is_zero(self, gfn: int) -> bool:
        return gfn not in self.filled and self.content[gfn] == 0

    def harvest(self) -> tuple[set[int], list[tuple[int, int, int, int]]]:
        """Dirty pages, and (workload, vCPU, gfn, work time) of first writes; the log is empty then."""
        found = self.dirty, sorted((*who, work_ns) for who, work_ns in self.first_writes.items())
        self.dirty, self.first_writes = set(), {}
        return found


class TwinWork:
    """One workload on one vCPU: its clock, and the touch that comes next."""

    def __init__(
        self, env: simpy.Environment, memory: TwinMemory, who: tuple[int, int], clock: TwinClock, stream: Iterator[Touch]
    ) -> None:
        self.env, self.memory, self.who, self.clock, self.stream = env, memory, who, clock, stream
        self.entries = self.accesses = 0
        self.touch = next(stream, None)

    def enter(self) -> None:
        self.clock.enter(self.env.now)
        self._await_touch()

    def leave(self) -> None:
        self.clock.leave(self.env.now)
        self.entries += 1

    def _await_touch(self) -> None:
        if self.touch is not None:
            entry = self.entries
            due_ns = max(self.clock.when(self.touch[0]), self.env.now)
            at_guest_rank(self.env, self.who[1], due_ns, lambda: self._access(entry))

    def _access(self, entry: int) -> None:
        if entry != self.entries:  # kicked out before it came to that
            return
        work_ns, gfn, is_write = self.touch
        self.accesses += 1
        if is_write:
            self.memory.write(gfn, *self.who, work_ns)
        self.touch = next(self.stream, None)
        self._await_touch()


class TwinVcpu:
    """In the guest, asleep by the throttle, or paused."""

    def __init__(self, env: simpy.Environment, works: list[TwinWork]) -> None:
        self.env, self.works = env, works
        self.sleep_ns = 0
        self.paused = False
        self.in_guest = False
        self.kicked = env.event()
        self.wake = env.event()
        self.awake = env.event().succeed()
        self.out = env.event()
        env.process(self._loop())

    def throttle(self, sleep_ns: int) -> None:
        if self.sleep_ns == 0 and not self.paused:
            self.sleep_ns, self.wake, self.awake = sleep_ns, self.env.event(), self.env.event()
            self._kick()

    def pause(self) -> simpy.Event:
        self.paused = True
        self.out = self.env.event()
        if not self.wake.triggered:
            self.wake.succeed()
        self._kick()
        return self.out

    def _kick(self) -> None:
        if self.in_guest:
            self.in_guest = False
            for work in self.works:
                work.leave()
            self.kicked.succeed()

    def _loop(self) -> Generator[simpy.Event, Any, None]:
        while True:
            self.in_guest, self.kicked = True, self.env.event()
            for work in self.works:
                work.enter()
            yield self.kicked
            if self.sleep_ns:
                if not self.paused:
                    yield self.env.timeout(self.sleep_ns) | self.wake
                self.sleep_ns = 0
                self.awake.succeed()
            if self.paused:
                self.out.succeed()
                return
