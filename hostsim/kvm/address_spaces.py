"""Guests that write their page tables under shadow paging: tables that go out of sync, and their sync at a CR3 load.

KVM write-protects the guest's page tables. The first write to a table of the lowest level is a fault, after which the table
is writable and its shadow page ``unsync``; further writes to it are no exits. A CR3 load is an exit. KVM then protects the
unsync tables of the address space again, compares each spte with the guest's entry, and drops the sptes of changed entries.

Linux arch/x86/kvm/mmu/mmu.c::mmu_try_to_unsync_pages, ::kvm_mmu_sync_roots, ::mmu_sync_children;
arch/x86/kvm/mmu/paging_tmpl.h::FNAME(sync_spte) (6.3 to 6.18; before 6.3 FNAME(sync_page) does the same work).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.costs.costs import number
from hostsim.costs.exits import EXCLUSIVE
from hostsim.guest.pacing import work_at
from hostsim.guest.touch import touch_index, window_local
from hostsim.guest.workload import Workload, part_sizes
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.tally import TableCounts
from hostsim.spte_index.spte import PRESENT, REGION_PAGES, WRITABLE

Pages = NDArray[np.int64]
Step = Generator[simpy.Event, Any, None]
TABLES_AT_ONCE = 13
"""Tables between two looks at waiters of mmu_lock: the 16 of KVM_PAGE_ARRAY_NR, less the three tables above them."""


@dataclass(frozen=True)
class SyncCosts:
    """Prices of a sync under mmu_lock [ns].

    table_ns: an unsync table: protecting it and reading its 512 sptes.
    spte_ns: comparing an spte that is present with the guest's entry.
    drop_ns: dropping an spte.
    tables_at_once: tables between two looks at waiters.
    """

    table_ns: float
    spte_ns: float
    drop_ns: float
    tables_at_once: int = TABLES_AT_ONCE


def sync_costs(sheet: str) -> SyncCosts:
    """The prices of ``sheet``, a name or a path; a file that has none and borrows none takes those of cascade-lake."""
    return SyncCosts(_price(sheet, "sync_table_ns"), _price(sheet, "sync_spte_ns"), _price(sheet, "sync_drop_ns"))


def _price(sheet: str, name: str) -> float:
    try:
        return number(sheet, name).value
    except KeyError:
        return number("cascade-lake", name).value


class Space:
    """An address space: page tables of the lowest level, one a page, that vCPUs write and load together.

    Table i of the workload's region maps the i-th 512 pages of the VM.

    first, end: gfns of the tables.
    unsync: bool[n_tables], tables that may have changed since KVM compared them.
    """

    def __init__(self, load: Workload, first: int, n_tables: int, clocks: NDArray[np.int64]) -> None:
        """clocks: rows of the work clocks of the vCPUs that write these tables."""
        self.first, self.end = first, first + n_tables
        self.unsync = np.zeros(n_tables, np.bool_)
        self._load, self._clocks = load, clocks
        rate = load.write_rate_per_s / (len(load.vcpus) * NS_PER_S)
        self._per_ns = rate.limit_denominator((1 << 31) - 1)
        self._next_entry = np.zeros(n_tables, np.int64)
        self._taken = 0

    def table_base(self, table: int) -> int:
        """First gfn that table number ``table`` of the space maps."""
        return (self.first - self._load.first_gfn + table) * REGION_PAGES

    def take_changes(self, now_ns: int) -> int:
        """Entries that the guest has changed since the last call; now_ns: the host's clock."""
        done = sum(self._writes_by(clock, now_ns) for clock in self._clocks)
        changes, self._taken = done - self._taken, done
        return changes

    def _writes_by(self, clock: NDArray[np.int64], now_ns: int) -> int:
        work_ns, active = int(work_at(clock, now_ns)), self._load.active
        if active is not None:
            work_ns = int(window_local(active.start_ns, active.length_ns, active.period_ns, work_ns))
        return int(touch_index(self._per_ns.numerator, self._per_ns.denominator, work_ns))

    def change(self, table: int, n: int) -> Pages:
        """Gfns under the next ``n`` entries of ``table``, which the guest goes through in order, round and round."""
        first = int(self._next_entry[table])
        self._next_entry[table] = (first + n) % REGION_PAGES
        entries = (first + np.arange(min(n, REGION_PAGES))) % REGION_PAGES
        return np.sort(self.table_base(table) + entries)


