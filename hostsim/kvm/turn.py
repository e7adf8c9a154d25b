"""A FIFO mutex of the host; taking a free mutex adds no event."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, TypeVar

import simpy

from hostsim.core.clock import Clock

T = TypeVar("T")


class Turn:
    """kvm->slots_lock: GET, CLEAR, a ring's reset and switching the log on or off, one at a time."""

    def __init__(self, env: Clock) -> None:
        self._env = env
        self._taken = False
        self._waiting: deque[simpy.Event] = deque()

    def of(self, work: Generator[simpy.Event, Any, T]) -> Generator[simpy.Event, Any, T]:
        """Take the mutex, do ``work``, drop the mutex; return the value of ``work``."""
        if self._taken:
            self._waiting.append(self._env.event())
            yield self._waiting[-1]
        self._taken = True
        result = yield from work
        self._pass_on()
        return result

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().succeed()
        else:
            self._taken = False
