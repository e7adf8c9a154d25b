"""Host threads of the twin that are not the tracker: vCPU threads, TLB flushes, the order of an instant."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from tests.twins.kvm_lock import Grant, HostLock
from tests.twins.kvm_spaces import TwinSpaces
from tests.twins.kvm_trackers import TwinRings
from tests.twins.kvm_twin import TwinGuest
from tests.twins.kvm_vcpu import OUT, RING_FULL, TwinVcpu

Process = Generator[simpy.Event, Any, Any]


class Instants:
    """Which host threads acted in one instant: where two of them did, their order is not defined.

    A grant of mmu_lock does not count: it follows from the release, and comes after it.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.tied_ns = -1
        self._last: tuple[int, str] = (-1, "")

    def note(self, thread: str) -> None:
        now_ns, before = self.env.now, self._last
        self._last = (now_ns, thread)
        if before[0] == now_ns and before[1] != thread:
            self.tie()

    def tie(self) -> None:
        """The order of this instant is not defined."""
        if self.tied_ns < 0:
            self.tied_ns = self.env.now

    def watch(self, thread: str, process: Process) -> Process:
        """``process``, noted whenever it goes on."""
        value = None
        while True:
            try:
                event = process.send(value)
            except StopIteration as ended:
                return ended.value
            value = yield event
            if not isinstance(event, Grant):
                self.note(thread)


class TwinHost:
    """State that the threads share. ``slots_lock``: one operation on the log at a time."""

    def __init__(self, guest: TwinGuest) -> None:
        self.guest, self.env, self.memory = guest, guest.env, guest.memory
        self.costs = guest.case.host_costs
        self.lock = HostLock(self.env, guest.lock)
        self.instants = Instants(self.env)
        self.flushes = self.flush_ns = 0
        self.slots_lock = simpy.Resource(self.env)
        self.rings = TwinRings(self)
        self.threads = [TwinThread(self, vcpu) for vcpu in guest.vcpus]
        self.spaces = TwinSpaces(self)

    def in_turn(self, work: Process) -> Process:
        """``work`` under slots_lock."""
        with self.slots_lock.request() as mine:
            yield mine
            return (yield from work)

    def interrupt(self) -> int:
        """IPIs to all; how many were in the guest."""
        return sum([vcpu.interrupt() for vcpu in self.guest.vcpus])

    def flush(self) -> Process:
        """Returns when no vCPU has a stale entry, with the number of those that were in the guest."""
        running = self.interrupt()
        self.memory.flush_translations()
        ns = round(self.costs.flush_ns + self._asking_ns() + self._ipis_ns(running))
        self.flushes += 1
        self.flush_ns += ns
        yield self.env.timeout(ns)
        return running

    def idle_flush_ns(self) -> int:
        """One that finds no vCPU in the guest; counted, not waited for."""
        ns = round(self.costs.flush_ns + self._asking_ns())
        self.flushes += 1
        self.flush_ns += ns
        return ns

    def _asking_ns(self) -> float:
        return self.costs.request_ns * (len(self.guest.vcpus) - 1)

    def shootdown(self) -> Process:
        """Of the host's own translations: the vCPUs' stay."""
        yield self.env.timeout(round(self._ipis_ns(self.interrupt())))

    def _ipis_ns(self, running: int) -> float:
        return self.costs.first_ipi_ns + self.costs.more_ipi_ns * (running - 1) if running else 0

    def all_out(self) -> Process:
        """Kick all vCPUs; returns when the last has come out."""
        for thread in self.threads:
            thread.keep_out()
        for thread in self.threads:
            yield from thread.out()

    def let_in(self) -> None:
        for thread in self.threads:
            thread.let_in()

    def pause(self) -> Process:
        for thread in self.threads:
            thread.pause()
        for thread in self.threads:
            yield from thread.stopped()

    def resume(self) -> None:
        for thread in self.threads:
            thread.resume()


class TwinThread:
    """A vCPU thread: it lets its vCPU run unless one of those who keep it out still does.

    A full ring is reaped first of all; a throttled sleep begins, and a stop is over, when that is done.
    """

    def __init__(self, host: TwinHost, vcpu: TwinVcpu) -> None:
        self.host, self.vcpu, self.env = host, vcpu, host.env
        self.sleep_ns = 0
        self.paused = self.kept_out = self.reaping = self.syncs = False
        self.work_done: Callable[[], None] | None = None
        self._out, self._idle = self.env.event(), self.env.event()
        self._sleeps = 0
        vcpu.came_out = self._came_out

    def out(self) -> Process:
        """Returns when the vCPU is out."""
        if self.vcpu.stage != OUT:
            yield self._out

    def stopped(self) -> Process:
        """Returns when the thread has nothing to do."""
        if self.vcpu.stage != OUT or self.reaping:
            yield self._idle

    def _came_out(self) -> None:
        out, self._out = self._out, self.env.event()
        out.succeed()
        if self.work_done is not None and self.vcpu.stop_work_ns is None:
            self.work_done()
        if self.vcpu.why == RING_FULL:
            self._start_reap()
        else:
            self._wait()

    def _start_reap(self) -> None:
        self.reaping = True
        self.env.process(self.host.instants.watch(f"vcpu {self.vcpu.rank}", self._reap()))

    def _reap(self) -> Process:
        yield self.env.timeout(0)
        yield from self.host.rings.reap()
        self.reaping = False
        self._wait()

    def _wait(self) -> None:
        """Out, with nothing more to do: sleep, stay, or enter."""
        idle, self._idle = self._idle, self.env.event()
        idle.succeed()
        if self.sleep_ns and not self._asleep():
            self._sleep()
        self.go_on()

    def go_on(self) -> None:
        """Enter if nothing is in the way; with a ring that is full all the same it would be out again at once."""
        if self.vcpu.stage != OUT or self.sleep_ns or self.paused or self.kept_out or self.reaping or self.syncs:
            return
        if self.host.memory.soft_full(self.vcpu.rank):
            self.vcpu.ring_full += 1
            self._start_reap()
        else:
            self.vcpu.enter()

    # cpu-throttle

    def throttle(self, sleep_ns: int) -> None:
        if self.sleep_ns or self.paused:
            return
        self.sleep_ns = sleep_ns
        if self.vcpu.stage != OUT:
            self.vcpu.kick()
        elif not self.reaping:
            self._sleep()

    def _asleep(self) -> bool:
        return self._sleeps % 2 == 1

    def _sleep(self) -> None:
        self._sleeps += 1
        self.env.process(self.host.instants.watch("sleeper", self._wake(self._sleeps)))

    def _wake(self, sleep: int) -> Process:
        yield self.env.timeout(self.sleep_ns)
        if sleep == self._sleeps:
            self._end_sleep()
            self.go_on()

    def _end_sleep(self) -> None:
        self.sleep_ns = 0
        self._sleeps += self._asleep()

    # vm_stop, and a sync of the rings

    def pause(self) -> None:
        self.paused = True
        self._end_sleep()
        self.vcpu.kick()

    def resume(self) -> None:
        self.paused = False
        self.go_on()

    def keep_out(self) -> None:
        self.kept_out = True
        self.vcpu.kick()

    def let_in(self) -> None:
        self.kept_out = False
        self.go_on()
