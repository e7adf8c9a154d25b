"""The attempts to migrate one VM: an operator tries again after a cancel or a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import simpy

from hostsim.core.clock import Clock
from hostsim.qemu import thread
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.parameters import MigrationParameters


class Attempts:
    """Migrations of one VM, one after the other; each starts with an empty destination and a bitmap of all ones.

    every: the attempts so far, the last of which may still wait for its start.
    done: fires at the end of the last attempt.
    """

    def __init__(
        self, env: Clock, parameters: MigrationParameters, make: Callable[[MigrationParameters], Migration]
    ) -> None:
        """``make``: returns a migration that is ready to start."""
        self._env, self._parameters, self._make = env, parameters, make
        self.every: list[Migration] = []
        self._begin(parameters)
        self.done: simpy.Event = env.process(self._more()) if parameters.retries else self.every[0].done

    @property
    def begun(self) -> list[Migration]:
        """The attempts that have started; the first one counts from the begin of the run."""
        return [self.every[0], *(migration for migration in self.every[1:] if migration.state.start_ns)]

    def _begin(self, parameters: MigrationParameters) -> None:
        self.every.append(self._make(parameters))
        thread.start(self.every[-1])

    def _more(self) -> Step:
        p = self._parameters
        again = replace(p, start_ns=p.retry_after_ns)
        yield self.every[-1].done
        while self.every[-1].state.status != "completed" and len(self.every) <= p.retries:
            before = self.every[-1]
            before.recorder.last_tally = before.vm.tally()
            self._begin(again)
            yield self.every[-1].done
