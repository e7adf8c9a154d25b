"""QEMU's big lock, as far as the migration thread keeps QMP commands waiting (system/cpus.c::bql_lock)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from hostsim.core.clock import Clock


class Bql:
    """The big QEMU lock: while the migration thread holds it, the main loop runs no command."""

    def __init__(self, env: Clock) -> None:
        self._env, self.held = env, False
        self._dropped: simpy.Event | None = None

    def take(self) -> None:
        """The migration thread takes the lock, or keeps it (bql_lock)."""
        self.held = True

    def drop(self) -> None:
        """The migration thread drops the lock; a waiting command runs when the thread next waits for something else."""
        self.held = False
        if self._dropped is not None:
            self._dropped.succeed()
            self._dropped = None

    def wait(self) -> Generator[simpy.Event, Any, None]:
        """Return when the migration thread does not hold the lock.

        A thread that drops the lock and takes it again at once wins against a waiter that has to be woken.
        """
        while self.held:
            self._dropped = self._dropped or self._env.event()
            yield self._dropped
