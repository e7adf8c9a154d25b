"""The page tables of the twin's guest: tables that it has written, and KVM's work whenever a vCPU exits for them."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

import simpy

from hostsim.guest.workload import Workload, part_sizes
from tests.twins.clock import TwinClock
from tests.twins.kvm_case import REGION_PAGES
from tests.twins.streams import _stream, through_windows

if TYPE_CHECKING:
    from tests.twins.kvm_host import TwinHost, TwinThread
    from tests.twins.kvm_vcpu import TwinVcpu

Process = Generator[simpy.Event, Any, Any]
COUNTS = (
    "cr3_loads", "cr3_ns", "unsync_tables", "synced_sptes", "dropped_sptes", "table_exits_ns", "root_misses", "invlpgs",
    "forks", "emulated_writes", "zapped_directories",
)  # fmt: skip


class TwinSpace:
    """Tables (gfns) of one address space. ``writers``: (workload, vCPU) whose writes change entries of these and others.

    process: number of the process that has it. leftover: sptes of the processes before, None if they are compared.
    """

    def __init__(self, load: Workload, tables: range, n_together: int, writers: list[tuple[int, int]]) -> None:
        self.load, self.tables, self.n_together, self.writers = load, tables, n_together, writers
        self.seen = self.invalidated = self.process = 0
        self.leftover: int | None = None
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
    """All of them; each vCPU of such a workload has a thread of its own for its exits."""

    def __init__(self, host: TwinHost) -> None:
        self.host, self.env, self.memory, self.case = host, host.env, host.memory, host.guest.case
        self.counts = dict.fromkeys(COUNTS, 0)
        for w, load in enumerate(self.case.workloads):
            if load.cr3_load_rate_per_s:
                self._add(w, load)

    def _add(self, w: int, load: Workload) -> None:
        first, own = load.first_gfn, []
        for vcpu, size in zip(load.vcpus, part_sizes(load), strict=True):
            if load.split or not own:
                writers = [(w, vcpu)] if load.split else [(w, one) for one in load.vcpus]
                bounds = [first + size * i // load.processes for i in range(load.processes + 1)]
                own = [TwinSpace(load, range(a, b), size, writers) for a, b in pairwise(bounds)]
                first += size
                for table in [table for space in own for table in space.tables]:
                    self.memory.flags(table).discard("writable")
            TableThread(self, self.host.threads[vcpu], own, load)

    def written(self, space: TwinSpace) -> int:
        """Writes before the work of now; one of the instant in which a clock stopped counts from the next entry on."""
        done = sum(self._written_by(self.case.workloads[w], v, self.host.guest.clocks[w, v]) for w, v in space.writers)
        return done * len(space.tables) // space.n_together

    def _written_by(self, load: Workload, vcpu: int, clock: TwinClock) -> int:
        done_ns = clock.work_before(self.env.now)
        touches = _stream(load, load.vcpus.index(vcpu), load.write_rate_per_s, True, None)
        return sum(1 for _ in takewhile(lambda touch: touch[0] < done_ns, through_windows(load.active, touches)))

    def unsync(self, space: TwinSpace) -> list[int]:
        return sorted(self.memory.made_writable & set(space.tables))

    def sync(self, vcpu: TwinVcpu, space: TwinSpace, loses_w: bool = False) -> Process:
        tables = self.unsync(space)
        if not tables:
            return
        written = self.written(space)
        each, more = divmod(written - space.seen, len(tables))
        space.seen, space.invalidated = written, 0
        changed = {table: space.change(table, each + (i < more)) for i, table in enumerate(tables)}
        late: dict[str, list[int]] = {"gone": [], "protected": []}
        while tables:
            batch, tables = tables[: self.case.sync_tables], tables[self.case.sync_tables :]
            work = self._some(space, batch, changed, late, loses_w, is_last=not tables)
            yield from self.host.lock.during("exclusive", work, vcpu)

    def _some(
        self, space: TwinSpace, tables: list[int], changed: dict[int, list[int]], late: dict[str, list[int]], loses_w: bool,
        *, is_last: bool,
    ) -> Process:  # fmt: skip
        if any("writable" in self.memory.flags(table) for table in tables):
            yield from self.host.flush()
            for table in tables:
                self.memory.flags(table).discard("writable")
        self.memory.made_writable -= set(tables)
        present = [page for table in tables for page in space.mapped_by(table) if self._has_spte(page)]
        gone = [page for table in tables for page in changed[table] if self._has_spte(page)]
        lose = [page for page in present if loses_w and page not in gone and "writable" in self.memory.flags(page)]
        prices = self.case.table_ns
        ns = len(tables) * prices["sync_table_ns"] + len(present) * prices["sync_spte_ns"]
        ns += len(gone) * prices["sync_drop_ns"] + len(lose) * prices["sync_protect_ns"]
        yield self.env.timeout(max(1, round(ns)))
        self.counts["unsync_tables"] += len(tables)
        self.counts["synced_sptes"] += len(present)
        self.counts["dropped_sptes"] += len(gone)
        late["gone"] += gone
        late["protected"] += lose
        if is_last and (late["gone"] or late["protected"]):
            yield from self.host.flush()
            self._zap(late["gone"])
            for page in late["protected"]:
                self.memory.flags(page).discard("writable")

    def _has_spte(self, page: int) -> bool:
        return "present" in self.memory.flags(page)

    def _zap(self, pages: list[int]) -> None:
        for page in pages:
            self.memory.zap(range(page, page + 1))

    def locked(self, vcpu: TwinVcpu, ns: float, *, flushes: bool = False) -> Process:
        def work() -> Process:
            yield self.env.timeout(max(1, round(ns)))
            if flushes:
                yield from self.host.flush()

        yield from self.host.lock.during("exclusive", work(), vcpu)

    def invalidate(self, vcpu: TwinVcpu, space: TwinSpace) -> Process:
        prices, tables, gone = self.case.table_ns, self.unsync(space), []
        self.counts["invlpgs"] += 1
        ns = prices["invlpg_ns"]
        if tables:
            ns += prices["invlpg_spte_ns"]
            if self.written(space) > space.seen:
                gone = [page for page in space.change(tables[space.invalidated % len(tables)], 1) if self._has_spte(page)]
                space.seen += 1
                space.invalidated += 1
        yield from self.locked(vcpu, ns + len(gone) * prices["sync_drop_ns"], flushes=bool(gone))
        self.counts["dropped_sptes"] += len(gone)
        self._zap(gone)

    def write_each(self, vcpu: TwinVcpu, space: TwinSpace) -> Process:
        """The first write to each table that is in sync."""
        for table in [one for one in space.tables if one not in self.memory.made_writable]:
            yield from self.fault(vcpu, vcpu.costs.hold_ns["wp"])
            self.memory.made_writable.add(table)

    def fault(self, vcpu: TwinVcpu, hold_ns: float, *, flushes: bool = False) -> Process:
        yield self.env.timeout(vcpu.costs.exit_ns + vcpu.costs.entry_ns)
        yield from self.locked(vcpu, hold_ns, flushes=flushes)

    def end(self, vcpu: TwinVcpu, space: TwinSpace) -> Process:
        """All tables are written and taken out of their directories, these out of theirs."""
        yield from self.write_each(vcpu, space)
        below = len(space.tables)
        for _ in range(3):
            for at in range(0, below, REGION_PAGES):
                yield from self._empty(vcpu, min(REGION_PAGES, below - at))
            below = -(-below // REGION_PAGES)
        mapped = [page for table in space.tables for page in space.mapped_by(table) if self._has_spte(page)]
        self._zap(mapped)
        space.process += 1
        space.leftover = (space.leftover or 0) + len(mapped)
        self.memory.made_writable |= set(space.tables)

    def _empty(self, vcpu: TwinVcpu, entries: int) -> Process:
        prices, wp_ns = self.case.table_ns, vcpu.costs.hold_ns["wp"]
        for entry in range(entries):
            if entry == 3:
                yield from self.fault(vcpu, wp_ns)
                return
            self.counts["emulated_writes"] += 1
            yield self.env.timeout(max(1, round(prices["emulate_write_ns"])))
            zap_ns = prices["zap_table_ns"] + entries * prices["zap_entry_ns"] if entry == 2 else 0
            self.counts["zapped_directories"] += entry == 2
            yield from self.fault(vcpu, wp_ns + zap_ns, flushes=True)

    def link(self, vcpu: TwinVcpu, space: TwinSpace) -> Process:
        left, space.leftover, prices = space.leftover or 0, None, self.case.table_ns
        n = len(space.tables)
        for i in range(n):
            sptes = left * (i + 1) // n - left * i // n
            ns = vcpu.costs.hold_ns["map"] + prices["sync_table_ns"]
            ns += sptes * (prices["sync_spte_ns"] + prices["sync_drop_ns"])
            yield from self.fault(vcpu, ns, flushes=sptes > 0)
            self.counts["unsync_tables"] += 1
            self.counts["synced_sptes"] += sptes
            self.counts["dropped_sptes"] += sptes


class TableThread:
    """The exits of one vCPU for its page tables: it comes out at its work, stays out for KVM's work, and goes on."""

    def __init__(self, spaces: TwinSpaces, thread: TwinThread, own: list[TwinSpace], load: Workload) -> None:
        self.spaces, self.thread, self.own, self.at = spaces, thread, own, 0
        self.roots = [(0, 0)]
        rates = {"fork": load.fork_rate_per_s, "invlpg": load.invlpg_rate_per_s, "cr3": load.cr3_load_rate_per_s}
        self.gaps = {kind: Fraction(1_000_000_000 * len(load.vcpus)) / rate for kind, rate in rates.items() if rate}
        self.done = dict.fromkeys(self.gaps, 0)
        thread.work_done = self._begin
        self._await_next()

    def _due(self, kind: str) -> int:
        gap = self.gaps[kind] * (self.done[kind] + 1)
        return -(-gap.numerator // gap.denominator)

    def _await_next(self) -> None:
        vcpu = self.thread.vcpu
        vcpu.stop_work_ns = min(map(self._due, self.gaps))
        self.kinds = [kind for kind in self.gaps if self._due(kind) == vcpu.stop_work_ns]
        for kind in self.kinds:
            self.done[kind] += 1
        if vcpu.stage == "guest":
            vcpu._await_touch()

    def _begin(self) -> None:
        self.thread.syncs = True
        # A flush may follow at once: whether it comes before or after an access of this instant is not defined.
        if any(vcpu.passed_ns == self.spaces.env.now for vcpu in self.spaces.host.guest.vcpus):
            self.spaces.host.instants.tie()
        env, name = self.spaces.env, f"tables {self.thread.vcpu.rank}"
        env.process(self.spaces.host.instants.watch(name, self._exits()))

    def _exits(self) -> Process:
        env, counts = self.spaces.env, self.spaces.counts
        trip_ns = self.thread.vcpu.costs.exit_ns + self.thread.vcpu.costs.entry_ns
        yield env.timeout(0)
        for i, kind in enumerate(self.kinds):
            if i:
                yield env.timeout(trip_ns)
            out_ns = env.now
            yield from self._exit(kind)
            counts["cr3_ns" if kind == "cr3" else "table_exits_ns"] += env.now - out_ns + trip_ns
        self._await_next()
        self.thread.syncs = False
        self.thread.go_on()

    def _exit(self, kind: str) -> Process:
        spaces, vcpu = self.spaces, self.thread.vcpu
        space, next_one = self.own[self.at], (self.at + 1) % len(self.own)
        if kind == "invlpg":
            yield from spaces.invalidate(vcpu, space)
        elif kind == "fork":
            spaces.counts["forks"] += 1
            yield from spaces.write_each(vcpu, space)
            yield spaces.env.timeout(vcpu.costs.exit_ns + vcpu.costs.entry_ns)
            yield from spaces.sync(vcpu, space, loses_w=True)
            yield from spaces.end(vcpu, self.own[next_one])
        else:
            self.at = next_one
            yield from self._load(vcpu, self.own[next_one])

    def _load(self, vcpu: TwinVcpu, space: TwinSpace) -> Process:
        counts, root = self.spaces.counts, (self.at, space.process)
        counts["cr3_loads"] += 1
        if root not in self.roots:
            counts["root_misses"] += 1
            yield from self.spaces.locked(vcpu, self.spaces.case.table_ns["root_load_ns"])
        self.roots = [root, *(one for one in self.roots if one != root)][:4]
        yield from self.spaces.sync(vcpu, space) if space.leftover is None else self.spaces.link(vcpu, space)
