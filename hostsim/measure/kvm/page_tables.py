"""The guest's own page tables: four levels, every page writable and accessible in user mode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PAGE_BYTES, REGION_BYTES = 4096, 2 << 20
ENTRIES = 512
_P, _RW, _US, _A, _D, _PS = 1, 2, 4, 32, 64, 128
TABLE = _P | _RW | _US | _A
LEAF = TABLE | _D
LARGE_LEAF = LEAF | _PS
_FRAME = ~np.uint64(0xFFF)


def tables_bytes(n_bytes: int, aliases: int, *, large: bool) -> int:
    """Room for the tables of ``aliases`` mappings of ``n_bytes``, and of the tables' own surroundings."""
    regions = -(-n_bytes // REGION_BYTES)
    each = (0 if large else regions) + 2 * (3 + regions // ENTRIES)
    return (each * aliases + 64) * PAGE_BYTES


class PageTables:
    """Tables in the guest's memory from guest-physical ``first`` on, which is also where they lie in ``words``.

    words: uint64 view of guest-physical memory from 0 on, written in place.
    """

    def __init__(self, words: NDArray[np.uint64], first: int, end: int) -> None:
        self._words, self._next, self._end = words, first, end
        self.root = self._new()

    def map(self, address: int, gpa: int, n_bytes: int, *, large: bool = False) -> None:
        """Map ``n_bytes`` at virtual ``address`` to ``gpa``, all multiples of 2 MiB; large: by 2 MiB pages."""
        for offset in range(0, n_bytes, REGION_BYTES):
            self._map_region(address + offset, gpa + offset, large=large)

    def another_root(self) -> int:
        """A root with the entries of ``root`` now: another CR3 for the same address space."""
        root = self._new()
        self._words[root // 8 : root // 8 + ENTRIES] = self._words[self.root // 8 : self.root // 8 + ENTRIES]
        return root

    def leaf(self, address: int) -> int:
        """The table of the lowest level that maps virtual ``address``, which is mapped."""
        return self._below(self.directory(address), address >> 21 & 511)

    def directory(self, address: int) -> int:
        """The table that holds the entry of that table."""
        table = self.root
        for shift in (39, 30):
            table = self._below(table, address >> shift & 511)
        return table

    def _map_region(self, address: int, gpa: int, *, large: bool) -> None:
        table = self.root
        for shift in (39, 30):
            table = self._below(table, address >> shift & 511)
        if large:
            self._words[table // 8 + (address >> 21 & 511)] = gpa | LARGE_LEAF
            return
        leaf = self._below(table, address >> 21 & 511) // 8
        self._words[leaf : leaf + ENTRIES] = np.arange(gpa | LEAF, gpa + REGION_BYTES, PAGE_BYTES, dtype=np.uint64)

    def _below(self, table: int, index: int) -> int:
        """The table that entry ``index`` points to, made if there is none."""
        at = table // 8 + index
        if not self._words[at]:
            self._words[at] = self._new() | TABLE
        return int(self._words[at] & _FRAME)

    def _new(self) -> int:
        table, self._next = self._next, self._next + PAGE_BYTES
        assert self._next <= self._end, "tables_bytes is too small"
        self._words[table // 8 : table // 8 + ENTRIES] = 0
        return table
