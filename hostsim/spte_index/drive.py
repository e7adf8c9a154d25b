"""A script of writes, harvests, ageing and swap-outs, each at its rate, run on an index; time is summed by purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.core.errors import InvariantError
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.guests import IndexedGuest, distinct
from hostsim.spte_index.meter import Meter
from hostsim.spte_index.spte import WRITABLE


@dataclass(frozen=True)
class Load:
    """Accesses to gfns drawn uniformly from [first, end), ``per_s`` a second."""

    first: int
    end: int
    per_s: float
    is_write: bool = True


@dataclass(frozen=True)
class Script:
    """The rates of a run.

    harvest_every_ns: interval by slot; these slots are logged from the start.
    age_every_ns: interval of ageing passes, 0: never.
    age_call_pages: gfns of one notifier call.
    unmaps_per_s: pages swapped out a second, drawn from all pages.
    seed: of all draws.
    """

    duration_ns: int
    loads: tuple[Load, ...] = ()
    harvest_every_ns: dict[int, int] = field(default_factory=dict)
    age_every_ns: int = 0
    age_call_pages: int = 1
    unmaps_per_s: float = 0.0
    seed: int = 1


@dataclass
class Driven:
    """The result. dirty_pages: of each harvest, by slot; young_pages: of each pass; faults: [map, write protection]."""

    meter: Meter
    dirty_pages: dict[int, list[int]] = field(default_factory=dict)
    young_pages: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def total_ns(self) -> float:
        """Time in the index, all purposes."""
        return sum(self.meter.ns.values())


class Driver:
    """Runs a script over a guest. A written page that a harvest does not report raises InvariantError."""

    def __init__(self, guest: IndexedGuest, script: Script, costs: CacheCosts) -> None:
        self.guest, self.script = guest, script
        self.rng = np.random.default_rng([script.seed, 7])
        self.driven = Driven(Meter(guest.index, costs))
        self.log = {slot: self._bits(slot) for slot in script.harvest_every_ns}
        self.done = [0] * len(script.loads)

    def run(self) -> Driven:
        """Run the events in order of time; in one instant harvests come before ageing, ageing before swap-outs."""
        for slot in self.log:
            with self.driven.meter.of("start log"):
                self.guest.index.start_log(slot)
        for now_ns, what, slot in sorted(self._events()):
            self._access_until(now_ns)
            (self._harvest, self._age, self._unmap)[what](slot)
        self._access_until(self.script.duration_ns)
        return self.driven

    def _bits(self, slot: int) -> NDArray[np.uint8]:
        return np.zeros(self.guest.slots[slot].n_pages, np.uint8)

    def _events(self) -> Iterator[tuple[int, int, int]]:
        end = self.script.duration_ns
        for slot, every_ns in self.script.harvest_every_ns.items():
            yield from ((t, 0, slot) for t in range(every_ns, end + 1, every_ns))
        if self.script.age_every_ns:
            yield from ((t, 1, 0) for t in range(self.script.age_every_ns, end + 1, self.script.age_every_ns))
        unmaps = int(self.script.unmaps_per_s * end / NS_PER_S)
        yield from ((i * end // unmaps, 2, 0) for i in range(unmaps))

    def _access_until(self, now_ns: int) -> None:
        for i, load in enumerate(self.script.loads):
            due = int(load.per_s * now_ns / NS_PER_S)
            gfns = distinct(self.rng, load.end - load.first, due - self.done[i], load.first)
            self.done[i] = due
            if len(gfns):
                self._access(gfns, is_write=load.is_write)

    def _access(self, gfns: NDArray[np.int64], *, is_write: bool) -> None:
        with self.driven.meter.of("faults"):
            mapped, protected = self.guest.touch(self.rng.permutation(gfns), is_write=is_write)
        self.driven.faults[0] += mapped
        self.driven.faults[1] += protected
        if is_write:
            for slot, log in self.log.items():
                first, end = self.guest.slots[slot].first, self.guest.slots[slot].end
                log[gfns[(gfns >= first) & (gfns < end)] - first] = 1

    def _harvest(self, slot: int) -> None:
        index, log = self.guest.index, self.log[slot]
        dirty = self._bits(slot) if index.traits.logs_by_hardware else log.copy()
        with self.driven.meter.of("harvest"):
            index.harvest(slot, dirty)
        self._check(slot, log, dirty)
        self.driven.dirty_pages.setdefault(slot, []).append(int(log.sum()))
        log[:] = 0

    def _check(self, slot: int, log: NDArray[np.uint8], dirty: NDArray[np.uint8]) -> None:
        """No write is lost: the harvest reported the page, and the next write to the page will be seen."""
        index, first = self.guest.index, self.guest.slots[slot].first
        lost = np.flatnonzero(log > dirty)
        if len(lost):
            raise InvariantError(f"{index.name}: gfn {first + lost[0]} was written and not harvested")
        sptes = self.guest.spte_of[first + np.flatnonzero(log)]
        if not index.traits.logs_by_hardware and (index.tables.flags[sptes] & WRITABLE).any():
            raise InvariantError(f"{index.name}: a page is writable after its harvest, the next write would be lost")

    def _age(self, _slot: int) -> None:
        n_pages, step, young = self.guest.n_pages, self.script.age_call_pages, 0
        for first in range(0, n_pages, step):
            bits = np.zeros(min(step, n_pages - first), np.uint8)
            with self.driven.meter.of("ageing"):
                self.guest.index.clear_young(first, first + len(bits), bits)
            young += int(bits.sum())
        self.driven.young_pages.append(young)

    def _unmap(self, _slot: int) -> None:
        gfn = int(self.rng.integers(self.guest.n_pages))
        with self.driven.meter.of("unmap"):
            self.guest.index.unmap(gfn, gfn + 1)


def drive(guest: IndexedGuest, script: Script, costs: CacheCosts) -> Driven:
    """Run ``script`` over ``guest`` and price the calls. InvariantError if a write is lost."""
    return Driver(guest, script, costs).run()
