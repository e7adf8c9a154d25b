"""mmu_lock of the twin under vCPUs and host threads: first come, first served; readers at the head enter together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import simpy

from tests.twins.kvm_case import GuestCosts

Granted = Callable[[int], None]
A_HOST = "a host thread"


class Grant(simpy.Event):
    """A host thread has mmu_lock."""


class TwinLock:
    """A grant is part of the request or release that causes it, and has the number of others at the lock; for a host thread,
    the time until it has the lock word.

    A vCPU that has the lock alone and exclusively, but did not have it last, is given one other: the lock word comes from
    another vCPU's cache. Readers that meet a writer come into the queue one after the other, and so they are let in.
    """

    def __init__(self, env: simpy.Environment, costs: GuestCosts) -> None:
        self.env, self.costs = env, costs
        self.way_until_ns = self.door_until_ns = 0
        self.queue: deque[tuple[str, Granted, object, bool]] = deque()
        self.held: list[str] = []
        self.last: object = None
        self.somebody_queued = env.event()

    def request(self, mode: str, granted: Granted, who: object, *, is_out: bool = False) -> None:
        """is_out: the thread of vCPU ``who`` asks, which is out of the guest."""
        self.queue.append((mode, granted, who, is_out))
        self._grant()
        if self.queue and not self.somebody_queued.triggered:
            self.somebody_queued.succeed()

    def way_ns(self, mode: str) -> int:
        """The time of a vCPU into the queue."""
        if mode != "shared" or not self.costs.wait_lock_ns or not (self.queue or "exclusive" in self.held):
            return 0
        self.way_until_ns = max(self.way_until_ns, self.env.now) + self.costs.wait_lock_ns
        return self.way_until_ns - self.env.now

    def door_ns(self) -> int:
        """The time of a reader that has waited until it is let in."""
        in_ns = max(self.door_until_ns, self.env.now)
        self.door_until_ns = in_ns + self.costs.word_ns
        return in_ns - self.env.now

    def release(self, mode: str) -> None:
        self.held.remove(mode)
        self._grant()

    def _grant(self) -> None:
        while self.queue and self._compatible(self.queue[0][0]):
            mode, granted, who, is_out = self.queue.popleft()
            others = len(self.queue) + len(self.held)
            if mode == "exclusive" and not others and self.last not in (None, who):
                others = 1
            is_host = who == A_HOST or is_out
            word_ns = self.costs.word_ns if self.last not in (None, A_HOST, who) else 0
            self.last = who
            self.held.append(mode)
            granted(word_ns if is_host else others)

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

    def during(
        self, mode: str, work: Generator[simpy.Event, Any, Any], vcpu: object = None
    ) -> Generator[simpy.Event, Any, Any]:
        """Hold it until ``work`` is done. vcpu: the thread of this one works."""
        yield from self._acquire(mode, vcpu)
        start_ns = self.env.now
        result = yield from work
        self.hold_ns += self.env.now - start_ns
        self.lock.release(mode)
        return result

    def _acquire(self, mode: str, vcpu: object = None) -> Generator[simpy.Event, Any, None]:
        asked_ns, granted = self.env.now, Grant(self.env)
        self.lock.request(mode, granted.succeed, vcpu or A_HOST, is_out=vcpu is not None)
        word_ns = yield granted
        self.wait_ns += self.env.now - asked_ns
        if word_ns:
            yield self.env.timeout(word_ns)

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
