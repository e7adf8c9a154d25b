"""Drawn migrations to a destination that is short of memory: the phase beside a live guest, and the twin written out.

In both, threads that place pages wait for frames, placed pages are swapped out at drawn moments, and a touch of such a page
is a swap-in. On one side are hostsim.qemu.postcopy.live and the compiled loop, with a guest of plain Python whose exits cost
nothing; on the other side is the heap of tests.twins.postcopy, whose loaders take page after page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

import numpy as np
import simpy

from hostsim.core.knobs import Knobs
from hostsim.core.rng import NEVER
from hostsim.guest import pacing
from hostsim.guest.clocks import class_work
from hostsim.guest.touch import CLOCK_COUNT, CLOCK_FIRST, FIRST_GFN, N_PAGES, next_touches
from hostsim.kvm.loops.layout import AWAY, RESIDENT, UNTOUCHED
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.postcopy import steps
from hostsim.qemu.postcopy.live import LiveDestination
from tests.twins import class_streams
from tests.twins import migration as twin_migration
from tests.twins.class_streams import ClassStream
from tests.twins.compare import first_difference
from tests.twins.configs import MS, drawn_knobs
from tests.twins.machine import Facts
from tests.twins.postcopy import PLACE, PLACE_URGENT, TwinPhase
from tests.twins.postcopy_compare import drawn_postcopy, engine_facts, twin_facts

HOST = -1
"""Events of the host come before all others of an instant."""
SWAPPED, MISSING = AWAY, AWAY + 4
SWAP_OUTS = 400


class Shortage(NamedTuple):
    """The acts of a destination's memory, drawn.

    frames, allocation_ns: of the allocations, in turn: their frames, and their times.
    outs: (time since the guest started [ns], gfn) of each swap-out; read_ns: time of a swap-in.
    """

    frames: tuple[int, ...]
    allocation_ns: tuple[int, ...]
    outs: tuple[tuple[int, int], ...]
    read_ns: int


def shortage_of(seed: int, n_pages: int) -> Shortage:
    rng = Random(f"destination {seed}")
    waits = rng.choice(((0,), (0, 0, 0, 70_001), (30_003, 1_000_007), (5_000_003, 40_009)))
    period = rng.choice((9_973, 200_003, 5_000_011))
    outs = tuple((number * period + 13, rng.randrange(n_pages)) for number in range(1, SWAP_OUTS))
    return Shortage(rng.choice(((1,), (1, 3), (7, 63))), waits, outs, rng.choice((101, 90_017, 2_000_003)))


def drawn_short(seed: int) -> MachineSpec:
    """Machine number ``seed``; on every second one the link is so fast that placing pages is the bottleneck."""
    spec = drawn_postcopy(seed)
    migration = replace(spec.migration, host_page_bytes=4096)
    if seed % 2:
        return replace(spec, migration=migration)
    link = replace(spec.link, bandwidth_bytes_per_s=164_160_000, wake_bytes=0)
    migration = replace(migration, max_postcopy_bandwidth=0, downtime_limit_ms=0)
    costs = replace(spec.inputs["postcopy"], place_page_ns=Random(seed).choice((20_000, 100_000, MS)))
    return replace(spec, migration=migration, link=link, inputs=spec.inputs | {"postcopy": costs})


# -- the guest and the host of the engine


class PlainDue(NamedTuple):
    ns: int
    vcpu: int
    page: int


class PlainThread:
    """The thread of a vCPU that is held until it is released."""

    def __init__(self, guest: PlainGuest, vcpu: int) -> None:
        self.guest, self.vcpu = guest, vcpu

    def release(self) -> None:
        self.guest.resume(self.vcpu)


class PlainGuest:
    """A guest that touches page after page; a touch of a page that is not there is an event of the host."""

    def __init__(self, vm: Any, missing: Any, shortage: Shortage) -> None:
        self.env, self.shortage, n_pages = vm.env, shortage, vm.memory.n_pages
        self.guest = replace(vm.guest, clocks=vm.guest.clocks.copy())
        self.memory = replace(
            vm.memory, zero=np.where(missing, 1, vm.memory.zero).astype(np.uint8),
            version=np.where(missing, 0, vm.memory.version).astype(np.uint16),
        )  # fmt: skip
        here = np.where(self.memory.zero, UNTOUCHED, RESIDENT)
        self.backing = np.where(missing, MISSING, here).astype(np.uint8)
        assert len(self.backing) == n_pages
        self.vcpus = [PlainThread(self, vcpu) for vcpu in range(len(vm.vcpus))]
        self.at: dict[int, int] = {}
        self.swap_ins, self.swap_wait_ns = 0, 0
        self.made = [0] * len(self.guest.table.ints)
        self.env.attach(self)

    # what the clock asks

    def may_come_up(self) -> bool:
        return True

    @property
    def next_ns(self) -> int:
        return min((ns for ns, *_ in self._touches()), default=NEVER)

    def advance(self, horizon_ns: int) -> PlainDue | None:
        """Up to the first touch of a page that is not there; touches of pages that are there change nothing."""
        found = sorted(self._touches())
        if not found or found[0][0] >= horizon_ns:
            return None
        ns, c, page, vcpu = found[0]
        for other in range(c):  # those of this nanosecond that come before are made, and not made again
            self.made[other] = int(class_work(self.guest.table.ints, self.guest.clocks, other, ns + 1))
        for row in self._rows(vcpu):
            pacing.stop(self.guest.clocks[row], ns)
        return PlainDue(ns, vcpu, page)

    def deliver(self, due: PlainDue) -> None:
        self.at[due.vcpu] = due.page
        if self.backing[due.page] == MISSING:
            self.there.touched(due.vcpu, due.page)
        elif self.backing[due.page] == SWAPPED:
            self.env.process(self._read(due.vcpu, due.page))
        else:  # placed since
            self.resume(due.vcpu)

    def _touches(self) -> list[tuple[int, int, int, int]]:
        """(time, class, page, vCPU) of the next touch of each class whose vCPU runs."""
        table, clocks, found = self.guest.table, self.guest.clocks, []
        for c, row in enumerate(table.ints):
            clock = self._clock_of(c)
            if clocks[clock, pacing.MODE] == pacing.STOPPED:
                continue
            first, end = int(row[FIRST_GFN]), int(row[FIRST_GFN] + row[N_PAGES])
            pages = np.flatnonzero(self.backing[first:end] >= AWAY).astype(np.int64)
            works = np.empty(len(pages), np.int64)
            done = max(int(class_work(table.ints, clocks, c, self.env.now_ns)), self.made[c])
            next_touches(table, c, pages, np.full(len(pages), done, np.int64), works)
            if len(works) and works.min() < NEVER:
                best = int(works.argmin())
                ns = self._time_of(c, int(works[best]))
                found.append((ns, c, first + int(pages[best]), int(self.guest.clock_vcpu[clock])))
        return [one for one in found if one[0] < NEVER]

    def _clock_of(self, c: int) -> int:
        row = self.guest.table.ints[c]
        assert row[CLOCK_COUNT] == 1, "sweeps and traces have a class for each vCPU"
        return int(row[CLOCK_FIRST])

    def _time_of(self, c: int, work_ns: int) -> int:
        """The nanosecond in which the clock passes ``work_ns``."""
        ints, clocks = self.guest.table.ints, self.guest.clocks
        low, step = self.env.now_ns, 1
        if class_work(ints, clocks, c, low + 1) > work_ns:
            return low
        while class_work(ints, clocks, c, low + step + 1) <= work_ns:
            step *= 2
            if step > 1 << 40:
                return NEVER
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if class_work(ints, clocks, c, middle + 1) > work_ns else (middle, high)
        return high

    # what the host does

    def _rows(self, vcpu: int) -> list[int]:
        return np.flatnonzero(self.guest.clock_vcpu == vcpu).tolist()

    def resume(self, vcpu: int) -> None:
        for row in self._rows(vcpu):
            pacing.resume(self.guest.clocks[row], self.env.now_ns)

    page_is_there = resume

    def work_ns(self) -> int:
        return sum(int(pacing.work_at(row, self.env.now_ns)) for row in self.guest.clocks)

    def _read(self, vcpu: int, page: int) -> Generator[simpy.Event, Any, None]:
        self.swap_ins += 1
        self.swap_wait_ns += self.shortage.read_ns
        yield self.env.timeout(self.shortage.read_ns)
        self.backing[page] = RESIDENT
        self.resume(vcpu)

    def swap_out(self, run_ns: int) -> Generator[simpy.Event, Any, None]:
        for at_ns, page in self.shortage.outs:
            yield self.env.timeout(max(0, run_ns + at_ns - self.env.now_ns))
            if self.backing[page] == RESIDENT:
                self.backing[page] = SWAPPED


class PlainHost:
    """The destination's host; frames: those that it has given out."""

    def __init__(self, vm: Any, missing: Any, shortage: Shortage) -> None:
        self.vm, self.shortage, self.allocations, self.frames = PlainGuest(vm, missing, shortage), shortage, 0, 0

    def serve(self, there: LiveDestination) -> None:
        self.vm.there = there
        self.vm.env.process(self.vm.swap_out(there.run_ns))

    def allocate(self) -> Generator[simpy.Event, Any, int]:
        number = self.allocations
        self.allocations += 1
        wait_ns = self.shortage.allocation_ns[number % len(self.shortage.allocation_ns)]
        if wait_ns:
            yield self.vm.env.timeout(wait_ns)
        frames = self.shortage.frames[number % len(self.shortage.frames)]
        self.frames += frames
        return frames

    def give_back(self, n_frames: int) -> None:
        self.frames -= n_frames

    def check(self) -> None:
        filled = np.isin(self.vm.backing, (RESIDENT, SWAPPED)).sum()
        assert self.frames <= filled, "frames that hold no page were not given back"