class AddressSpaces:
    """The address spaces of a VM, and a process a vCPU that loads CR3.

    counts: work on the page tables so far.
    """

    def __init__(self, vm: LiveVm, costs: SyncCosts) -> None:
        """Protect all tables, as a guest has them that has loaded CR3 just now, and start the processes."""
        self.counts = TableCounts()
        self._vm, self._costs, self._engine = vm, costs, vm.engine
        self._spaces: list[Space] = []
        for vcpu, space, gap_ns in self._loads():
            vm.env.process(self._load_cr3(vcpu, space, gap_ns))
        for space in self._spaces:
            self._engine.mmu.write_protect(np.arange(space.first, space.end), vm.env.now_ns)
        self._engine.mmu.before_protection(self._note_unsync)

    def _loads(self) -> Iterator[tuple[int, Space, Fraction]]:
        """(vCPU, its address space, its work from one CR3 load to the next [ns])."""
        guest = self._vm.guest
        for w, load in enumerate(guest.workloads):
            if load.cr3_load_rate_per_s == 0:
                continue
            first = int(np.flatnonzero(guest.clock_workload == w)[0])
            spaces = list(_spaces_of(load, guest.clocks[first : first + len(load.vcpus)]))
            self._spaces += spaces
            gap_ns = Fraction(NS_PER_S * len(load.vcpus)) / load.cr3_load_rate_per_s
            for i, vcpu in enumerate(load.vcpus):
                yield vcpu, spaces[i if load.split else 0], gap_ns

    def _load_cr3(self, vcpu: int, space: Space, gap_ns: Fraction) -> Step:
        """The exits of ``vcpu`` for CR3 loads, which come at even distances of the work of its first clock."""
        # Model limit: a CR3 load costs leaving and entering the guest, and the sync. KVM's search for a cached root is not
        # modelled, nor a flush of the vCPU's own TLB, nor INVLPG, which syncs one entry (mmu.c::kvm_mmu_invalidate_addr).
        thread, costs, n = self._vm.vcpus[vcpu], self._engine.kvm.costs, 0
        while True:
            n += 1
            done = thread.leave_at(-int(-n * gap_ns // 1))
            if n > 1:
                thread.release()
            yield done
            left_ns = self._vm.env.now_ns
            self.counts.cr3_loads += 1
            yield from self._sync(space)
            self.counts.cr3_ns += self._vm.env.now_ns - left_ns + int(costs.exit_ns + costs.entry_ns)

    def _note_unsync(self) -> None:
        """Keep which tables are writable, just before the log or a notifier takes W from pages: they stay unsync."""
        for space in self._spaces:
            space.unsync |= self._is_writable(space)

    def _is_writable(self, space: Space) -> NDArray[np.bool_]:
        flags = self._engine.kvm.sptes.spte[space.first : space.end]
        return np.asarray(flags & WRITABLE != 0)

    def _sync(self, space: Space) -> Step:
        """kvm_mmu_sync_roots: takes mmu_lock exclusively, once for each TABLES_AT_ONCE tables; none if all are in sync."""
        # Model limit: tables that go out of sync while a sync waits or works are left to the next one; KVM takes them along.
        # Model limit: mmu_lock takes the sync for a thread of the host: its word costs a change (120 ns with cascade-lake)
        # although the vCPU itself may have had it last.
        self._note_unsync()
        tables = np.flatnonzero(space.unsync)
        if not len(tables):
            return
        # Model limit: the first write to a table costs what a first write to a logged page costs (measured: 1 to 6 % more).
        # A table whose spte a fault beside it prefetches counts as written; KVM leaves the table protected.
        # Model limit: the writes since the last sync are spread evenly over the tables that they have made unsync.
        each, more = divmod(space.take_changes(self._vm.env.now_ns), len(tables))
        changed = [space.change(table, each + (i < more)) for i, table in enumerate(tables.tolist())]
        dropped: list[Pages] = []
        step = self._costs.tables_at_once
        for at in range(0, len(tables), step):
            is_last = at + step >= len(tables)
            some = tables[at : at + step]
            work = self._sync_some(space, some, changed[at : at + step], dropped, is_last=is_last)
            yield from self._vm.lock.during(EXCLUSIVE, work)

    def _sync_some(
        self, space: Space, tables: Pages, changed: Sequence[Pages], dropped: list[Pages], *, is_last: bool
    ) -> Step:
        """mmu_sync_children's turn: protect ``tables`` and flush, compare, and after the last tables flush once more.

        changed: gfns under changed entries, by table. dropped: in place: gets gfns whose sptes go.
        """
        env = self._vm.env
        if self._is_writable(space)[tables].any():
            yield from self._vm.flush()
            self._engine.mmu.write_protect(space.first + tables, env.now_ns)
        space.unsync[tables] = False
        flags = self._engine.kvm.sptes.spte
        compared = sum(int(np.count_nonzero(flags[base : base + REGION_PAGES] & PRESENT))
                       for base in map(space.table_base, tables.tolist()))  # fmt: skip
        gone = [gfns[flags[gfns] & PRESENT != 0] for gfns in changed]
        dropped += gone
        n_gone = sum(map(len, gone))
        yield env.timeout(max(1, round(self._hold_ns(len(tables), compared, n_gone))))
        self.counts.unsync_tables += len(tables)
        self.counts.synced_sptes += compared
        self.counts.dropped_sptes += n_gone
        if is_last and any(map(len, dropped)):
            yield from self._vm.flush()
            self._engine.mmu.zap_pages(np.concatenate(dropped), env.now_ns)

    def _hold_ns(self, tables: int, sptes: int, dropped: int) -> float:
        costs = self._costs
        return tables * costs.table_ns + sptes * costs.spte_ns + dropped * costs.drop_ns


def _spaces_of(load: Workload, clocks: NDArray[np.int64]) -> Iterator[Space]:
    """One space a vCPU with ``split``, else one of all vCPUs; clocks: rows of ``load``, one a vCPU, changed in place."""
    if not load.split:
        yield Space(load, load.first_gfn, load.n_pages, clocks)
        return
    first = load.first_gfn
    for i, size in enumerate(part_sizes(load)):
        yield Space(load, first, size, clocks[i : i + 1])
        first += size
