"""mmu_lock of a VM, as host processes take it; vCPUs wait in one queue with them (hostsim.kvm.engine_lock)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import simpy

from hostsim.core.clock import Clock
from hostsim.core.latency import Latencies, merged
from hostsim.core.timeline import Track
from hostsim.kvm.engine_lock import LockQueue
from hostsim.kvm.engine_walks import Walkers
from hostsim.kvm.loops.layout import N_HOSTS

Step = Generator[simpy.Event, Any, None]
Found = TypeVar("Found")


class MmuLock:
    """The slots of a VM's mmu_lock: host processes borrow them and wait on SimPy's clock, walkers wait in the engine.

    track: row of a timeline for waits and holds of host processes.
    """

    def __init__(self, env: Clock, queue: LockQueue, walks: Walkers) -> None:
        self.track = Track("vm", "mmu_lock, threads of the host", nests=False)
        self._waits = Latencies()
        self._wait_ns = self._hold_ns = 0
        self._env, self._queue, self._walks = env, queue, walks
        self._free = list(range(N_HOSTS))
        self._outside: deque[simpy.Event] = deque()
        self._waiting: dict[int, simpy.Event] = {}
        self._watching: dict[int, simpy.Event] = {}

    @property
    def waits(self) -> Latencies:
        """Waits of host processes for the lock so far, walkers included."""
        return merged((self._waits, self._walks.waits()))

    @property
    def wait_ns(self) -> int:
        """Sum of the waits of host processes so far, walkers included [ns]."""
        return self._wait_ns + self._walks.sum("wait_ns")

    @property
    def hold_ns(self) -> int:
        """Sum of the holds of host processes so far, walkers included [ns]."""
        return self._hold_ns + self._walks.sum("hold_ns")

    def lend_slot(self) -> int | None:
        """Lend a slot to a walker; None if at most half of the slots are free."""
        # A walker keeps its slot for a whole series of calls. Were all slots lent to walkers, a harvest or an invalidation
        # could not even queue until a series ended.
        return self._free.pop() if len(self._free) > N_HOSTS // 2 else None

    def take_slot_back(self, host: int) -> None:
        """Take the slot ``host`` back from a walker that has ended its series."""
        self._leave(host)

    def walk_over(self, host: int) -> simpy.Event:
        """An event that fires when the walker in slot ``host`` has made its calls."""
        self._waiting[host] = self._env.event()
        return self._waiting[host]

    @property
    def awaited(self) -> bool:
        """Whether a host process waits for a grant, or for another one to queue behind it."""
        return bool(self._waiting or self._watching)

    # Model limit: a hand-over of the lock lengthens the hold of a vCPU. A thread of the host that takes it after a
    # vCPU waits for one change of its word alone. If the ageing thread of K8 paid a hand-over, its pass beside 8
    # vCPUs would be twice as long as measured.

    def hold(self, mode: int, hold_ns: int | Callable[[], int], unit_ns: int | Callable[[int], int] = 0) -> Step:
        """Take mmu_lock and hold it for ``hold_ns`` [ns]; a function returns the length when the lock is first granted.

        mode: SHARED or EXCLUSIVE.
        unit_ns: work between two calls of cond_resched_rwlock_write or _read [ns], which yield the lock if a vCPU or a
        process is queued; 0: the holder does not yield; a function gets the length of the hold.
        """
        host = yield from self._enter()
        yield from self._acquire(host, mode)
        left_ns = hold_ns if isinstance(hold_ns, int) else hold_ns()
        unit_ns = unit_ns if isinstance(unit_ns, int) else unit_ns(left_ns)
        while True:
            left_ns -= yield from self._held(host, left_ns, unit_ns)
            self._release(host)
            if left_ns == 0:
                break
            # cond_resched_rwlock_write drops the lock and queues again: actors that queued meanwhile take it first.
            yield from self._acquire(host, mode)
        self._leave(host)

    def during(
        self, mode: int, work: Generator[simpy.Event, Any, Found], vcpu: int | None = None
    ) -> Generator[simpy.Event, Any, Found]:
        """Take mmu_lock and hold it until ``work`` is done; return what ``work`` returns.

        vcpu: the thread that works is that of this vCPU.
        """
        host = yield from self._enter()
        yield from self._acquire(host, mode, vcpu)
        start_ns = self._env.now_ns
        found = yield from work
        self._hold_ns += self._env.now_ns - start_ns
        self._env.timeline.span(self.track, "holds mmu_lock", start_ns, self._env.now_ns)
        self._release(host)
        self._leave(host)
        return found

    # Model limit: at most 8 host threads stand in the queue of an mmu_lock; more threads wait for a slot before they queue.

    def _enter(self) -> Generator[simpy.Event, Any, int]:
        """Get a slot, at once if one is free."""
        if not self._free:
            asked_ns, turn = self._env.now_ns, self._env.event()
            self._outside.append(turn)
            host: int = yield turn
            self._wait_ns += self._env.now_ns - asked_ns
            return host
        host = min(self._free)  # the lowest slot, so that a run does not depend on the order of their return
        self._free.remove(host)
        return host

    def _leave(self, host: int) -> None:
        if self._outside:  # hand the slot over directly: a later process must not take it in between
            self._outside.popleft().succeed(host)
        else:
            self._free.append(host)

    def granted(self, host: int) -> None:
        """Wake the process in slot ``host``: it has the lock, or its walker has made all calls."""
        self._waiting.pop(host).succeed()

    def contended(self, host: int) -> None:
        """Wake the holder in slot ``host``: an actor has queued behind it."""
        # The watch may have ended in the same instant, by its own timeout.
        if host in self._watching:
            self._watching.pop(host).succeed()

    def _acquire(self, host: int, mode: int, vcpu: int | None = None) -> Step:
        asked_ns, has_word = self._env.now_ns, self._queue.was_last(vcpu)
        if not self._queue.request(host, mode, asked_ns):
            self._waiting[host] = self._env.event()
            yield self._waiting[host]
            self._env.timeline.span(self.track, "waits for mmu_lock", asked_ns, self._env.now_ns)
        self._wait_ns += self._env.now_ns - asked_ns
        self._waits.record(self._env.now_ns - asked_ns)
        word_ns = 0 if has_word else self._queue.word_ns(host)
        self._queue.note_last(vcpu)
        if word_ns:  # no wait: no other actor has the lock
            yield self._env.timeout(word_ns)

    def _release(self, host: int) -> None:
        for other in self._queue.release(host, self._env.now_ns):
            self.granted(other)

    def _held(self, host: int, left_ns: int, unit_ns: int) -> Generator[simpy.Event, Any, int]:
        """Hold the lock to the end of the work, or to the first look that finds waiters; return the time [ns]."""
        start_ns = self._env.now_ns
        held_ns = 0
        while held_ns < left_ns:
            # An event a unit would be an event a page. While the queue is empty the hold sleeps until it is not; the look
            # that follows is the next multiple of the unit, where the kernel would have looked.
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
        self._env.timeline.span(self.track, "holds mmu_lock", start_ns, self._env.now_ns)
        return held_ns

    def _until_contended(self, host: int, most_ns: int) -> Step:
        self._watching[host] = queued = self._env.event()
        self._queue.watch(host, True)
        yield self._env.any_of([queued, self._env.timeout(most_ns)])
        self._watching.pop(host, None)
        self._queue.watch(host, False)
