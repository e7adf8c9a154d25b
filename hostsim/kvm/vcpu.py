"""The thread of a vCPU under KVM: the loop around the KVM_RUN ioctl, seen from user space.

The engine makes the exits that KVM handles in the kernel. This file handles the exits that reach user space: a kick and a
full dirty ring. accel/kvm/kvm-all.c::kvm_cpu_exec.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

import simpy

from hostsim.core.clock import Clock
from hostsim.core.timeline import Track

Step = Generator[simpy.Event, Any, None]


class VcpuExits(Protocol):
    """The part of the engine that enters and exits the guest."""

    def kick(self, vcpu: int, now_ns: int) -> None:
        """Kick ``vcpu`` out of the guest; no effect on a vCPU that is out or on its way out."""
        ...

    def enter(self, vcpu: int, now_ns: int) -> None:
        """Enter the guest on ``vcpu``, which is out."""
        ...

    def ring_full(self, vcpu: int) -> bool:
        """Whether ``vcpu`` left the guest because its dirty ring is full."""
        ...

    def stop_at(self, vcpu: int, work_ns: int, now_ns: int) -> None:
        """Let ``vcpu`` exit when its first work clock reaches ``work_ns``."""
        ...

    def has_stopped(self, vcpu: int) -> bool:
        """Whether ``vcpu`` has done the work at which ``stop_at`` lets it exit."""
        ...


class Stopwatch:
    """Adds up spans of time, the one under way included."""

    def __init__(self, env: Clock) -> None:
        self._env, self._over_ns, self._since_ns = env, 0, -1

    @property
    def ns(self) -> int:
        """Sum of the spans so far [ns]."""
        return self._over_ns + (self._env.now_ns - self._since_ns if self._since_ns >= 0 else 0)

    def start(self) -> None:
        """Begin a span."""
        assert self._since_ns < 0, "it runs"
        self._since_ns = self._env.now_ns

    def stop(self) -> None:
        """End the span."""
        self._over_ns, self._since_ns = self.ns, -1


class KvmVcpu:
    """One vCPU thread. Leaving the guest takes time: throttle and pause begin when the vCPU is out.

    ring_full_exits: exits for a full dirty ring.
    track: its row of a timeline.
    """

    def __init__(
        self, env: Clock, exits: VcpuExits, index: int, on_ring_full: Callable[[int], Step],
        must_reap: Callable[[int], bool], ring_sleep_ns: Callable[[int], int], *, running: bool = True,
    ) -> None:  # fmt: skip
        """Start the thread.

        on_ring_full: reaps the rings, or that of the vCPU alone.
        must_reap: returns whether KVM_RUN would exit at once for a full ring. A vCPU that was kicked out may have a full
        ring, too, and then KVM does not enter the guest (kvm_dirty_ring_check_request).
        ring_sleep_ns: returns the time that the thread sleeps after that.
        running: the vCPU starts in the guest, else out and held.
        """
        self.track = Track("vm", f"vCPU {index}")
        self._must_reap, self._ring_sleep_ns = must_reap, ring_sleep_ns
        self._held_back, self._nap = Stopwatch(env), env.event().succeed()
        self.kick_ends_nap = False
        """Whether the signal of a kick ends the sleep at a full ring: usleep returns then, g_usleep goes on."""
        self._work_items: list[simpy.Event] = []
        self._waits = not running
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
        """Whether the vCPU will leave the guest: it was kicked and is not out yet, or it stops at an amount of work."""
        return self._kicked or self._done is not None

    @property
    def user_space_ns(self) -> int:
        """Time in user space, for any reason [ns]."""
        return self._in_user_space.ns

    @property
    def stalled_ns(self) -> int:
        """Part of ``user_space_ns`` in which the vCPU was neither throttled nor paused [ns]."""
        return self._stalled_there.ns

    @property
    def held_back_ns(self) -> int:
        """Part of ``user_space_ns`` in which dirty-limit let the thread sleep [ns]."""
        return self._held_back.ns

    def left(self) -> None:
        """Note that the vCPU has left the guest."""
        self._kicked = False
        self._in_user_space.start()
        self._out.succeed()
        if self._done is not None and self._exits.has_stopped(self._index):
            self._holds += 1
            self._done.succeed()
            self._done = None

    def throttle(self, sleep_ns: int) -> None:
        """Kick the vCPU out to sleep, unless it sleeps already (softmmu/cpu-throttle.c::cpu_throttle_timer_tick)."""
        if self._sleep_ns == 0 and not self._paused:
            self._sleep_ns, self._awake = sleep_ns, self._env.event()
            self._kick()

    def pause(self) -> simpy.Event:
        """Stop the vCPU; the returned event fires when it is out of the guest. Ends a throttled sleep early."""
        self._paused, self._stopped = True, self._env.event()
        self._kick()
        return self._stopped

    def resume(self) -> None:
        """Let a paused vCPU run again."""
        self._paused = False
        self._notify()

    def hold(self) -> simpy.Event:
        """Keep the vCPU out until ``release``; the returned event fires when it is out. A throttled sleep continues."""
        self._holds += 1
        self._kick()
        return self._out

    def release(self) -> None:
        """Undo one ``hold``."""
        self._holds -= 1
        self._notify()

    def run_work_item(self) -> simpy.Event:
        """Kick the vCPU; the returned event fires when its thread has run a work item, then the vCPU may enter again.

        cpus-common.c::do_run_on_cpu. A thread that dirty-limit lets sleep runs the item after the sleep.
        """
        item = self._env.event()
        if self._waits:
            item.succeed()
            return item
        self._work_items.append(item)
        self._kick()
        return item

    def run_to(self, work_ns: int) -> simpy.Event:
        """Release a held vCPU until it has done ``work_ns``; then it exits, is held, and the returned event fires."""
        done = self.leave_at(work_ns)
        self.release()
        return done

    def leave_at(self, work_ns: int) -> simpy.Event:
        """Let the vCPU exit when it has done ``work_ns``; then it is held, and the returned event fires."""
        self._exits.stop_at(self._index, work_ns, self._env.now_ns)
        self._done = self._env.event()
        return self._done

    def run_on_cpu(self) -> simpy.Event:
        """An event that fires when the thread has run a work item queued now: at once, or after its throttled sleep."""
        return self._awake

    def _kick(self) -> None:
        if not self._out.triggered:
            self._kicked = True
            self._exits.kick(self._index, self._env.now_ns)
        if self.kick_ends_nap and not self._nap.triggered:
            self._nap.succeed()
        self._notify()

    def _notify(self) -> None:
        if not self._changed.triggered:
            self._changed.succeed()

    def _change(self) -> simpy.Event:
        """An event that fires when a throttle, a pause or a hold begins or ends."""
        self._changed = self._env.event()
        return self._changed

    def _loop(self) -> Step:
        while True:
            yield from self._env.traced(self.track, "KVM_RUN", _wait(self._out))
            if self._exits.ring_full(self._index):
                yield from self._env.traced(self.track, "kvm_dirty_ring_exit", self._ring_full())
            yield from self._env.traced(self.track, "qemu_wait_io_event", self._wait_io_event())
            while self._must_reap(self._index):
                yield from self._env.traced(self.track, "kvm_dirty_ring_exit", self._ring_full())
                yield from self._env.traced(self.track, "qemu_wait_io_event", self._wait_io_event())
            self._out, self._waits = self._env.event(), False
            self._in_user_space.stop()
            self._exits.enter(self._index, self._env.now_ns)

    def _ring_full(self) -> Step:
        self.ring_full_exits += 1
        self._waits = False
        yield from self._stalled(self._on_ring_full(self._index))
        sleep_ns = self._ring_sleep_ns(self._index)
        if sleep_ns:
            # The thread sleeps where it handles the exit: a pause or a work item waits for the end of the sleep.
            yield from self._env.traced(self.track, "dirtylimit_vcpu_execute", self._nap_for(sleep_ns))

    def _nap_for(self, sleep_ns: int) -> Step:
        self._held_back.start()
        self._nap = self._env.event()
        yield self._env.any_of([self._env.timeout(sleep_ns), self._nap])
        self._held_back.stop()

    def _wait_io_event(self) -> Step:
        """Return when no throttle, pause or hold keeps the vCPU out (softmmu/cpus.c::qemu_wait_io_event)."""
        self._waits = True
        for item in self._work_items:
            item.succeed()
        self._work_items = []
        while self._sleep_ns or self._paused or self._holds:
            if self._sleep_ns:
                yield from self._env.traced(self.track, "cpu_throttle_thread", self._sleep())
            elif self._paused and not self._stopped.triggered:
                self._stopped.succeed()
            elif self._paused:
                yield self._change()
            else:
                yield from self._stalled(_wait(self._change()))

    def _stalled(self, work: Step) -> Step:
        """Do ``work``, and count its time as stalled."""
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