# -- the twin


class Loader:
    """A thread of the destination that reads a channel and places page after page."""

    def __init__(self, phase: TwinShortPhase, kind: int, free_ns: int) -> None:
        self.phase, self.kind, self.free_ns = phase, kind, free_ns
        self.queue: deque[tuple[int, int, int, Callable[[], None]]] = deque()

    def put(self, gfn: int, cost_ns: int, arrived_ns: int, placed: Callable[[], None]) -> None:
        self.queue.append((gfn, cost_ns, arrived_ns, placed))
        if len(self.queue) == 1:
            self._next()

    def _next(self) -> None:
        if self.queue:
            _, cost_ns, arrived_ns, _ = self.queue[0]
            self._at(max(self.free_ns, arrived_ns) + cost_ns, self.kind, self._place)

    def _at(self, ns: int, kind: int, call: Callable[[], None]) -> None:
        life = self.phase.life
        self.phase._at(ns, kind, lambda: call() if life == self.phase.life else None)

    def _place(self) -> None:
        phase = self.phase
        gfn, _, _, placed = self.queue[0]
        if not phase.m.memory.is_zero(gfn):
            if not phase.frames:
                wait_ns, frames = phase.allocation()
                phase._at(phase.now + wait_ns, HOST, lambda: phase.got(frames))
                self._at(phase.now + wait_ns, self.kind, self._place)
                return
            phase.frames -= 1
        self.queue.popleft()
        self.free_ns = phase.now
        placed()
        self._next()


