"""Order inside an instant: host events first, then the vCPUs by rank, on SimPy's event priorities."""

from __future__ import annotations

from collections.abc import Callable

import simpy

FIRST_GUEST_PRIORITY = 2
"""SimPy's own priorities are 0 (urgent) and 1 (normal): those are the host's."""


def at_guest_rank(env: simpy.Environment, vcpu: int, t_ns: int, call: Callable[[], None]) -> None:
    """Call ``call`` at ``t_ns``, after all host events of that instant and after vCPUs of lower rank."""
    event = simpy.Event(env)
    event._ok, event._value = True, None
    event.callbacks.append(lambda _: call())
    env.schedule(event, priority=FIRST_GUEST_PRIORITY + vcpu, delay=t_ns - env.now)


def host_events_left(env: simpy.Environment) -> bool:
    """Whether a host event of this instant is still to come."""
    return bool(env._queue) and env._queue[0][0] == env.now and env._queue[0][1] < FIRST_GUEST_PRIORITY
