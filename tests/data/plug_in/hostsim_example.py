"""Plug-ins as another distribution would bring them: workloads, a policy, a daemon, and what goes wrong."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import simpy

from hostsim.plugins import PageClass, Region, Touches


def bursts(region: Region) -> Iterator[PageClass]:
    """The first half at one rate; for half of every second, the second half at ten times that rate."""
    half, rate = region.n_pages // 2, float(region.options.get("rate", 1000))
    yield PageClass(0, half, write_rate_per_s=rate)
    yield PageClass(half, half, write_rate_per_s=10 * rate, start_s=0.2, length_s=0.5, period_s=1.0)


def recorded(region: Region) -> Touches:
    """A walk with drawn times, each vCPU in pages of its own."""
    n = 200
    times = np.sort(region.draws().integers(0, 2_000_000_000, (len(region.vcpus), n)), axis=1)
    pages = np.arange(len(region.vcpus) * n).reshape(len(region.vcpus), n) % region.n_pages
    return Touches(times.ravel(), np.repeat(region.vcpus, n), pages.ravel(), np.ones(times.size, bool))


def transactions(region: Region) -> Generator[Any, Any, None]:
    """Clients that wait for one of two log writers, write one page of the log, then a page of a table."""
    draws, writers = region.draws(), simpy.Resource(region.env, capacity=2)

    def client(vcpu: int) -> Generator[Any, Any, None]:
        while True:
            yield region.sleep(1 + int(draws.exponential(4e6)))
            with writers.request() as turn:
                yield turn
                region.write(0, vcpu)
                yield region.sleep("1ms")
            region.write(int(draws.integers(1, region.n_pages)), vcpu)

    for vcpu in region.vcpus:
        region.env.process(client(vcpu))
    yield region.sleep("2s")


def floods(region: Region) -> Generator[Any, Any, None]:
    while True:
        yield region.sleep("1us")
        region.read(np.arange(region.n_pages))


def half_event(region: Region) -> Generator[Any, Any, None]:
    yield region.sleep("1us")
    yield 5


class EveryFourth:
    """Asks about a quarter of the resident pages a pass, in turn."""

    def __init__(self, n_pages: int, draws: np.random.Generator) -> None:
        self._is_resident = np.zeros(n_pages, bool)
        self._turn = int(draws.integers(4))

    def insert(self, pages: Any) -> None:
        self._is_resident[pages] = True

    def age(self, young: Any) -> Any:
        assert not young.flags.writeable
        self._turn = (self._turn + 1) % 4
        return np.flatnonzero(self._is_resident)[self._turn :: 4]


def governor(host: Any) -> Generator[Any, Any, None]:
    """Throttles the guest from the first sync on, and counts the pages that it sees young."""
    young = 0
    while True:
        yield host.sleep(host.options.get("period", "100ms"))
        seen = yield from host.age(np.arange(0, host.n_pages, 64))
        young += int(seen.sum())
        host.throttle(50 if host.counters().get("round", 0) >= 1 else 0)
        host.set_migration(downtime_limit="400ms")
        host.note(young=young, at_ms=host.now_ns / 1e6)


def raises(region: Region) -> Iterator[PageClass]:
    message = "nothing to touch"
    raise ValueError(message)


def outside(region: Region) -> Iterator[PageClass]:
    yield PageClass(region.n_pages, 1, write_rate_per_s=1)


class Stranger(EveryFourth):
    """Asks about a page that is not there."""

    def age(self, young: Any) -> Any:
        return np.array([len(young)])


def stuck(host: Any) -> Generator[Any, Any, None]:
    while True:
        yield host.sleep(0)


def no_event(host: Any) -> Generator[Any, Any, None]:
    yield 5


def breaks(host: Any) -> Generator[Any, Any, None]:
    yield host.sleep("50ms")
    raise KeyError("later")
