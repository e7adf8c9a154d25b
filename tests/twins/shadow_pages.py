"""Shadow pages page by page: each access walks the tables, and each fault looks for room."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

PAGES_A_FAULT = 8


class TwinShadowPages:
    """Sptes in sets of virtual pages; tables are named by (space, level, first virtual page), oldest first in a list."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tables: list[tuple[int, int, int]] = []
        self.links: set[tuple[tuple[int, int, int], tuple[int, int, int]]] = set()
        self.sptes: set[tuple[int, int]] = set()
        self.recent: list[int] = []
        self.faults = self.allocated = self.recycled = self.flushes = 0

    def load(self, space: int) -> None:
        self.recent = [*(one for one in self.recent if one != space), space][-4:]
        if (space, 4, 0) not in self.tables:
            self.make_room()
            self.allocate((space, 4, 0))

    def access(self, space: int, page: int) -> None:
        walk = [(space, level, page - page % 512**level if level < 4 else 0) for level in (4, 3, 2, 1)]
        steps = list(pairwise(walk))
        if all(step in self.links for step in steps) and (space, page) in self.sptes:
            return
        self.faults += 1
        self.make_room()
        for step in steps:
            if step[1] not in self.tables:
                self.allocate(step[1])
            self.links.add(step)
        first = page - page % PAGES_A_FAULT
        self.sptes |= {(space, other) for other in range(first, first + PAGES_A_FAULT)}

    def allocate(self, table: tuple[int, int, int]) -> None:
        self.tables.append(table)
        self.allocated += 1

    def make_room(self) -> None:
        free = max(0, self.limit - len(self.tables))
        if free >= 5:
            return
        roots = {(space, 4, 0) for space in self.recent}
        goes = [table for table in self.tables if table not in roots][: 25 - free]
        self.tables = [table for table in self.tables if table not in goes]
        self.links = {link for link in self.links if link[0] not in goes and link[1] not in goes}
        leaves = {(space, first) for space, level, first in goes if level == 1}
        self.sptes = {(space, page) for space, page in self.sptes if (space, page - page % 512) not in leaves}
        self.recycled += len(goes)
        self.flushes += 1

    def sweep(self, space: int, first: int, n_pages: int, code: Sequence[int] = ()) -> None:
        for page in range(first, first + n_pages):
            self.access(space, page)
            for other in code:
                self.access(space, other)

    def as_tuple(self) -> tuple[int, int, int, int]:
        return self.faults, self.allocated, self.recycled, self.flushes
