"""A vCPU thread: the loop around KVM_RUN (accel/kvm/kvm-accel-ops.c::kvm_vcpu_thread_fn; TCG's is alike)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.timeline import Track
from hostsim.guest import pacing

THROTTLE, PAUSE = "throttle", "pause"


class VcpuThread(Protocol):
    """A vCPU thread as cpu-throttle, vm_stop and work items use it."""

    def throttle(self, sleep_ns: int) -> None:
        """Kick the vCPU out of the guest to sleep, unless it sleeps already."""
        ...

    def pause(self) -> simpy.Event:
        """Stop the vCPU; the returned event fires when it is out of the guest."""
        ...

    def resume(self) -> None:
        """Let the vCPU run again."""
        ...

    def run_on_cpu(self) -> simpy.Event:
        """An event that fires when the thread has run a work item queued now."""
        ...


class Vcpu:
    """One vCPU: runs its work clocks until kicked out of the guest, then handles the exit."""

    def __init__(self, env: Clock, clocks: NDArray[np.int64], rows: NDArray[np.int64], index: int = 0) -> None:
        """``rows``: int64[n], indices into ``clocks`` (int64[n_clocks, N_FIELDS]) of this vCPU's work; index: its number."""
        self.track = Track("vm", f"vCPU {index}")
        self._env, self._clocks, self._rows = env, clocks, rows
        self._exit: simpy.Event = env.event()
        self._sleep_ns = 0
        self._paused = False
        self._stopped: simpy.Event = env.event()
        self._resumed: simpy.Event = env.event()
        self._at_once: simpy.Event = env.event().succeed()
        self._awake: simpy.Event | None = None
        """Fires at the end of the sleep under way; made when a thread waits for that: a sleep is an event, no more."""
        self._sleeps = False
        self.process = env.process(self._loop())

    @property
    def in_guest(self) -> bool:
        """Whether the vCPU executes guest code now."""
        return not self._exit.triggered

    def run(self) -> simpy.Event:
        """Enter the guest; the returned event fires with the exit's reason as value."""
        for row in self._rows:
            pacing.resume(self._clocks[row], self._env.now_ns)
        self._exit = self._env.event()
        return self._exit

    def throttle(self, sleep_ns: int) -> None:
        """Kick the vCPU out to sleep, unless it sleeps already (softmmu/cpu-throttle.c::cpu_throttle_timer_tick)."""
        if self._sleep_ns == 0 and not self._paused:
            self._sleep_ns = sleep_ns
            self._kick(THROTTLE)

    def pause(self) -> simpy.Event:
        """Stop the vCPU; the returned event fires when it is out of the guest. Ends a throttled sleep early."""
        self._paused = True
        self._stopped, self._resumed = self._env.event(), self._env.event()
        if self._sleeps:
            self._sleeps = False
            self.process.interrupt()
        self._kick(PAUSE)
        return self._stopped

    def resume(self) -> None:
        """Let a paused vCPU run again."""
        self._paused = False
        self._resumed.succeed()

    def run_on_cpu(self) -> simpy.Event:
        """An event that fires when the thread has run a work item queued now: at once, or after its throttled sleep.

        cpus-common.c::run_on_cpu. The throttle sleeps inside a work item, so a later item runs after the sleep.
        """
        if not self._sleep_ns:
            return self._at_once
        self._awake = self._awake or self._env.event()
        return self._awake

    def _kick(self, reason: str) -> None:
        if not self._exit.triggered:
            self._leave()
            self._exit.succeed(reason)

    def _leave(self) -> None:
        for row in self._rows:
            pacing.stop(self._clocks[row], self._env.now_ns)

    def _loop(self) -> Generator[simpy.Event, Any, None]:
        while True:
            yield from self._env.traced(self.track, "tcg_cpus_exec", self._guest())
            if self._sleep_ns:
                yield from self._env.traced(self.track, "cpu_throttle_thread", self._sleep())
            while self._paused:
                yield from self._env.traced(self.track, "paused", self._pause())

    def _guest(self) -> Generator[simpy.Event, Any, None]:
        yield self.run()

    def _pause(self) -> Generator[simpy.Event, Any, None]:
        self._stopped.succeed()
        yield self._resumed

    def _sleep(self) -> Generator[simpy.Event, Any, None]:
        if not self._paused:
            yield from self._timeout()
        self._sleep_ns, awake = 0, self._awake
        self._awake = None
        if awake is not None:
            awake.succeed()

    def _timeout(self) -> Generator[simpy.Event, Any, None]:
        """Return after the sleep, or at once when the vCPU is paused."""
        self._sleeps = True
        with suppress(simpy.Interrupt):
            yield self._env.timeout(self._sleep_ns)
        self._sleeps = False
