"""Guest address spaces under shadow paging: processes that share pages, fork, write copies, and exit.

A write of the guest to its page tables reaches KVM as an exit: KVM emulates each write, or lets the table go out of sync at
the first one and compares the table at the next CR3 load.

Linux arch/x86/kvm/mmu/mmu.c::mmu_try_to_unsync_pages, ::kvm_mmu_sync_roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.designs import make_index, tables_for
from hostsim.spte_index.protocol import BaseIndex, Slot
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.tables import ACCESSED, ENTRIES, drop_tables, take_tables

Pages = NDArray[np.int64]
NO_PAGE = -1
Writes = Literal["emulated", "unsync"]


@dataclass
class Space:
    """A process of the guest.

    number: of the address space.
    gfn_of: int64[va pages], NO_PAGE where the page table of the process is empty.
    writable: uint8[va pages], W of its page table.
    table_of: int64[regions], number of the shadow table, NO_PAGE if there is none.
    unsynced: regions whose guest table may have changed since their shadow table was compared.
    """

    number: int
    gfn_of: Pages
    writable: NDArray[np.uint8]
    table_of: Pages
    unsynced: set[int] = field(default_factory=set)

    def sptes(self, vas: Pages) -> Pages:
        """Numbers of the sptes of ``vas``; their shadow tables must exist."""
        return self.table_of[vas // ENTRIES] * ENTRIES + vas % ENTRIES

    def shadowed(self) -> Pages:
        """Regions with a shadow table."""
        return np.flatnonzero(self.table_of != NO_PAGE)


@dataclass
class ShadowCounts:
    """Exits, and work beside the index.

    hidden_faults: the spte was missing or protected, the entry of the guest was not, so KVM handled the fault alone.
    guest_faults: the guest got the fault (copy on write).
    emulated_writes: writes to shadowed page tables that KVM emulated.
    unsync_faults: exits that let a table go out of sync.
    synced_tables: tables compared at a CR3 load.
    cr3_loads: CR3 loads.
    """

    hidden_faults: int = 0
    guest_faults: int = 0
    emulated_writes: int = 0
    unsync_faults: int = 0
    synced_tables: int = 0
    cr3_loads: int = 0


class ShadowGuest:
    """A guest of one slot with page frames [0, n_pages), over an index of ``design``.

    writes: how KVM handles writes to shadowed page tables.
    shares: int64[pages], processes that map each frame.
    """

    def __init__(
        self, design: str, n_pages: int, n_tables: int, *,
        writes: Writes = "unsync", **options: Any,
    ) -> None:  # fmt: skip
        self.index: BaseIndex = make_index(design, tables_for(design, n_tables, n_pages), [Slot(0, n_pages)], **options)
        assert not self.index.traits.one_spte, "several address spaces map a page"
        self.writes, self.counts = writes, ShadowCounts()
        self.shares = np.zeros(n_pages, np.int64)
        self.spaces: dict[int, Space] = {}
        self._born = 0

    # Actions of the guest's kernel.

    def spawn(self, n_pages: int, gfns: Sequence[int] | Pages | None = None) -> Space:
        """Start a process with ``n_pages`` free frames, lowest first, or with ``gfns``; all pages are writable."""
        pages = self._free_frames(n_pages) if gfns is None else np.asarray(gfns, np.int64)
        space = self._new_space(pages.copy(), np.ones(len(pages), np.uint8))
        self.shares[pages] += 1
        return space

    def fork(self, parent: Space) -> Space:
        """Fork: child and parent share all pages and lose W, so the guest writes its page table and flushes the TLB."""
        child = self._new_space(parent.gfn_of.copy(), np.zeros(len(parent.gfn_of), np.uint8))
        self.shares[parent.gfn_of[parent.gfn_of != NO_PAGE]] += 1
        self._write_entries(parent, np.flatnonzero(parent.writable))
        parent.writable[:] = 0
        self.switch_to(parent)
        return child

    def touch(self, space: Space, vas: Pages, *, is_write: bool) -> None:
        """Access pages of a process once each; the guest first copies pages that are written and not writable.

        space: the process.
        vas: int64[n], distinct guest-virtual page numbers of the process.
        is_write: whether the accesses are writes.
        """
        # Model limit: each missing spte of a process is a fault of its own; KVM maps up to eight where no slot is logged.
        if is_write:
            self._copy(space, vas[space.writable[vas] == 0])
        self._shadow(space, np.unique(vas // ENTRIES))
        tables, sptes = self.index.tables, space.sptes(vas)
        absent = tables.flags[sptes] == 0
        flags = PRESENT | ACCESSED | (WRITABLE | DIRTY if is_write else 0)
        if absent.any():
            self.index.map(sptes[absent], space.gfn_of[vas[absent]], flags)
        protected = is_write & ~absent & (tables.flags[sptes] & WRITABLE == 0)
        if protected.any():
            self.index.make_writable(sptes[protected])
        there = sptes[tables.flags[sptes] != 0]
        tables.flags[there] |= ACCESSED | (DIRTY if is_write else 0)
        self.counts.hidden_faults += int(absent.sum()) + int(protected.sum())

    def exit(self, space: Space) -> None:
        """End a process: KVM zaps its shadow tables with their sptes, and its frames have one user less."""
        regions = space.shadowed()
        for region in regions:
            self._drop_present(space.table_of[region] * ENTRIES + np.arange(ENTRIES))
        drop_tables(self.index.tables, space.table_of[regions])
        self.shares[space.gfn_of[space.gfn_of != NO_PAGE]] -= 1
        del self.spaces[space.number]

    def switch_to(self, space: Space) -> None:
        """Load CR3: KVM compares tables that are out of sync, entry by entry, and zaps stale sptes."""
        self.counts.cr3_loads += 1
        for region in sorted(space.unsynced):
            self.counts.synced_tables += 1
            vas = np.arange(region * ENTRIES, min((region + 1) * ENTRIES, len(space.gfn_of)))
            self._drop_present(space.sptes(vas)[self._is_stale(space, vas)])
        space.unsynced.clear()

    # Exits that these actions cause.

    def _write_entries(self, space: Space, vas: Pages) -> None:
        """The guest writes entries of its page table; KVM emulates, or lets the tables go out of sync."""
        shadowed = vas[space.table_of[vas // ENTRIES] != NO_PAGE]
        if self.writes == "emulated":
            self.counts.emulated_writes += len(shadowed)
            self._drop_present(space.sptes(shadowed))
            return
        regions = set((shadowed // ENTRIES).tolist())
        self.counts.unsync_faults += len(regions - space.unsynced)
        space.unsynced |= regions

    def _copy(self, space: Space, vas: Pages) -> None:
        """Copy on write; the last user of a frame keeps it. The guest writes each entry and flushes it from the TLB."""
        if not len(vas):
            return
        self.counts.guest_faults += len(vas)
        self._write_entries(space, vas)
        shared = vas[self.shares[space.gfn_of[vas]] > 1]
        fresh = self._free_frames(len(shared))
        self.shares[space.gfn_of[shared]] -= 1
        self.shares[fresh] += 1
        space.gfn_of[shared] = fresh
        space.writable[vas] = 1
        shadowed = vas[space.table_of[vas // ENTRIES] != NO_PAGE]
        self._drop_present(space.sptes(shadowed))

    def _is_stale(self, space: Space, vas: Pages) -> NDArray[np.bool_]:
        tables, sptes = self.index.tables, space.sptes(vas)
        flags = tables.flags[sptes]
        moved = tables.gfn[sptes] != space.gfn_of[vas]
        too_much = (flags & WRITABLE != 0) & (space.writable[vas] == 0)
        stale: NDArray[np.bool_] = (flags != 0) & (moved | too_much)
        return stale

    def _drop_present(self, sptes: Pages) -> None:
        present = sptes[self.index.tables.flags[sptes] != 0]
        if len(present):
            self.index.drop(present)

    def _shadow(self, space: Space, regions: Pages) -> None:
        new = regions[space.table_of[regions] == NO_PAGE]
        if len(new):
            space.table_of[new] = take_tables(self.index.tables, new * ENTRIES, space.number, direct=False)

    def _new_space(self, gfn_of: Pages, writable: NDArray[np.uint8]) -> Space:
        regions = -(-len(gfn_of) // ENTRIES)
        space = Space(self._born, gfn_of, writable, np.full(regions, NO_PAGE, np.int64))
        self.spaces[space.number] = space
        self._born += 1
        return space

    def _free_frames(self, n: int) -> Pages:
        free = np.flatnonzero(self.shares == 0)[:n]
        assert len(free) == n, "the guest is out of page frames"
        return free
