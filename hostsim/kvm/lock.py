"""mmu_lock as processes of the host take it; vCPUs stand in the same queue (hostsim.kvm.engine)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Protocol

import simpy

from hostsim.core.clock import Clock
from hostsim.core.latency import Latencies, merged
from hostsim.kvm.loops.layout import W_HOLD_NS, W_WAIT_NS

Step = Generator[simpy.Event, Any, None]
N_HOSTS = 8
"""Host processes that may stand at one mmu_lock: slots_lock keeps those that work on the log fewer, reclaim may be more."""


class LockQueue(Protocol):
    """The part of the engine that keeps the queue; hosts are numbered slots."""

    @property
    def queued(self) -> int:
        """Who waits now."""
        ...

    def request_lock(self, host: int, mode: int, now_ns: int) -> bool:
        """Join the queue; True if the lock is granted at once."""
        ...

    def release_lock(self, host: int, now_ns: int) -> list[int]:
        """Leave; the hosts that are granted the lock by it."""
        ...

    def watch_lock(self, host: int, on: bool) -> None:
        """While on: tell once that somebody queues."""
        ...

    def walk_sum(self, column: int) -> int:
        """Of a column of Kvm.walks, over all walkers so far."""
        ...

    def walker_waits(self) -> Latencies:
        """Waits of walkers."""
        ...


class MmuLock:
    """The lock as host processes take it; those that walk have their slots from it, and wait in the engine."""

    def __init__(self, env: Clock, queue: LockQueue) -> None:
        self._waits = Latencies()
        self._wait_ns = self._hold_ns = 0
        self._env, self._queue = env, queue
        self._free = list(range(N_HOSTS))
        self._outside: deque[simpy.Event] = deque()
        self._waiting: dict[int, simpy.Event] = {}
        self._watching: dict[int, simpy.Event] = {}

    @property
    def waits(self) -> Latencies:
        """How long each of the host processes waited so far."""
        return merged((self._waits, self._queue.walker_waits()))

    @property
    def wait_ns(self) -> int:
        """Waits of all host processes so far."""
        return self._wait_ns + self._queue.walk_sum(W_WAIT_NS)

    @property
    def hold_ns(self) -> int:
        """Holds of all host processes so far."""
        return self._hold_ns + self._queue.walk_sum(W_HOLD_NS)

    def lend_slot(self) -> int | None:
        """A slot for a walker; None where half of them are taken, for who holds the lock for a while needs one, too."""
        return self._free.pop() if len(self._free) > N_HOSTS // 2 else None

    def take_slot_back(self, host: int) -> None:
        """The walker is done."""
        self._leave(host)

    def walk_over(self, host: int) -> simpy.Event:
        """Comes up when the walker in slot ``host`` has made its calls."""
        self._waiting[host] = self._env.event()
        return self._waiting[host]

    @property
    def awaited(self) -> bool:
        """Whether a host process waits for the lock, or for contention."""
        return bool(self._waiting or self._watching)

    def hold(self, mode: int, hold_ns: int | Callable[[], int], unit_ns: int = 0) -> Step:
        """Wait for mmu_lock and hold it for ``hold_ns``; a question is asked at the first grant.

        unit_ns: work that is done between two looks whether somebody waits, who is then let in
        (cond_resched_rwlock_write, ::_read); 0: held to the end.
        """
        host = yield from self._enter()
        yield from self._acquire(host, mode)
        left_ns = hold_ns if isinstance(hold_ns, int) else hold_ns()
        while True:
            left_ns -= yield from self._held(host, left_ns, unit_ns)
            self._release(host)
            if left_ns == 0:
                break
            yield from self._acquire(host, mode)
        self._leave(host)

    def during(self, mode: int, work: Step) -> Step:
        """Wait for mmu_lock and hold it until ``work`` is done."""
        host = yield from self._enter()
        yield from self._acquire(host, mode)
        start_ns = self._env.now_ns
        yield from work
        self._hold_ns += self._env.now_ns - start_ns
        self._release(host)
        self._leave(host)

    # Model limit: at most 8 host threads stand in the queue of an mmu_lock; others wait for a place before they queue.

    def _enter(self) -> Generator[simpy.Event, Any, int]:
        """A place in the queue, at once if one is free."""
        if not self._free:
            asked_ns, turn = self._env.now_ns, self._env.event()
            self._outside.append(turn)
            host: int = yield turn
            self._wait_ns += self._env.now_ns - asked_ns
            return host
        host = min(self._free)
        self._free.remove(host)
        return host

    def _leave(self, host: int) -> None:
        if self._outside:
            self._outside.popleft().succeed(host)
        else:
            self._free.append(host)

    def granted(self, host: int) -> None:
        """The engine has granted the lock to ``host``, or its walker has made all calls."""
        self._waiting.pop(host).succeed()

    def contended(self, host: int) -> None:
        """The engine saw somebody queue behind ``host``."""
        if host in self._watching:
            self._watching.pop(host).succeed()

    def _acquire(self, host: int, mode: int) -> Step:
        asked_ns = self._env.now_ns
        if not self._queue.request_lock(host, mode, asked_ns):
            self._waiting[host] = self._env.event()
            yield self._waiting[host]
        self._wait_ns += self._env.now_ns - asked_ns
        self._waits.record(self._env.now_ns - asked_ns)

    def _release(self, host: int) -> None:
        for other in self._queue.release_lock(host, self._env.now_ns):
            self.granted(other)

    def _held(self, host: int, left_ns: int, unit_ns: int) -> Generator[simpy.Event, Any, int]:
        """Hold the lock to its end or to the first look that finds somebody waiting; returns how long that was."""
        start_ns = self._env.now_ns
        held_ns = 0
        while held_ns < left_ns:
            if 0 < unit_ns < left_ns and self._queue.queued == 0:
                yield from self._until_contended(host, left_ns - held_ns)
                held_ns = self._env.now_ns - start_ns
            looks_ns = left_ns if unit_ns == 0 else min(left_ns, max(1, -(-held_ns // unit_ns)) * unit_ns)
            if looks_ns > held_ns:
                yield self._env.timeout(looks_ns - held_ns)
            held_ns = looks_ns
            if self._queue.queued > 0:
                break
        self._hold_ns += held_ns
        return held_ns

    def _until_contended(self, host: int, most_ns: int) -> Step:
        self._watching[host] = somebody = self._env.event()
        self._queue.watch_lock(host, True)
        yield self._env.any_of([somebody, self._env.timeout(most_ns)])
        self._watching.pop(host, None)
        self._queue.watch_lock(host, False)