class TwinShortPhase(TwinPhase):
    seed = 0

    def __init__(self, spec: MachineSpec, migration: Any, arrived_ns: int, run_ns: int) -> None:
        super().__init__(spec, migration, arrived_ns, run_ns)
        self.shortage = shortage_of(self.seed, len(self.m.memory.content))
        self.loaders = {kind: Loader(self, kind, arrived_ns) for kind in (PLACE, PLACE_URGENT)}
        self.frames = self.allocations = self.swap_ins = self.swap_wait_ns = 0
        self.swapped: set[int] = set()
        for at_ns, page in self.shortage.outs:
            self._at(max(self.now, run_ns + at_ns), HOST, lambda page=page: self._swap_out(page))

    def allocation(self) -> tuple[int, int]:
        number = self.allocations
        self.allocations += 1
        waits, frames = self.shortage.allocation_ns, self.shortage.frames
        return waits[number % len(waits)], frames[number % len(frames)]

    def got(self, frames: int) -> None:
        self.frames += frames

    def _swap_out(self, page: int) -> None:
        if page not in self.missing and not self.m.memory.is_zero(page):
            self.swapped.add(page)

    # places

    def _flush(self, t_ns: int, other: int = 0) -> None:
        for gfn, n_bytes in self.gathered:
            arrived = self._link(t_ns, n_bytes)
            cost = self.costs.place_page_ns if n_bytes >= 4104 else self.costs.place_zero_ns
            self.wire.append((gfn, n_bytes, 0))
            self.unread += n_bytes
            self.loaders[PLACE].put(gfn, cost, arrived, lambda life=self.life: self._read(life))
        if other:
            self._link(t_ns, other)
        self._written()

    def _send_urgent(self, gfn: int | None, n_bytes: int, is_zero: bool, t_ns: int) -> None:
        assert gfn is not None
        arrived = t_ns + self.latency
        if self.rate:
            ahead = min(max(self.free_ps - t_ns * 1000, 0), 10**9)
            wire = n_bytes * 10**12 // self.rate
            arrived += -(-(ahead + wire) // 1000)
            self.free_ps = max(self.free_ps, t_ns * 1000) + wire
        cost = self.costs.place_zero_ns if is_zero else self.costs.place_page_ns
        self.urgent_bytes += n_bytes
        self.urgent_left += 1
        self.loaders[PLACE_URGENT].put(gfn, cost, arrived, lambda life=self.life: self._read_urgent(gfn, life))

    def _wait_for_room(self) -> None:
        self.until(1 << 62, -2, lambda: not self.blocked)

    def _disconnect(self) -> None:
        for loader in self.loaders.values():
            loader.queue.clear()

    def _connect_again(self) -> None:
        for loader in self.loaders.values():
            loader.free_ns = self.now

    # the guest

    def _access(self, stream: ClassStream, vcpu: int, entry: int) -> None:
        if entry != self.entries[vcpu]:
            return
        gfn = stream.peek()[1]
        if gfn in self.missing:
            super()._access(stream, vcpu, entry)
            self._take_back(stream)
        elif gfn in self.swapped:
            self.entries[vcpu] += 1
            for other in self.m.works:
                if other.who[1] == vcpu:
                    other.clock.leave(self.now)
            self.swap_ins += 1
            self.swap_wait_ns += self.shortage.read_ns
            self._at(self.now + self.shortage.read_ns, HOST, lambda: self._swapped_in(vcpu, gfn))
        else:
            super()._access(stream, vcpu, entry)

    @staticmethod
    def _take_back(stream: ClassStream) -> None:
        """The access is made when the vCPU runs again."""
        stream.shared[stream.is_write].appendleft(stream.faulted)

    def _swapped_in(self, vcpu: int, gfn: int) -> None:
        self.swapped.discard(gfn)
        self._run_again(vcpu)

    def figures(self) -> dict[str, Any]:
        return super().figures() | {"swap_ins": [self.swap_ins, self.swap_wait_ns, self.allocations]}


class KeptStream(ClassStream):
    """Remembers the touch that was taken last."""

    faulted: Any = None

    def pop(self) -> Any:
        self.faulted = super().pop()
        return self.faulted


def short_facts(seed: int, patched: Callable[..., None]) -> Facts:
    """Facts of the twin of machine ``seed`` with a short destination; ``patched``: sets attributes."""
    patched(TwinShortPhase, "seed", seed)
    patched(twin_migration, "TwinPhase", TwinShortPhase)
    patched(class_streams, "ClassStream", KeptStream)
    return twin_facts(drawn_short(seed))


def short_disagreement(seed: int, patched: Callable[..., None]) -> str:
    """Empty if machine ``seed`` with a short destination gives equal facts in twin and engine."""
    hosts: list[PlainHost] = []

    def move(machine: Any) -> Callable[[Any], PlainHost]:
        def host(missing: Any) -> PlainHost:
            vm = machine.vm
            hosts.append(PlainHost(vm, missing, shortage_of(seed, vm.memory.n_pages)))
            return hosts[-1]

        return host

    def destination(migration: Any, arrived_ns: int) -> Any:
        migration.move = move(migration)
        return _ORIGINAL(migration, arrived_ns)

    patched(steps, "_destination", destination)
    spec, expected = drawn_short(seed), short_facts(seed, patched)
    if expected["end_ns"] == spec.duration_ns:
        return ""
    if "latencies" in expected:
        expected["latencies"] = (len(expected["latencies"]), sum(expected["latencies"]))
    for knobs in (Knobs(), drawn_knobs(seed)):
        got = engine_facts(spec, knobs)
        if expected["switched"]:
            guest = hosts[-1].vm
            got["swap_ins"] = [guest.swap_ins, guest.swap_wait_ns, hosts[-1].allocations]
        if difference := first_difference(expected, got):
            return f"{seed}: {knobs}: {difference[:1000]}"
    return ""


_ORIGINAL = steps._destination
