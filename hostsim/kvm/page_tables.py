"""Page tables of a guest under shadow paging: its address spaces, and the roots that a vCPU keeps cached.

Linux arch/x86/kvm/mmu/mmu.c::cached_root_find_and_keep_current, arch/x86/include/asm/kvm_host.h::KVM_MMU_NUM_PREV_ROOTS.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.guest.pacing import work_at
from hostsim.guest.touch import touch_index
from hostsim.guest.windows import window_local
from hostsim.guest.workload import Workload, part_sizes
from hostsim.spte_index.spte import REGION_PAGES

Pages = NDArray[np.int64]
DIRECTORY_LEVELS = 3
"""Levels of tables above the lowest one, the root with them, in a guest with four."""
CACHED_ROOTS = 4
"""Roots that a vCPU keeps: the current one, and KVM_MMU_NUM_PREV_ROOTS = 3 before it."""


class Space:
    """An address space: page tables of the lowest level, one a page, that vCPUs write and load together.

    Table i of the workload's region maps the i-th 512 pages of the VM.

    first, end: gfns of the tables.
    unsync: bool[n_tables], tables that may have changed since KVM compared them.
    root: names the root of the process that has the tables now.
    stale: sptes of an earlier process that its tables still hold; None: KVM has linked the tables of this process.
    """

    def __init__(self, load: Workload, tables: range, shared: int, clocks: NDArray[np.int64]) -> None:
        """tables: gfns. shared: tables that the same writes go to. clocks: rows of the work clocks of the writing vCPUs."""
        self.first, self.end = tables.start, tables.stop
        self.unsync = np.zeros(len(tables), np.bool_)
        self.root: object = object()
        self.stale: int | None = None
        self._load, self._clocks, self._shared = load, clocks, shared
        rate = load.write_rate_per_s / (len(load.vcpus) * NS_PER_S)
        self._per_ns = rate.limit_denominator((1 << 31) - 1)
        self._next_entry = np.zeros(len(tables), np.int64)
        self._taken = self._invalidated = 0

    @property
    def n_tables(self) -> int:
        """Tables of the lowest level."""
        return self.end - self.first

    @property
    def mapped(self) -> range:
        """Gfns that the tables map."""
        return range(self.table_base(0), self.table_base(self.n_tables))

    def table_base(self, table: int) -> int:
        """First gfn that table number ``table`` of the space maps."""
        return (self.first - self._load.first_gfn + table) * REGION_PAGES

    def take_changes(self, now_ns: int) -> int:
        """Entries that the guest has changed and neither a sync nor INVLPG has seen; now_ns: the host's clock."""
        done = self._writes(now_ns)
        changes, self._taken, self._invalidated = done - self._taken, done, 0
        return changes

    def invalidate(self, now_ns: int) -> tuple[int, Pages]:
        """(unsync table, gfn under its next changed entry), for INVLPG at ``now_ns``; no gfn if no change is left."""
        tables = np.flatnonzero(self.unsync)
        if not len(tables):
            return -1, np.empty(0, np.int64)
        table = int(tables[self._invalidated % len(tables)])
        if self._writes(now_ns) == self._taken:
            return table, np.empty(0, np.int64)
        self._taken += 1
        self._invalidated += 1
        return table, self.change(table, 1)

    def change(self, table: int, n: int) -> Pages:
        """Gfns under the next ``n`` entries of ``table``, which the guest goes through in order, round and round."""
        first = int(self._next_entry[table])
        self._next_entry[table] = (first + n) % REGION_PAGES
        entries = (first + np.arange(min(n, REGION_PAGES))) % REGION_PAGES
        return np.sort(self.table_base(table) + entries)

    def replace(self, dropped: int) -> None:
        """Give the tables to a new process; dropped: sptes of the old process, which the shadow tables hold still."""
        self.root, self.stale = object(), (self.stale or 0) + dropped
        self.unsync[:] = True

    def _writes(self, now_ns: int) -> int:
        done = sum(self._writes_by(clock, now_ns) for clock in self._clocks)
        return done * self.n_tables // self._shared

    def _writes_by(self, clock: NDArray[np.int64], now_ns: int) -> int:
        work_ns, active = int(work_at(clock, now_ns)), self._load.active
        if active is not None and not active.is_of_host:
            work_ns = int(window_local(active.start_ns, active.length_ns, active.period_ns, work_ns))
        return int(touch_index(self._per_ns.numerator, self._per_ns.denominator, work_ns))


class VcpuSpaces:
    """The address spaces of a vCPU, which it loads in turn, and the roots that KVM keeps for it.

    all: the address spaces, the one that is loaded at the start first.
    """

    def __init__(self, spaces: Sequence[Space]) -> None:
        self.all, self._at = spaces, 0
        self._cached = [spaces[0].root]

    @property
    def current(self) -> Space:
        """The address space that is loaded."""
        return self.all[self._at]

    @property
    def following(self) -> Space:
        """The address space that the next CR3 load loads."""
        return self.all[(self._at + 1) % len(self.all)]

    def load_following(self) -> bool:
        """Load CR3; whether KVM finds the root among those that it keeps for the vCPU."""
        self._at = (self._at + 1) % len(self.all)
        root = self.current.root
        is_cached = root in self._cached
        self._cached = [root, *(one for one in self._cached if one is not root)][:CACHED_ROOTS]
        return is_cached


def spaces_of(load: Workload, clocks: NDArray[np.int64]) -> Iterator[list[Space]]:
    """The spaces of each vCPU of ``load``, which are the same of all vCPUs without ``split``.

    clocks: rows of ``load``, one a vCPU, changed in place.
    """
    if not load.split:
        found = list(_divided(load, range(load.first_gfn, load.first_gfn + load.n_pages), clocks))
        yield from [found] * len(load.vcpus)
        return
    first = load.first_gfn
    for i, size in enumerate(part_sizes(load)):
        yield list(_divided(load, range(first, first + size), clocks[i : i + 1]))
        first += size


def _divided(load: Workload, tables: range, clocks: NDArray[np.int64]) -> Iterator[Space]:
    """``tables`` divided among the processes, evenly."""
    bounds = [tables.start + len(tables) * i // load.processes for i in range(load.processes + 1)]
    for first, end in pairwise(bounds):
        yield Space(load, range(first, end), len(tables), clocks)


def directories(n_tables: int) -> list[int]:
    """Entries of each directory above ``n_tables`` tables in a row, by level; the last is the root's."""
    found: list[int] = []
    for _ in range(DIRECTORY_LEVELS):
        level = [min(REGION_PAGES, n_tables - at) for at in range(0, n_tables, REGION_PAGES)]
        found += level
        n_tables = len(level)
    return found
