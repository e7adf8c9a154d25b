"""The thread of a vCPU under KVM: the loop around the KVM_RUN ioctl, seen from user space.

What KVM handles without leaving the kernel happens in the engine; here is what reaches user space: a kick, and a dirty ring
that is full. accel/kvm/kvm-all.c::kvm_cpu_exec.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

import simpy

from hostsim.core.clock import Clock

Step = Generator[simpy.Event, Any, None]


class VcpuExits(Protocol):
    """The part of the engine that lets vCPUs in and out."""

    def kick(self, vcpu: int, now_ns: int) -> None:
        """Ask ``vcpu`` to come out; nothing if it is out or on its way."""
        ...

    def enter(self, vcpu: int, now_ns: int) -> None:
        """Let ``vcpu``, which is out, run."""
        ...

    def ring_full(self, vcpu: int) -> bool:
        """Whether it came out because its dirty ring is full."""
        ...

    def stop_at(self, vcpu: int, work_ns: int, now_ns: int) -> None:
        """Let ``vcpu`` come out by itself once its first work clock has come to ``work_ns``."""
        ...


class Stopwatch:
    """Adds up spans of time, the one under way included."""

    def __init__(self, env: Clock) -> None:
        self._env, self._over_ns, self._since_ns = env, 0, -1

    @property
    def ns(self) -> int:
        """How long it has run [ns]."""
        return self._over_ns + (self._env.now_ns - self._since_ns if self._since_ns >= 0 else 0)

    def start(self) -> None:
        """A span begins."""
        assert self._since_ns < 0, "it runs"
        self._since_ns = self._env.now_ns

    def stop(self) -> None:
        """It is over."""
        self._over_ns, self._since_ns = self.ns, -1


class KvmVcpu:
    """One vCPU. Leaving the guest takes time: throttle and pause begin when it is out.

    ring_full_exits: for a full dirty ring.
    """

    def __init__(
        self, env: Clock, exits: VcpuExits, index: int, on_ring_full: Callable[[], Step], must_reap: Callable[[int], bool],
        *, running: bool = True,
    ) -> None:  # fmt: skip
        """on_ring_full: reaps the rings; must_reap: whether KVM_RUN would return for a full ring; running: the vCPU is in
        the guest to begin with, else it is out and held.

        A vCPU that was kicked out may have a full ring too: KVM lets it in no more (kvm_dirty_ring_check_request).
        """
        self._must_reap = must_reap
        self.ring_full_exits = 0
        self._in_user_space, self._stalled_there = Stopwatch(env), Stopwatch(env)
        self._env, self._exits, self._index, self._on_ring_full = env, exits, index, on_ring_full
        self._out: simpy.Event = env.event()
        self._kicked = False
        self._sleep_ns = 0
        self._paused = False
        self._holds = 0 if running else 1
        self._done: simpy.Event | None = None
        self._stopped: simpy.Event = env.event()
        self._changed: simpy.Event = env.event()
        self._awake: simpy.Event = env.event().succeed()
        if not running:
            self._in_user_space.start()
            self._out.succeed()
        self.process = env.process(self._loop())

    @property
    def leaving(self) -> bool:
        """Whether it is to come out: it was kicked and is not out yet, or it stops by itself."""
        return self._kicked or self._done is not None

    @property
    def user_space_ns(self) -> int:
        """How long it was in user space, whatever for [ns]."""
        return self._in_user_space.ns

    @property
    def stalled_ns(self) -> int:
        """How long of that it was neither throttled nor paused [ns]."""
        return self._stalled_there.ns

    def left(self) -> None:
        """The engine has it out of the guest."""
        self._kicked = False
        self._in_user_space.start()
        self._out.succeed()
        if self._done is not None and not self._exits.ring_full(self._index):
            self._holds += 1
            self._done.succeed()
            self._done = None

    def throttle(self, sleep_ns: int) -> None:
        """Kick the vCPU out to sleep, unless it sleeps already (softmmu/cpu-throttle.c::cpu_throttle_timer_tick)."""
        if self._sleep_ns == 0 and not self._paused:
            self._sleep_ns, self._awake = sleep_ns, self._env.event()
            self._kick()

    def pause(self) -> simpy.Event:
        """Ask the vCPU to stop; the event comes up when it is out of the guest. A throttled sleep is cut short."""
        self._paused, self._stopped = True, self._env.event()
        self._kick()
        return self._stopped

    def resume(self) -> None:
        """Let a paused vCPU run again."""
        self._paused = False
        self._notify()

    def hold(self) -> simpy.Event:
        """Keep the vCPU out until ``release``; the event comes up, or has, when it is out. A throttled sleep goes on."""
        self._holds += 1
        self._kick()
        return self._out

    def release(self) -> None:
        """Undo one ``hold``."""
        self._holds -= 1
        self._notify()

    def run_to(self, work_ns: int) -> simpy.Event:
        """Let the vCPU in, which is held; it leaves and is held once it has done ``work_ns``: then the event comes up."""
        self._exits.stop_at(self._index, work_ns, self._env.now_ns)
        self._done = self._env.event()
        self.release()
        return self._done

    def run_on_cpu(self) -> simpy.Event:
        """Comes up when the vCPU thread has run a work item queued now: at once, or when its throttled sleep ends."""
        return self._awake

    def _kick(self) -> None:
        if not self._out.triggered:
            self._kicked = True
            self._exits.kick(self._index, self._env.now_ns)
        self._notify()

    def _notify(self) -> None:
        if not self._changed.triggered:
            self._changed.succeed()

    def _change(self) -> simpy.Event:
        """An event that succeeds when a throttle, a pause, a hold or their end changes what the vCPU shall do."""
        self._changed = self._env.event()
        return self._changed

    def _loop(self) -> Step:
        while True:
            yield self._out
            if self._exits.ring_full(self._index):
                yield from self._ring_full()
            yield from self._wait_io_event()
            while self._must_reap(self._index):
                yield from self._ring_full()
                yield from self._wait_io_event()
            self._out = self._env.event()
            self._in_user_space.stop()
            self._exits.enter(self._index, self._env.now_ns)

    def _ring_full(self) -> Step:
        self.ring_full_exits += 1
        yield from self._stalled(self._on_ring_full())

    def _wait_io_event(self) -> Step:
        """Returns when nothing keeps the vCPU out any more (softmmu/cpus.c::qemu_wait_io_event)."""
        while self._sleep_ns or self._paused or self._holds:
            if self._sleep_ns:
                yield from self._sleep()
            elif self._paused and not self._stopped.triggered:
                self._stopped.succeed()
            elif self._paused:
                yield self._change()
            else:
                yield from self._stalled(_wait(self._change()))

    def _stalled(self, work: Step) -> Step:
        """Do ``work`` while the guest could run."""
        self._stalled_there.start()
        yield from work
        self._stalled_there.stop()

    def _sleep(self) -> Step:
        timer = self._env.timeout(self._sleep_ns)
        while not (timer.processed or self._paused):
            yield self._env.any_of([timer, self._change()])
        self._sleep_ns = 0
        self._awake.succeed()


def _wait(event: simpy.Event) -> Step:
    yield event
