"""The twin's run of a case as plain facts."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from hostsim.core.latency import Latencies
from tests.twins.kvm_actors import Actors
from tests.twins.kvm_case import Ageing, Case, Hold, Invalidation
from tests.twins.kvm_host import TwinHost
from tests.twins.kvm_trackers import tracker_of
from tests.twins.kvm_twin import TwinGuest

Facts = dict[str, Any]
Process = Generator[simpy.Event, Any, Any]


def told(found: Latencies) -> list[Any]:
    """All of a histogram."""
    ends_ns, counts = found.buckets()
    return [found.count, found.total_ns, found.min_ns, found.max_ns, ends_ns.tolist(), counts.tolist()]


class TwinPort:
    """The acts of the host threads of a case on the twin."""

    def __init__(self, case: Case) -> None:
        self.case, self.guest = case, TwinGuest(case)
        self.env, self.memory = self.guest.env, self.guest.memory
        self.host = TwinHost(self.guest)
        self.tracker = tracker_of(self.host)
        self.start_log, self.stop_log = self.tracker.start_log, self.tracker.stop_log
        self.sync, self.before_send = self.tracker.sync, self.tracker.before_send
        self.pause, self.resume, self.reap = self.host.pause, self.host.resume, self.host.rings.reap
        self.shootdown = self.host.shootdown

    def to_send(self) -> set[int]:
        return self.tracker.bitmap

    def sent(self, page: int) -> None:
        self.tracker.bitmap.remove(page)

    def fill_buffers(self) -> None:
        for vcpu, entries in zip(self.guest.vcpus, self.case.pml, strict=True):
            vcpu.pml[:0] = entries[: 511 - len(vcpu.pml)]

    def throttle(self, vcpu: int, sleep_ns: int) -> None:
        self.host.threads[vcpu].throttle(sleep_ns)

    def stop_after(self, vcpu: int, work_ns: int) -> None:
        self.guest.vcpus[vcpu].stop_after(work_ns)

    def hold(self, hold: Hold) -> Process:
        yield from self.host.lock.hold(hold.mode, lambda: hold.hold_ns, hold.unit_ns)

    def begin_invalidation(self, what: Invalidation) -> Process:
        yield from self.host.lock.during("exclusive", self._begin(range(what.first, what.end)))

    def _begin(self, pages: range) -> Process:
        self.memory.in_progress = pages
        mapped = self.memory.mapped(pages)
        yield self.env.timeout(max(1, round(len(pages) * self.case.ageing.zap_ns)))
        if mapped:
            yield from self.host.flush()
            self.memory.zap(pages)

    def end_invalidation(self, _: Invalidation) -> Process:
        yield from self.host.lock.hold("exclusive", self._end)

    def _end(self) -> float:
        self.memory.seq += 1
        self.memory.in_progress = range(0)
        return self.case.host_costs.lock_pair_ns

    def age(self, what: Ageing) -> Process:
        work = self._age(what)
        return (yield from self.host.lock.during("exclusive", work) if self.case.ageing.locked else work)

    def _age(self, what: Ageing) -> Process:
        pages, rules = range(what.first, what.end), self.case.ageing
        young = self.memory.young(pages)
        yield self.env.timeout(max(1, round(len(pages) * rules.age_ns)))
        if young and what.event != "test_young":
            flushes = rules.flush and what.event == "clear_flush_young"
            if flushes:
                yield from self.host.flush()
            young = self.memory.young(pages)
            self.memory.age(young, flushed=flushes)
        return young


class TwinRun:
    """A case from its start to ``end_ns``, everything strictly below."""

    def __init__(self, case: Case, end_ns: int | None = None) -> None:
        self.case, self.port = case, TwinPort(case)
        self.end_ns = case.end_ns if end_ns is None else end_ns
        self.actors = Actors(self.port, case)
        env, instants = self.port.env, self.port.host.instants
        for vcpu in self.port.guest.vcpus:
            vcpu.start()
        for name, process in self.actors.processes():
            env.process(instants.watch(name, process))
        if self.end_ns:
            env.run(until=self.end_ns)

    @property
    def tied_ns(self) -> int:
        return self.port.host.instants.tied_ns

    def facts(self) -> Facts:
        guest, host = self.port.guest, self.port.host
        memory = guest.memory
        return {
            "log": guest.log,
            "exits": dict(sorted(guest.exits.items())),
            **self.actors.record,
            "to_send": sorted(self.port.tracker.bitmap),
            "dirty": sorted(memory.dirty),
            "spte": {page: sorted(flags) for page, flags in sorted(memory.spte.items()) if flags},
            "giant": {block: sorted(flags) for block, flags in sorted(memory.giant.items())},
            "large": {region: sorted(flags) for region, flags in sorted(memory.large.items())},
            "blank": sorted(memory.blank),
            "host_pages": memory.pages_there(),
            "emptied": memory.emptied,
            "version": {page: n for page, n in sorted(memory.version.items()) if n},
            "buffers": [vcpu.pml for vcpu in guest.vcpus],
            "rings": memory.rings,
            "out": [vcpu.stage == "out" for vcpu in guest.vcpus],
            "ring_full": [vcpu.ring_full for vcpu in guest.vcpus],
            "stall_ns": sum(vcpu.stall_ns for vcpu in guest.vcpus),
            "work_ns": guest.work_ns(),
            "wait_ns": guest.wait_ns,
            "hold_ns": guest.hold_ns,
            "latencies": {name: told(found) for name, found in sorted(guest.latencies.items())},
            "host_wait_ns": host.lock.wait_ns,
            "host_hold_ns": host.lock.hold_ns,
            "flushes": host.flushes,
            "flush_ns": host.flush_ns,
            "page_tables": host.spaces.counts,
        }


def certain_run(case: Case) -> TwinRun:
    """Up to the case's end, or to the first instant at which two host threads go on."""
    run = TwinRun(case)
    return run if run.tied_ns < 0 else TwinRun(case, run.tied_ns)
