"""mmu_lock of the twin under vCPUs and host threads: first come, first served; readers at the head enter together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import simpy

Granted = Callable[[int], None]


class Grant(simpy.Event):
    """A host thread has mmu_lock."""


class TwinLock:
    """A grant is part of the request or release that causes it, and has the number of others at the lock.

    A vCPU that has the lock alone and exclusively, but did not have it last, is given one other: the lock word comes from
    another vCPU's cache.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.queue: deque[tuple[str, Granted, object]] = deque()
        self.held: list[str] = []
        self.last: object = None
        self.somebody_queued = env.event()

    def request(self, mode: str, granted: Granted, who: object) -> None:
        self.queue.append((mode, granted, who))
        self._grant()
        if self.queue and not self.somebody_queued.triggered:
            self.somebody_queued.succeed()

    def release(self, mode: str) -> None:
        self.held.remove(mode)
        self._grant()

    def _grant(self) -> None:
        while self.queue and self._compatible(self.queue[0][0]):
            mode, granted, who = self.queue.popleft()
            others = len(self.queue) + len(self.held)
            if mode == "exclusive" and not others and self.last not in (None, who):
                others = 1
            self.last = who
            self.held.append(mode)
            granted(others)

    def _compatible(self, mode: str) -> bool:
        return not self.held or (mode == "shared" and "exclusive" not in self.held)


class HostLock:
    """mmu_lock as host threads take it, with their waits and holds."""

    def __init__(self, env: simpy.Environment, lock: TwinLock) -> None:
        self.env, self.lock = env, lock
        self.wait_ns = self.hold_ns = 0

    def hold(
        self, mode: str, total_ns: Callable[[], float], unit_ns: int | Callable[[int], int] = 0
    ) -> Generator[simpy.Event, Any, None]:
        """Hold it for ``total_ns``, asked for at the first grant; with a unit, yield to waiters at its multiples."""
        yield from self._acquire(mode)
        rest_ns = max(1, round(total_ns()))
        unit_ns = unit_ns if isinstance(unit_ns, int) else unit_ns(rest_ns)
        while rest_ns:
            held_ns = yield from self._work(rest_ns, unit_ns or rest_ns)
            self.hold_ns += held_ns
            rest_ns -= held_ns
            self.lock.release(mode)
            if rest_ns:
                yield from self._acquire(mode)

    def during(self, mode: str, work: Generator[simpy.Event, Any, Any]) -> Generator[simpy.Event, Any, Any]:
        """Hold it until ``work`` is done."""
        yield from self._acquire(mode)
        start_ns = self.env.now
        result = yield from work
        self.hold_ns += self.env.now - start_ns
        self.lock.release(mode)
        return result

    def _acquire(self, mode: str) -> Generator[simpy.Event, Any, None]:
        asked_ns, granted = self.env.now, Grant(self.env)
        self.lock.request(mode, granted.succeed, "a host thread")
        yield granted
        self.wait_ns += self.env.now - asked_ns

    def _work(self, rest_ns: int, unit_ns: int) -> Generator[simpy.Event, Any, int]:
        """Unit after unit until a waiter is queued at the end of one; returns the time."""
        done_ns = 0
        while True:
            step_ns = min(unit_ns, rest_ns - done_ns)
            step = self.env.timeout(step_ns)
            if done_ns and (yield from self._somebody_comes_now()):
                return done_ns
            yield step
            done_ns += step_ns
            if done_ns == rest_ns or self.lock.queue:
                return done_ns

    def _somebody_comes_now(self) -> Generator[simpy.Event, Any, bool]:
        """Whether a vCPU queues in the rest of this instant."""
        now_ns = self.env.now
        self.lock.somebody_queued = self.env.event()
        yield self.lock.somebody_queued | self.env.timeout(1)
        return bool(self.env.now == now_ns)
