"""The host's clock: SimPy, in whole nanoseconds, and the guests that it drives."""

from __future__ import annotations

from typing import Any, Protocol

import simpy

NEVER_NS = 1 << 62


class Due(Protocol):
    """Something that a guest brings up for the host."""

    @property
    def ns(self) -> int:
        """When [ns]: a host event of that instant, before what is left of the guest's events there."""
        ...


class Guests(Protocol):
    """The vCPUs of a VM whose events are not SimPy's."""

    @property
    def next_ns(self) -> int:
        """No event of theirs comes before it [ns]; NEVER_NS if none comes at all."""
        ...

    def advance(self, horizon_ns: int) -> Due | None:
        """Run all events strictly below ``horizon_ns``; stop early at what comes up for the host."""
        ...

    def deliver(self, due: Any) -> None:
        """Wake who waits for ``due``: the clock has come to it."""
        ...

    def may_come_up(self) -> bool:
        """Whether something could come up for the host even if the host does nothing."""
        ...


class Clock(simpy.Environment):
    """SimPy's environment whose times are integer nanoseconds.

    Before it moves on to an event, all guests attached to it are advanced to that moment, strictly below it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._guests: list[Guests] = []

    @property
    def now_ns(self) -> int:
        """The time [ns]."""
        return int(self.now)

    def attach(self, guests: Guests) -> None:
        """Drive ``guests`` from now on. VMs attached earlier come first within an instant."""
        self._guests.append(guests)

    def upcoming_ns(self) -> int:
        """Time of the next event [ns], but for what a guest may still bring up before; NEVER_NS if there is none."""
        upcoming = self.peek()
        return NEVER_NS if upcoming == float("inf") else int(upcoming)

    def settle(self, until_ns: int) -> int:
        """Advance the guests, ahead of the clock, strictly below ``until_ns`` or the next event; returns which came first.

        What they bring up is an event, too. Nobody may touch a guest before the time that is returned.
        """
        while True:
            horizon_ns = min(until_ns, self.upcoming_ns())
            first = min(self._guests, key=lambda guests: guests.next_ns, default=None)
            if first is None or first.next_ns >= horizon_ns:
                return horizon_ns
            # One VM does not run past what another may bring up for the host.
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
