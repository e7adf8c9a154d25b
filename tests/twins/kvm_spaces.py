"""The page tables of the twin's guest: tables that it has written, and a sync of them whenever a vCPU loads CR3."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import simpy

from hostsim.guest.workload import Workload, part_sizes
from tests.twins.clock import TwinClock
from tests.twins.kvm_case import REGION_PAGES
from tests.twins.streams import _stream, through_windows

if TYPE_CHECKING:
    from tests.twins.kvm_host import TwinHost, TwinThread

Process = Generator[simpy.Event, Any, Any]


class TwinSpace:
    """Tables (gfns) of one address space. ``writers``: (workload, vCPU) whose writes change entries."""

    def __init__(self, load: Workload, tables: range, writers: list[tuple[int, int]]) -> None:
        self.load, self.tables, self.writers = load, tables, writers
        self.seen = 0
        self.next_entry = dict.fromkeys(tables, 0)

    def mapped_by(self, table: int) -> range:
        """Gfns that the entries of a table map."""
        number = table - self.load.first_gfn
        return range(number * REGION_PAGES, (number + 1) * REGION_PAGES)

    def change(self, table: int, n: int) -> list[int]:
        """The entries are changed one after the other; gfns under them, each once."""
        gfns = set()
        for _ in range(n):
            gfns.add(self.mapped_by(table)[self.next_entry[table]])
            self.next_entry[table] = (self.next_entry[table] + 1) % REGION_PAGES
        return sorted(gfns)


class TwinSpaces:
    """All of them; each vCPU of such a workload has a thread of its own for its CR3 loads."""

    def __init__(self, host: TwinHost) -> None:
        self.host, self.env, self.memory, self.case = host, host.env, host.memory, host.guest.case
        self.counts = {"cr3_loads": 0, "cr3_ns": 0, "unsync_tables": 0, "synced_sptes": 0, "dropped_sptes": 0}
        for w, load in enumerate(self.case.workloads):
            if load.cr3_load_rate_per_s:
                self._add(w, load)

    def _add(self, w: int, load: Workload) -> None:
        gap_ns = Fraction(1_000_000_000 * len(load.vcpus)) / load.cr3_load_rate_per_s
        first, spaces = load.first_gfn, []
        for vcpu, size in zip(load.vcpus, part_sizes(load), strict=True):
            if load.split or not spaces:
                writers = [(w, vcpu)] if load.split else [(w, one) for one in load.vcpus]
                spaces.append(TwinSpace(load, range(first, first + size), writers))
                first += size
            CrLoads(self, self.host.threads[vcpu], spaces[-1], gap_ns)
        for space in spaces:
            for table in space.tables:
                self.memory.flags(table).discard("writable")

    def written(self, writers: list[tuple[int, int]]) -> int:
        """Writes before the work of now; one of the instant in which a clock stopped counts from the next entry on."""
        return sum(self._written_by(self.case.workloads[w], v, self.host.guest.clocks[w, v]) for w, v in writers)

    def _written_by(self, load: Workload, vcpu: int, clock: TwinClock) -> int:
        done_ns = clock.work_before(self.env.now)
        touches = _stream(load, load.vcpus.index(vcpu), load.write_rate_per_s, True, None)
        return sum(1 for _ in takewhile(lambda touch: touch[0] < done_ns, through_windows(load.active, touches)))

    def sync(self, space: TwinSpace) -> Process:
        tables = sorted(self.memory.made_writable & set(space.tables))
        if not tables:
            return
        written = self.written(space.writers)
        each, more = divmod(written - space.seen, len(tables))
        space.seen = written
        changed = {table: space.change(table, each + (i < more)) for i, table in enumerate(tables)}
        dropped: list[int] = []
        while tables:
            batch, tables = tables[: self.case.sync_tables], tables[self.case.sync_tables :]
            yield from self.host.lock.during("exclusive", self._some(space, batch, changed, dropped, is_last=not tables))

    def _some(
        self, space: TwinSpace, tables: list[int], changed: dict[int, list[int]], dropped: list[int], *, is_last: bool
    ) -> Process:
        if any("writable" in self.memory.flags(table) for table in tables):
            yield from self.host.flush()
            for table in tables:
                self.memory.flags(table).discard("writable")
        self.memory.made_writable -= set(tables)
        present = [page for table in tables for page in space.mapped_by(table) if self._has_spte(page)]
        gone = [page for table in tables for page in changed[table] if self._has_spte(page)]
        table_ns, spte_ns, drop_ns = self.case.sync_ns
        ns = len(tables) * table_ns + len(present) * spte_ns + len(gone) * drop_ns
        yield self.env.timeout(max(1, round(ns)))
        self.counts["unsync_tables"] += len(tables)
        self.counts["synced_sptes"] += len(present)
        self.counts["dropped_sptes"] += len(gone)
        dropped += gone
        if is_last and dropped:
            yield from self.host.flush()
            for page in dropped:
                self.memory.zap(range(page, page + 1))

    def _has_spte(self, page: int) -> bool:
        return "present" in self.memory.flags(page)


class CrLoads:
    """The CR3 loads of one vCPU: it comes out at its work, stays out for the sync, and goes on to the next."""

    def __init__(self, spaces: TwinSpaces, thread: TwinThread, space: TwinSpace, gap_ns: Fraction) -> None:
        self.spaces, self.thread, self.space, self.gap_ns, self.n = spaces, thread, space, gap_ns, 0
        thread.work_done = self._begin
        self._await_next()

    def _await_next(self) -> None:
        self.n += 1
        vcpu = self.thread.vcpu
        vcpu.stop_work_ns = -(-self.n * self.gap_ns.numerator // self.gap_ns.denominator)
        if vcpu.stage == "guest":
            vcpu._await_touch()

    def _begin(self) -> None:
        self.thread.syncs = True
        env, name = self.spaces.env, f"CR3 {self.thread.vcpu.rank}"
        env.process(self.spaces.host.instants.watch(name, self._load()))

    def _load(self) -> Process:
        env, costs, counts = self.spaces.env, self.thread.vcpu.costs, self.spaces.counts
        yield env.timeout(0)
        out_ns = env.now
        counts["cr3_loads"] += 1
        yield from self.spaces.sync(self.space)
        counts["cr3_ns"] += env.now - out_ns + costs.exit_ns + costs.entry_ns
        self._await_next()
        self.thread.syncs = False
        self.thread.go_on()
