"""The call of a workload plug-in, and its answers: classes of pages with rates, touches, or a process that touches pages.

Such a process is one of SimPy, on a clock of the plug-in's own.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from hostsim.core.rng import stream_key
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


CLASSES_MAX = 1000
"""Each class has a work clock for each of its vCPUs."""
RATE_MAX_PER_S = 10**12


@dataclass(frozen=True)
class Region:
    """What a workload is to touch.

    n_pages: pages of the region; the plug-in counts them from 0.
    vcpus: numbers of the vCPUs that run it.
    options: the table ``options`` of the scenario.
    key: of its draws.
    clock: of a workload that runs as processes.
    """

    n_pages: int
    vcpus: tuple[int, ...]
    options: Mapping[str, Any]
    key: tuple[int, int]
    clock: TouchClock

    @property
    def env(self) -> simpy.Environment:
        """SimPy's environment, for resources and more processes: its unit is 1 ns of work time, 0 the begin of the run."""
        return self.clock.env

    @property
    def now_ns(self) -> int:
        """Work time [ns]."""
        return int(self.clock.env.now)

    def sleep(self, duration: int | str) -> simpy.Event:
        """``yield region.sleep("1ms")``: an event after ``duration``, in ns or as a scenario writes it; at least 1 ns."""
        return self.clock.sleep(duration)

    def write(self, pages: ArrayLike, vcpu: int | None = None) -> None:
        """Write ``pages`` (a number or an array of them) now, by ``vcpu``, the first of ``vcpus`` unless given."""
        self.clock.touch(pages, vcpu, is_write=True)

    def read(self, pages: ArrayLike, vcpu: int | None = None) -> None:
        """Read ``pages`` likewise."""
        self.clock.touch(pages, vcpu, is_write=False)

    def draws(self) -> np.random.Generator:
        """A generator that begins the same way in every run of one seed and name of the workload."""
        return np.random.default_rng(self.key)


@dataclass(frozen=True)
class PageClass:
    """Pages that are touched alike, at random: each touch goes to any of them.

    first_page, n_pages: the pages.
    write_rate_per_s, read_rate_per_s: touches a second of all of them together, over all vCPUs.
    start_s, length_s, period_s: the time in which they are touched, by the workload's own clock; length_s 0: always;
    period_s 0: once.
    """

    first_page: int
    n_pages: int
    write_rate_per_s: float = 0.0
    read_rate_per_s: float = 0.0
    start_s: float = 0.0
    length_s: float = 0.0
    period_s: float = 0.0


@dataclass(frozen=True)
class Touches:
    """Touches one by one: arrays of equal length.

    time_ns: int64, when by the vCPU's work clock.
    vcpu, page: int64, which vCPU touches which page of the region.
    is_write: bool.
    """

    time_ns: ArrayLike
    vcpu: ArrayLike
    page: ArrayLike
    is_write: ArrayLike


def classes_or_touches(plugin: Plugin, region: Region) -> tuple[PageClass, ...] | Touches:
    """What the plug-in returns for ``region``, checked; touches in the order of vCPUs and times. PluginError.

    A generator that yields events is a process: it is run to its end, or to that of the run.
    """
    with plugin.guarded():
        found = _ended(plugin.load()(region), region.clock)
        if isinstance(found, Touches):
            return _checked_touches(plugin, region, found)
        classes = tuple(islice(_each(plugin, found), CLASSES_MAX + 1))
    if not 0 < len(classes) <= CLASSES_MAX:
        got = f"more than {CLASSES_MAX} classes" if classes else "no class"
        raise plugin.refuse(got, f"1 to {CLASSES_MAX} classes of pages, or Touches")
    for one in classes:
        _check_class(plugin, region, one)
    return classes


def _ended(found: Any, clock: TouchClock) -> Any:
    """``found``; if it is a process, its touches."""
    if not isinstance(found, Generator):
        return found
    first = next(found, None)
    if first is None:
        return ()
    if not isinstance(first, simpy.Event):
        return chain([first], found)
    clock.run(first, found)
    return Touches(*clock.touches())


def region_of(
    plugin: Plugin, n_pages: int, vcpus: tuple[int, ...], options: Mapping[str, Any], key: tuple[int, int], until_ns: int
) -> Region:
    """The region that ``plugin`` is asked about; parameters as of ``Region``.

    key: of its draws, see ``draws_key``.
    until_ns: the end of the run at the latest.
    """
    return Region(n_pages, vcpus, options, key, TouchClock(plugin, vcpus, until_ns))


def draws_key(seed: int, name: str) -> tuple[int, int]:
    """Key of the draws of the workload called ``name`` in a run with ``seed``."""
    return stream_key(seed, f"plug-in/{name}")


def _each(plugin: Plugin, found: Iterable[Any]) -> Iterator[PageClass]:
    if not isinstance(found, Iterable):
        raise plugin.refuse(f"a {type(found).__name__}", "PageClass objects, or Touches")
    for one in found:
        if not isinstance(one, PageClass):
            raise plugin.refuse(f"a {type(one).__name__} among its classes", "PageClass objects, or Touches")
        yield one


def _check_class(plugin: Plugin, region: Region, one: PageClass) -> None:
    pages = (one.first_page, one.n_pages)
    whole = all(isinstance(value, int | np.integer) for value in pages)
    if not whole or one.first_page < 0 or one.n_pages < 1 or one.first_page + one.n_pages > region.n_pages:
        raise plugin.refuse(f"{one}", f"pages within the {region.n_pages} of the region")
    numbers = (one.write_rate_per_s, one.read_rate_per_s, one.start_s, one.length_s, one.period_s)
    if not all(math.isfinite(value) and 0 <= value <= RATE_MAX_PER_S for value in numbers):
        raise plugin.refuse(f"{one}", "finite rates and times of at least 0")
    if not one.write_rate_per_s and not one.read_rate_per_s:
        raise plugin.refuse(f"{one}", "a write rate or a read rate above 0")
    if (one.start_s or one.period_s) and not one.length_s:
        raise plugin.refuse(f"{one}", "a length_s above 0 beside start_s or period_s")
    if 0 < one.period_s < one.length_s:
        raise plugin.refuse(f"{one}", "a period_s of at least length_s")


def _checked_touches(plugin: Plugin, region: Region, found: Touches) -> Touches:
    with plugin.guarded():
        times, vcpus, pages = (np.asarray(a, np.int64) for a in (found.time_ns, found.vcpu, found.page))
        writes = np.asarray(found.is_write, np.bool_)
    if not times.ndim == vcpus.ndim == pages.ndim == writes.ndim == 1 or not len(times):
        raise plugin.refuse("touches without a row", "arrays of one dimension with a row at least")
    if not len(times) == len(vcpus) == len(pages) == len(writes):
        raise plugin.refuse(f"{len(times)} times and {len(pages)} pages", "arrays of equal length")
    if pages.min() < 0 or pages.max() >= region.n_pages:
        raise plugin.refuse(f"page {pages[(pages < 0) | (pages >= region.n_pages)][0]}", f"pages below {region.n_pages}")
    if not np.isin(vcpus, region.vcpus).all():
        raise plugin.refuse(f"vCPU {vcpus[~np.isin(vcpus, region.vcpus)][0]}", f"vCPUs of the workload: {region.vcpus}")
    if times.min() < 0:
        raise plugin.refuse(f"a touch at {times.min()} ns", "times from 0 on")
    order = np.lexsort((times, vcpus))
    return Touches(times[order], vcpus[order], pages[order], writes[order])
