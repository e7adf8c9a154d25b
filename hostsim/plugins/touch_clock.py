"""The clock on which a workload plug-in runs as processes of SimPy, and the touches that they make meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from hostsim.core.units import parse_duration
from hostsim.plugins.registry import Plugin

TOUCHES_MAX = 10_000_000
"""A touch takes 21 bytes in the engine, and a process of SimPy some microseconds."""


class TouchClock:
    """Work time of the vCPUs of one workload, from 0 on, and what its processes touch.

    env: SimPy's environment, for resources and more processes; its unit is 1 ns.
    until_ns: the end of the run at the latest.
    """

    def __init__(self, plugin: Plugin, vcpus: tuple[int, ...], until_ns: int) -> None:
        self.env = simpy.Environment(initial_time=0)
        self.until_ns = until_ns
        self._plugin, self._vcpus = plugin, vcpus
        self._parts: list[tuple[int, int, NDArray[np.int64], bool]] = []
        self._count = 0

    def sleep(self, duration: int | str) -> simpy.Event:
        """An event after ``duration``, in ns or as a scenario writes it; at least 1 ns."""
        ns = int(duration) if isinstance(duration, int | np.integer) else parse_duration(duration)
        if ns < 1:
            raise self._plugin.refuse(f"a sleep of {ns} ns", "at least 1 ns, or time never passes")
        return self.env.timeout(ns)

    def touch(self, pages: ArrayLike, vcpu: int | None, *, is_write: bool) -> None:
        """Touch ``pages`` now by ``vcpu``, the workload's first if None. PluginError if there are too many."""
        touched = np.atleast_1d(np.asarray(pages, np.int64)).ravel()
        self._count += len(touched)
        if self._count > TOUCHES_MAX:
            got = f"more than {TOUCHES_MAX:,} touches by {self.env.now / 1e9:.3g} s of {self.until_ns / 1e9:.3g} s"
            raise self._plugin.refuse(got, "fewer touches, or a shorter duration of the scenario")
        self._parts.append((int(self.env.now), self._vcpus[0] if vcpu is None else vcpu, touched, is_write))

    def run(self, first: simpy.Event, rest: Generator[Any, Any, Any]) -> None:
        """Run the process that has yielded ``first``, and those that it starts, up to its end or ``until_ns``."""
        ends = self.env.process(self._continued(first, rest)), self.env.timeout(self.until_ns)
        self.env.run(self.env.any_of(ends))

    def _continued(self, first: simpy.Event, rest: Generator[Any, Any, Any]) -> Generator[simpy.Event, Any, None]:
        event: Any = first
        while True:
            if not isinstance(event, simpy.Event):
                raise self._plugin.refuse(f"a {type(event).__name__} that a process yields", "events, as of region.sleep")
            answer = yield event
            try:
                event = rest.send(answer)
            except StopIteration:
                return

    def touches(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """(time [ns], vCPU, page, whether a write) of each touch, arrays of equal length."""
        lengths = [len(pages) for _, _, pages, _ in self._parts]
        kinds = ((0, "i8"), (1, "i8"), (3, "?"))
        times, vcpus, writes = (np.repeat(np.array([part[at] for part in self._parts], kind), lengths) for at, kind in kinds)
        return times, vcpus, np.concatenate([np.empty(0, np.int64), *(part[2] for part in self._parts)]), writes
