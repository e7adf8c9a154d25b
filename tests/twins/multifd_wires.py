"""multifd over connections with windows, written out: each tick each channel copies the bytes that its buffer takes."""

from __future__ import annotations

from dataclasses import replace

import simpy

from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from tests.twins.guest import TwinMemory
from tests.twins.multifd import Job, TwinMultifd
from tests.twins.tcp import PIECE, PS_PER_S
from tests.twins.tcp_faults import TwinFaultyTcp
from tests.twins.wires import TwinWires

NOT_YET = 1 << 62


def channel(link: LinkSpec, name: str) -> TwinFaultyTcp:
    """A connection of 16 ticks a round trip, none below a microsecond."""
    one = TwinFaultyTcp(replace(link, loss_key=link.loss_key_of(name)))
    shortest = max(PIECE * PS_PER_S // one.rate if one.rate else 0, 10**6)
    one.ticks_a_trip = max(1, min(16, one.rtt // shortest))
    one.tick_length = max(one.rtt // one.ticks_a_trip, shortest)
    one.patience = max(one.patience, one.rtt + 3 * one.tick_length)
    return one


class TwinMultifdWires(TwinMultifd):
    def __init__(self, env: simpy.Environment, memory: TwinMemory, spec: MachineSpec) -> None:
        super().__init__(env, memory, spec)
        names = [f"channel {j}" for j in range(len(self.jobs))]
        self.wires = TwinWires([channel(spec.link, name) for name in [*names, ""]], 0, 0, self._copy)

    def counts(self) -> list[int]:
        """Time-outs, bytes sent again, losses."""
        found = [(one.all_expiries, one.again, one.losses) for one in self.wires.every]
        return [sum(column) for column in zip(*found, strict=True)]

    def _is_busy(self) -> bool:
        return self.wires.is_busy() or any(job.left for job in self.jobs)

    def _pass_to(self, t_ns: int) -> None:
        tick = 1000 * t_ns // self.wires.tick_length
        while self.wires.tick < tick and self._is_busy():
            self.wires.pass_one()
        self.wires.tick = max(self.wires.tick, tick)

    def _tick_ns(self) -> int:
        return -(-self.wires.tick * self.wires.tick_length // 1000)

    def _copy(self, number: int) -> None:
        """Copy into the send buffer until the tick ends, the buffer is full, or all is copied."""
        if number == len(self.jobs) or not self.jobs[number].left:
            return
        job, wire = self.jobs[number], self.wires.every[number]
        start, end = (tick * self.wires.tick_length for tick in (self.wires.tick, self.wires.tick + 1))
        at, room = max(job.at_ps, start), wire.buffer - wire.kept
        if at >= end:
            return
        if room <= 0:
            job.at_ps = end
            return
        n = min(job.left, room)
        if job.copy_ps:
            n = min(n, max(1, (end - at) * job.size // job.copy_ps))
        job.left -= n
        job.at_ps = at + n * job.copy_ps // job.size
        self.wires.put_now(wire, at, n)
        if not job.left:
            job.done_ps = job.at_ps
        elif n == room:
            job.at_ps = max(job.at_ps, end)

    def _begin(self, at: int, job: Job, start_ps: int, n_bytes: int) -> None:
        if job is self.jobs[at] and job.left:
            job.left += n_bytes
            return
        if job is not self.jobs[at]:
            self.finished.append(self.jobs[at])
            self.jobs[at] = job
            job.at_ps = start_ps
        job.left, job.done_ps = n_bytes, NOT_YET
        self._copy(at)

    def _free_ps(self) -> int:
        while super()._free_ps() == NOT_YET:
            self.wires.pass_one()
        return super()._free_ps()

    def _all_done_ns(self) -> int:
        while any(job.done_ps == NOT_YET for job in self.jobs):
            self.wires.pass_one()
        return super()._all_done_ns()

    def _all_read_ns(self) -> int:
        while any(one.kept for one in self.wires.every[:-1]):
            self.wires.pass_one()
        return self._tick_ns()

    def _written(self, after_ps: int, t_ns: int) -> int:
        self._pass_to(t_ns)
        return super()._written(after_ps, t_ns)

    def _through_link(self, n_bytes: int, t_ns: int) -> int:
        self._pass_to(t_ns)
        main = self.wires.every[-1]
        self.wires.put_now(main, max(1000 * t_ns, self.wires.tick * self.wires.tick_length), n_bytes)
        while main.kept > main.buffer:
            self.wires.pass_one()
            t_ns = max(t_ns, self._tick_ns())
        return t_ns

    def drained_ns(self) -> int:
        raise AssertionError("a question of return paths, which are not drawn")
