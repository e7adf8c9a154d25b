"""A guest that exits, one SimPy process a vCPU, one event a step of an access."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import simpy

from tests.twins.exits_case import Case, Program
from tests.twins.exits_lock import TwinLock
from tests.twins.exits_memory import TwinMappings
from tests.twins.instant import FIRST_GUEST_PRIORITY

PML_ENTRIES = 512
Process = Generator[simpy.Event, Any, None]


class TwinExits:
    """All vCPUs of a case on one clock, what they share, and what is counted."""

    def __init__(self, case: Case) -> None:
        self.case, self.env = case, simpy.Environment()
        self.mappings, self.lock = TwinMappings(case), TwinLock(self.env)
        self.exits: Counter[str] = Counter()
        self.wait_ns = self.hold_ns = 0
        self.log: list[tuple[int, int, int, str]] = []
        self.vcpus = [TwinVcpu(self, v, program) for v, program in enumerate(case.programs)]

    def run_until(self, horizon_ns: int) -> None:
        """Everything strictly below ``horizon_ns``."""
        while self.env.peek() < horizon_ns:
            self.env.step()

    def run(self) -> None:
        self.env.run()


class TwinVcpu:
    """A closed loop of accesses."""

    def __init__(self, guest: TwinExits, rank: int, program: Program) -> None:
        self.guest, self.rank, self.program = guest, rank, program
        self.env, self.costs, self.mappings = guest.env, guest.case.costs, guest.mappings
        self.pml = program.pml
        self.finish_ns = -1
        self.env.process(self._run())

    def _later(self, ns: int) -> simpy.Event:
        """An event ``ns`` from now; of one instant, vCPUs come by rank."""
        event = simpy.Event(self.env)
        event._ok, event._value = True, None
        self.env.schedule(event, priority=FIRST_GUEST_PRIORITY + self.rank, delay=ns)
        return event

    def _run(self) -> Process:
        yield self._later(self.program.start_ns)
        for page in self.program.pages():
            if page != self.program.first:
                yield self._later(self.program.loop_ns)
            yield from self._access(page)
        self.finish_ns = self.env.now

    def _access(self, page: int) -> Process:
        while kind := self.mappings.needs(page, self.program.is_write):
            yield from self._exit(page, kind)
        if self.program.is_write and self.mappings.hardware_logs(page):
            yield self._later(self._pml_ns())

    def _pml_ns(self) -> int:
        self.pml += 1
        if self.pml < PML_ENTRIES:
            return self.costs.pml_ns
        self.pml = 0
        self.guest.exits["pml_full"] += 1
        return self.costs.pml_ns + self.costs.exit_ns + self.costs.pml_drain_ns + self.costs.entry_ns

    def _exit(self, page: int, kind: str) -> Process:
        drain_ns = self.costs.pml_drain_ns * self.pml // PML_ENTRIES
        self.pml = 0
        yield self._later(self.costs.exit_ns + drain_ns)
        if self.costs.mode[kind] == "none":
            yield from self._lockless(page, kind)
        else:
            yield from self._locked(page, self.costs.mode[kind])
        yield self._later(self.costs.entry_ns)

    def _lockless(self, page: int, kind: str) -> Process:
        yield self._later(self.costs.hold_ns[kind])
        still = self.mappings.needs(page, self.program.is_write) == kind
        self._set(page, kind if still else "spurious")

    def _locked(self, page: int, mode: str) -> Process:
        asked_ns = self.env.now
        others = yield self.guest.lock.request(mode)
        self.guest.wait_ns += self.env.now - asked_ns
        kind = self.mappings.needs(page, self.program.is_write) or "spurious"
        hold_ns = self._hold_ns(kind, mode, others)
        self.guest.hold_ns += hold_ns
        yield self._later(hold_ns)
        if mode == "shared" and self.mappings.needs(page, self.program.is_write) != kind:
            kind = "spurious"
        self._set(page, kind)
        self.guest.lock.release(mode)

    def _hold_ns(self, kind: str, mode: str, others: int) -> int:
        if kind == "spurious":
            return self.costs.spurious_ns
        queue_ns = self.costs.queue_ns[mode]
        return self.costs.hold_ns[kind] + queue_ns[min(others, len(queue_ns) - 1)]

    def _set(self, page: int, kind: str) -> None:
        self.mappings.handle(kind, page, self.program.is_write)
        self.guest.exits[kind] += 1
        self.guest.log.append((self.env.now, self.rank, page, kind))
