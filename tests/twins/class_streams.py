"""The touches of a guest by touch class, in the order of their work, for post-copy written out."""

from __future__ import annotations

from collections import deque
from typing import Any

from hostsim.machine.spec import MachineSpec


class ClassStream:
    """The touches of one workload on one vCPU, of one kind."""

    def __init__(self, work: Any, is_write: bool, shared: dict[bool, deque[Any]], order: tuple[int, ...]) -> None:
        self.work, self.is_write, self.shared, self.order = work, is_write, shared, order

    def peek(self) -> Any:
        mine = self.shared[self.is_write]
        while not mine and self.work.touch is not None:
            touch, self.work.touch = self.work.touch, next(self.work.stream, None)
            self.shared[touch[2]].append(touch)
        return mine[0] if mine else None

    def pop(self) -> Any:
        self.peek()
        return self.shared[self.is_write].popleft()

    def due(self, now_ns: int) -> int | None:
        touch, clock = self.peek(), self.work.clock
        if touch is None:
            return None
        return max(clock.when(touch[0]), now_ns)


def class_streams(spec: MachineSpec, works: list[Any]) -> list[ClassStream]:
    """In the order of hostsim's touch classes: of a workload writes of all vCPUs, then reads; of a trace vCPU by vCPU."""
    found = []
    for work in works:
        w, vcpu = work.who
        load = spec.workloads[w]
        if load.pattern == "idle":
            continue
        shared: dict[bool, deque[Any]] = {True: deque(), False: deque()}
        i = load.vcpus.index(vcpu)
        rates = {True: load.write_rate_per_s, False: load.read_rate_per_s}
        for is_write in (True, False):
            order = (w, i, not is_write) if load.pattern == "trace" else (w, int(not is_write), i)
            if load.pattern == "trace" or rates[is_write] > 0:
                found.append(ClassStream(work, is_write, shared, order))
    return found
