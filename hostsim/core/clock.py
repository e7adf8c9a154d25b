"""The host's clock: SimPy, in whole nanoseconds, and the guests that it drives."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, TypeVar

import simpy

from hostsim.core.timeline import Argument, Timeline, Track

NEVER_NS = 1 << 62
R = TypeVar("R")


class Due(Protocol):
    """An event that a guest delivers to the host."""

    @property
    def ns(self) -> int:
        """Time of the event [ns]; the host handles it before the guest's further events of that instant."""
        ...


class Guests(Protocol):
    """The vCPUs of a VM whose events are not SimPy's."""

    @property
    def next_ns(self) -> int:
        """Lower bound of the next event of these vCPUs [ns]; NEVER_NS if they will have none."""
        ...

    def advance(self, horizon_ns: int) -> Due | None:
        """Run all events strictly below ``horizon_ns``; stop early at an event for the host, and return it."""
        ...

    def deliver(self, due: Any) -> None:
        """Wake the process that waits for ``due``, whose time the clock has reached."""
        ...

    def may_come_up(self) -> bool:
        """Whether the guest may deliver an event even if no host process acts."""
        ...


class Clock(simpy.Environment):
    """SimPy's environment whose times are integer nanoseconds.

    Before the clock processes an event it advances all attached guests to that moment, strictly below it.
    timeline: takes slices of simulated time from the processes.
    """

    def __init__(self, timeline: Timeline | None = None) -> None:
        super().__init__()
        self.timeline = timeline or Timeline()
        self._guests: list[Guests] = []

    @property
    def now_ns(self) -> int:
        """The time [ns]."""
        return int(self.now)

    def attach(self, guests: Guests) -> None:
        """Drive ``guests`` from now on. Within an instant, VMs that were attached earlier go first."""
        self._guests.append(guests)

    def traced(
        self, track: Track, name: str, work: Generator[simpy.Event, Any, R], **args: Argument
    ) -> Generator[simpy.Event, Any, R]:
        """``work``; a timeline that records gets a slice of ``track`` from its begin to its end."""
        return self._traced(track, name, work, args) if self.timeline.is_recording else work

    def _traced(
        self, track: Track, name: str, work: Generator[simpy.Event, Any, R], args: dict[str, Argument]
    ) -> Generator[simpy.Event, Any, R]:
        span = self.timeline.begin(track, name, self.now_ns, **args)
        result = yield from work
        self.timeline.end(span, self.now_ns)
        return result

    def upcoming_ns(self) -> int:
        """Time of the next event [ns], without events that a guest may still deliver before; NEVER_NS if there is none."""
        upcoming = self.peek()
        return NEVER_NS if upcoming == float("inf") else int(upcoming)

    def possible_ns(self) -> int:
        """Time up to which no event can come, not even one that a guest delivers, as a grant of mmu_lock [ns]."""
        guests_ns = min((guests.next_ns for guests in self._guests), default=NEVER_NS)
        return min(self.upcoming_ns(), max(self.now_ns, guests_ns) + 1)

    def settle(self, until_ns: int) -> int:
        """Advance the guests, ahead of the clock, strictly below ``until_ns`` or the next event; return the earlier time.

        An event that a guest delivers counts as well. No process may act on a guest before the returned time.
        """
        while True:
            horizon_ns = min(until_ns, self.upcoming_ns())
            first = min(self._guests, key=lambda guests: guests.next_ns, default=None)
            if first is None or first.next_ns >= horizon_ns:
                return horizon_ns
            # A VM must not run past an event that another VM may deliver: the host may act on both at that event.
            others_ns = min((guests.next_ns for guests in self._guests if guests is not first), default=NEVER_NS)
            due = first.advance(min(horizon_ns, max(others_ns, first.next_ns + 1)))
            if due is not None:
                self._schedule(first, due)

    def step(self) -> None:
        """Process the next event, the guests advanced to it."""
        if self._guests and (self._queue or any(guests.may_come_up() for guests in self._guests)):
            self.settle(NEVER_NS)
        super().step()

    def _schedule(self, guests: Guests, due: Due) -> None:
        event = self.timeout(due.ns - self.now_ns)
        event.callbacks.append(lambda _: guests.deliver(due))
