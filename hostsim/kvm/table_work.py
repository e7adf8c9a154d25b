"""Work of KVM on page tables that a guest under shadow paging writes: syncs, INVLPG, writes to directories, forks.

Linux arch/x86/kvm/mmu/mmu.c::mmu_try_to_unsync_pages, ::kvm_mmu_sync_roots, ::mmu_sync_children, ::kvm_mmu_load,
::kvm_mmu_invlpg, ::kvm_mmu_track_write, ::detect_write_flooding, ::kvm_mmu_find_shadow_page;
arch/x86/kvm/mmu/paging_tmpl.h::FNAME(sync_spte) (6.3 to 6.18; before 6.3 FNAME(sync_page) does the same work).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.costs.costs import number
from hostsim.costs.exits import EXCLUSIVE, MAP, WP
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.page_tables import Pages, Space, VcpuSpaces, directories
from hostsim.kvm.plan import whole_ns
from hostsim.kvm.tally import TableCounts
from hostsim.spte_index.spte import PRESENT, REGION_PAGES, WRITABLE

Step = Generator[simpy.Event, Any, None]
TABLES_AT_ONCE = 13
"""Tables between two looks at waiters of mmu_lock: the 16 of KVM_PAGE_ARRAY_NR, less the three tables above them."""
FLOODED = 3
"""The write to a directory, without a fault through it in between, at which detect_write_flooding has KVM zap it."""


@dataclass(frozen=True)
class TableCosts:
    """Prices of work on page tables [ns]; all but emulate_write_ns are paid under mmu_lock.

    sync_table_ns: an unsync table: protecting it and reading its 512 sptes.
    sync_spte_ns: comparing an spte that is present with the guest's entry.
    sync_drop_ns: dropping an spte.
    sync_protect_ns: taking W from an spte whose entry has lost it.
    root_load_ns: a root that is not among the cached ones.
    invlpg_ns: INVLPG beside leaving and entering the guest; invlpg_spte_ns: comparing the spte if its table is unsync.
    emulate_write_ns: emulating a write, beside a write-protection fault.
    zap_table_ns: zapping the shadow page of a directory; zap_entry_ns: unlinking a table below it.
    tables_at_once: tables between two looks at waiters.
    """

    sync_table_ns: float
    sync_spte_ns: float
    sync_drop_ns: float
    sync_protect_ns: float = 0.0
    root_load_ns: float = 0.0
    invlpg_ns: float = 0.0
    invlpg_spte_ns: float = 0.0
    emulate_write_ns: float = 0.0
    zap_table_ns: float = 0.0
    zap_entry_ns: float = 0.0
    tables_at_once: int = TABLES_AT_ONCE


PRICES = tuple(one.name for one in fields(TableCosts) if one.name.endswith("_ns"))


def table_costs(sheet: str) -> TableCosts:
    """The prices of ``sheet``, a name or a path; a file that has none and borrows none takes those of cascade-lake."""
    prices: dict[str, Any] = {name: _price(sheet, name) for name in PRICES}
    return TableCosts(**prices)


def _price(sheet: str, name: str) -> float:
    try:
        return number(sheet, name).value
    except KeyError:
        return number("cascade-lake", name).value


class TableWork:
    """Work that a vCPU does outside the guest, or that faults of the vCPU do while its own clock stands still.

    counts: work so far.
    """

    def __init__(self, vm: LiveVm, costs: TableCosts, spaces: Sequence[Space]) -> None:
        self.counts = TableCounts()
        self._vm, self._costs, self._engine, self._spaces = vm, costs, vm.engine, spaces

    @property
    def round_trip_ns(self) -> int:
        """Leaving and entering the guest [ns]."""
        exits = self._engine.kvm.costs
        return int(exits.exit_ns + exits.entry_ns)

    def note_unsync(self) -> None:
        """Keep which tables are writable, just before the log or a notifier takes W from pages: they stay unsync."""
        for space in self._spaces:
            space.unsync |= self._is_writable(space)

    def _is_writable(self, space: Space) -> NDArray[np.bool_]:
        return np.asarray(self._sptes(space.first, space.end) & WRITABLE != 0)

    def _sptes(self, first: int, end: int) -> NDArray[np.uint8]:
        return np.asarray(self._engine.kvm.sptes.spte[first:end])

    def _present(self, gfns: Pages) -> Pages:
        return self._with(gfns, PRESENT)

    def _locked(self, vcpu: int, ns: float, flushes: Sequence[bool] = ()) -> Step:
        """Hold mmu_lock exclusively for ``ns`` and the flushes that are True."""
        yield from self._vm.lock.during(EXCLUSIVE, self._held(ns, flushes), vcpu)

    def _held(self, ns: float, flushes: Sequence[bool]) -> Step:
        yield self._vm.env.timeout(whole_ns(ns))
        for is_needed in flushes:
            if is_needed:
                yield from self._vm.flush()

    # A CR3 load

    def load_cr3(self, vcpu: int, spaces: VcpuSpaces) -> Step:
        """Load the next address space: find its root, then sync its tables (kvm_mmu_new_pgd, kvm_mmu_load)."""
        # Model limit: a CR3 load costs leaving and entering the guest, a root that is not cached, and the sync. A flush of
        # the vCPU's own TLB is not modelled, nor the guest's PCID, with which Linux loads CR3 without a sync.
        self.counts.cr3_loads += 1
        if not spaces.load_following():
            self.counts.root_misses += 1
            yield from self._locked(vcpu, self._costs.root_load_ns)
        if spaces.current.stale is None:
            yield from self.sync(vcpu, spaces.current)
        else:
            yield from self._link(vcpu, spaces.current)

    def sync(self, vcpu: int, space: Space, *, loses_w: bool = False) -> Step:
        """kvm_mmu_sync_roots: takes mmu_lock exclusively, once for each TABLES_AT_ONCE tables; none if all are in sync.

        loses_w: the guest has taken W from all entries.
        """
        # Model limit: tables that go out of sync while a sync waits or works are left to the next one; KVM takes them along.
        self.note_unsync()
        tables = np.flatnonzero(space.unsync)
        if not len(tables):
            return
        # Model limit: the first write to a table costs what a first write to a logged page costs (measured: 1 to 6 % more).
        # A table whose spte a fault beside it prefetches counts as written; KVM leaves the table protected.
        # Model limit: the writes since the last sync are spread evenly over the tables that they have made unsync.
        each, more = divmod(space.take_changes(self._vm.env.now_ns), len(tables))
        changed = [space.change(table, each + (i < more)) for i, table in enumerate(tables.tolist())]
        step, flushed = self._costs.tables_at_once, _Late(loses_w)
        for at in range(0, len(tables), step):
            is_last = at + step >= len(tables)
            work = self._sync_some(space, tables[at : at + step], changed[at : at + step], flushed, is_last=is_last)
            yield from self._vm.lock.during(EXCLUSIVE, work, vcpu)

    def _sync_some(self, space: Space, tables: Pages, changed: Sequence[Pages], late: _Late, *, is_last: bool) -> Step:
        """mmu_sync_children's turn: protect ``tables`` and flush, compare, and after the last tables flush once more.

        changed: gfns under changed entries, by table.
        """
        env = self._vm.env
        if self._is_writable(space)[tables].any():
            yield from self._vm.flush()
            self._engine.mmu.write_protect(space.first + tables, env.now_ns)
        space.unsync[tables] = False
        mapped = [np.arange(base, base + REGION_PAGES) for base in map(space.table_base, tables.tolist())]
        present = self._present(np.concatenate(mapped))
        gone = self._present(np.concatenate(changed))
        kept = late.protected_among(self._writable(np.setdiff1d(present, gone)))
        yield env.timeout(whole_ns(self._compare_ns(len(tables), len(present), len(gone), len(kept))))
        self._count(len(tables), len(present), len(gone))
        late.add(gone, kept)
        if is_last and late.any:
            yield from self._vm.flush()
            self._apply(late)

    def _writable(self, gfns: Pages) -> Pages:
        return self._with(gfns, WRITABLE)

    def _with(self, gfns: Pages, flag: int) -> Pages:
        return np.extract(self._engine.kvm.sptes.spte[gfns] & flag, gfns)

    def _apply(self, late: _Late) -> None:
        """Drop and protect sptes, which the flush has removed from all TLBs."""
        now_ns, dropped, protected = self._vm.env.now_ns, *late.pages()
        if len(dropped):
            self._engine.mmu.zap_pages(dropped, now_ns)
        if len(protected):
            self.note_unsync()
            self._engine.mmu.write_protect(protected, now_ns)

    def _compare_ns(self, tables: int, sptes: int, dropped: int, protected: int = 0) -> float:
        costs = self._costs
        each = tables * costs.sync_table_ns + sptes * costs.sync_spte_ns
        return each + dropped * costs.sync_drop_ns + protected * costs.sync_protect_ns

    def _count(self, tables: int, sptes: int, dropped: int) -> None:
        self.counts.unsync_tables += tables
        self.counts.synced_sptes += sptes
        self.counts.dropped_sptes += dropped

    # INVLPG

    def invalidate(self, vcpu: int, spaces: VcpuSpaces) -> Step:
        """kvm_mmu_invlpg: compare the spte of one entry that the guest has changed, if its table is unsync."""
        # Model limit: INVLPG looks at the current root alone; KVM looks at each cached one. After CR3 loads of one to four
        # roots it took 118 to 120 ns (data/kvm_real/unsync.json); no counter says whether KVM had them still.
        self.counts.invlpgs += 1
        self.note_unsync()
        table, gfns = spaces.current.invalidate(self._vm.env.now_ns)
        gone = self._present(gfns)
        compare_ns = self._costs.invlpg_spte_ns if table >= 0 else 0.0
        yield from self._locked(
            vcpu, self._costs.invlpg_ns + compare_ns + len(gone) * self._costs.sync_drop_ns, [len(gone) > 0]
        )
        self.counts.dropped_sptes += len(gone)
        if len(gone):
            self._engine.mmu.zap_pages(gone, self._vm.env.now_ns)

    # Fork and exit

    def fork(self, vcpu: int, spaces: VcpuSpaces) -> Step:
        """The current process forks; the process that comes next has ended, and the child takes its place.

        The guest takes W from all entries of the parent and loads CR3, then clears the tables of the process that has ended.
        """
        # Model limit: a fork shares all pages, and the parent's next write to each is one fault. The guest's own
        # copy on write is not modelled. Neither are vfork and posix_spawn, which leave the parent's tables alone.
        # Model limit: tables that a fork writes are not logged as dirty by these writes.
        self.counts.forks += 1
        parent, ended = spaces.current, spaces.following
        yield from self._write_all(vcpu, parent)
        yield self._vm.env.timeout(self.round_trip_ns)
        yield from self.sync(vcpu, parent, loses_w=True)
        yield from self._write_all(vcpu, ended)
        for entries in directories(ended.n_tables):
            yield from self.clear_directory(vcpu, entries)
        self._end(ended)

    def _write_all(self, vcpu: int, space: Space) -> Step:
        """The first write to each table of ``space`` that is in sync is a fault."""
        self.note_unsync()
        for table in np.flatnonzero(~space.unsync).tolist():
            yield from self._fault(vcpu, self._engine.kvm.costs.hold_ns[WP])
            space.unsync[table] = True

    def _fault(self, vcpu: int, hold_ns: float, flushes: Sequence[bool] = ()) -> Step:
        yield self._vm.env.timeout(self.round_trip_ns)
        yield from self._locked(vcpu, hold_ns, flushes)

    def clear_directory(self, vcpu: int, entries: int) -> Step:
        """The guest clears all ``entries`` of a directory: KVM emulates writes until it zaps the shadow page."""
        wp_ns = int(self._engine.kvm.costs.hold_ns[WP])
        for n in range(1, min(FLOODED, entries) + 1):
            self.counts.emulated_writes += 1
            yield self._vm.env.timeout(whole_ns(self._costs.emulate_write_ns))
            yield from self._fault(vcpu, wp_ns + (self._zap_ns(entries) if n == FLOODED else 0), [True])
        if entries >= FLOODED:
            self.counts.zapped_directories += 1
        if entries > FLOODED:  # KVM lets the guest write the page again; further writes are no exits
            yield from self._fault(vcpu, wp_ns)

    def _zap_ns(self, entries: int) -> float:
        return self._costs.zap_table_ns + entries * self._costs.zap_entry_ns

    def _end(self, space: Space) -> None:
        """No root leads to the sptes of ``space`` any more; its shadow tables hold them until KVM finds the tables again."""
        mapped = self._present(np.arange(space.mapped.start, space.mapped.stop))
        if len(mapped):
            self._engine.mmu.zap_pages(mapped, self._vm.env.now_ns)
        space.replace(len(mapped))

    def _link(self, vcpu: int, space: Space) -> Step:
        """The first fault of a process in each of its tables: KVM finds unsync shadow tables, and compares all sptes.

        kvm_mmu_find_shadow_page: the tables stay unsync until the next CR3 load.
        """
        # Model limit: the guest uses the pages of freed tables as the tables of the next process, and KVM keeps unsync
        # tables when it zaps their directory, as measured (KVM-PVM, 6.18). mmu_zap_unsync_children of Linux zaps them.
        # Model limit: new shadow pages of directories cost no more than the faults; all faults of a process in its tables
        # come at its first CR3 load.
        stale, space.stale = space.stale or 0, None
        for i in range(space.n_tables):
            sptes = stale * (i + 1) // space.n_tables - stale * i // space.n_tables
            yield from self.link_table(vcpu, sptes, sptes)

    def link_table(self, vcpu: int, sptes: int, dropped: int) -> Step:
        """A fault finds a page table whose shadow table is unsync and holds ``sptes``, of which ``dropped`` go."""
        hold_ns = self._engine.kvm.costs.hold_ns[MAP] + self._compare_ns(1, sptes, dropped)
        yield from self._fault(vcpu, hold_ns, [dropped > 0])
        self._count(1, sptes, dropped)


class _Late:
    """Sptes that a sync changes when it has compared all tables and flushed."""

    def __init__(self, loses_w: bool) -> None:
        """loses_w: sptes that stay lose W."""
        self._loses_w = loses_w
        self._dropped: list[Pages] = []
        self._protected: list[Pages] = []

    def protected_among(self, gfns: Pages) -> Pages:
        """Those of ``gfns`` that lose W."""
        return gfns if self._loses_w else gfns[:0]

    def add(self, dropped: Pages, protected: Pages) -> None:
        """Take the sptes that a turn of the sync has found."""
        self._dropped.append(dropped)
        self._protected.append(protected)

    @property
    def any(self) -> bool:
        """Whether an spte changes."""
        return any(map(len, (*self._dropped, *self._protected)))

    def pages(self) -> tuple[Pages, Pages]:
        """(gfns whose sptes go, gfns whose sptes lose W), ascending."""
        return np.unique(np.concatenate(self._dropped)), np.unique(np.concatenate(self._protected))
