from __future__ import annotations

from typing import NamedTuple

import pytest
import simpy

from hostsim.core.clock import NEVER_NS, Clock


class Came(NamedTuple):
    ns: int
    who: str


class Script:
    """Guests whose events are given: (ns, name or None, True if it is an event for the host)."""

    def __init__(self, seen: list[tuple[int, str]], *events: tuple[int, str, bool]) -> None:
        self.seen, self.events, self.waits = seen, list(events), False

    @property
    def next_ns(self) -> int:
        return self.events[0][0] if self.events else NEVER_NS

    def advance(self, horizon_ns: int) -> Came | None:
        while self.events and self.next_ns < horizon_ns:
            ns, name, is_due = self.events.pop(0)
            if is_due:
                return Came(ns, name)
            self.seen.append((ns, name))
        return None

    def deliver(self, due: Came) -> None:
        self.seen.append((due.ns, due.who))

    def may_come_up(self) -> bool:
        return self.waits


def host(env: Clock, seen: list[tuple[int, str]], t_ns: int, name: str = "host") -> None:
    env.timeout(t_ns).callbacks.append(lambda _: seen.append((env.now_ns, name)))


def test_guests_are_advanced_strictly_below_an_event() -> None:
    env, seen = Clock(), []
    env.attach(Script(seen, (4, "before", False), (5, "same", False), (6, "after", False)))
    for t_ns in (5, 7):
        host(env, seen, t_ns)
    env.run()
    assert [name for _, name in seen] == ["before", "host", "same", "after", "host"]


def test_what_comes_up_is_an_event_of_its_own_time() -> None:
    env, seen = Clock(), []
    env.attach(Script(seen, (3, "out", True), (3, "rest of 3", False), (9, "late", False)))
    host(env, seen, 8)
    env.run()
    assert seen == [(3, "out"), (3, "rest of 3"), (8, "host")]


def test_host_events_of_an_instant_all_come_before_what_is_left_of_the_guests() -> None:
    env, seen = Clock(), []
    guests = Script(seen, (5, "granted", True), (5, "granted too", True), (5, "rest", False))
    env.attach(guests)
    host(env, seen, 5)
    host(env, seen, 6)
    guests.deliver = lambda due: (seen.append((due.ns, due.who)), host(env, seen, 0, "woken"))  # type: ignore[method-assign]
    env.run()
    assert [name for _, name in seen] == ["host", "granted", "woken", "granted too", "woken", "rest", "host"]


def test_a_vm_does_not_run_past_what_another_brings_up() -> None:
    env, seen = Clock(), []
    env.attach(Script(seen, (2, "a", False), (6, "a late", False)))
    env.attach(Script(seen, (4, "out", True), (6, "b late", False)))
    host(env, seen, 9)
    env.run()
    assert seen == [(2, "a"), (4, "out"), (6, "a late"), (6, "b late"), (9, "host")]


def test_settling_ahead_stops_at_what_comes_up() -> None:
    env, seen = Clock(), []
    env.attach(Script(seen, (2, "a", False), (4, "out", True), (5, "b", False)))
    host(env, seen, 20)
    assert env.settle(3) == 3
    assert env.settle(10) == 4
    assert env.upcoming_ns() == 4
    assert seen == [(2, "a")]
    env.run()
    assert seen == [(2, "a"), (4, "out"), (5, "b"), (20, "host")]


def test_settling_stops_at_the_next_event() -> None:
    env, seen = Clock(), []
    env.attach(Script(seen, (5, "a", False)))
    host(env, seen, 5)
    assert env.settle(9) == 5
    assert seen == []


@pytest.mark.parametrize("waits", [False, True])
def test_without_events_guests_run_only_if_somebody_waits_for_them(waits: bool) -> None:
    env, seen = Clock(), []
    guests = Script(seen, (4, "a", False), (5, "out", True))
    guests.waits = waits
    env.attach(guests)
    if waits:
        env.step()
    else:
        with pytest.raises(simpy.core.EmptySchedule):
            env.step()
    assert seen == ([(4, "a"), (5, "out")] if waits else [])


def test_a_clock_without_guests_is_simpys() -> None:
    env = Clock()
    assert env.upcoming_ns() == NEVER_NS
    env.timeout(7)
    assert (env.upcoming_ns(), env.settle(5), env.settle(9)) == (7, 5, 7)
    env.run()
    assert env.now_ns == 7
