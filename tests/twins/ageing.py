"""Page ageing in plain Python: lists of pages, head first, and a set of young pages."""

from __future__ import annotations

from itertools import islice

Outcome = tuple[list[int], list[int]]
"""Pages asked for, pages evicted."""


class TwoListTwin:
    def __init__(self, second_chance: bool) -> None:
        self.active: list[int] = []
        self.inactive: list[int] = []
        self.referenced: set[int] = set()
        self.second_chance = second_chance

    def insert(self, page: int) -> None:
        (self.inactive if self.second_chance else self.active).insert(0, page)
        self.referenced.discard(page)

    def age(self, young: set[int]) -> Outcome:
        asked = [self.active.pop() for _ in range(min(32, len(self.active)))]
        for page in asked:
            young.discard(page)
            self.inactive.insert(0, page)
        return asked, []

    def evict(self, young: set[int], nr_pages: int) -> Outcome:
        asked = [self.inactive.pop() for _ in range(min(32, nr_pages, len(self.inactive)))]
        evicted = []
        for page in asked:
            if page not in young:
                evicted.append(page)
            elif page in self.referenced or not self.second_chance:
                self.active.insert(0, page)
            else:
                self.inactive.insert(0, page)
            keep = page in young and self.second_chance and page not in self.referenced
            self.referenced.discard(page)
            self.referenced |= {page} if keep else set()
            young.discard(page)
        return asked, evicted

    def state(self) -> object:
        return self.active, self.inactive


class GenerationsTwin:
    def __init__(self, n_pages: int, *, walks: bool = True) -> None:
        self.n_pages = n_pages
        self.walks = walks
        self.lists: dict[int, list[int]] = {0: [], 1: [], 2: [], 3: []}
        self.of: dict[int, int] = {}

    def insert(self, page: int) -> None:
        self.of[page] = max(self.lists)
        self.lists[max(self.lists)].insert(0, page)

    def ask(self, page: int, young: set[int], asked: list[int]) -> bool:
        asked.append(page)
        was_young = page in young
        young.discard(page)
        return was_young

    def age(self, young: set[int]) -> Outcome:
        asked: list[int] = []
        for page in sorted(self.of) if self.walks else ():
            if self.ask(page, young, asked):
                self.of[page] = max(self.lists)
        if len(self.lists) == 4:
            oldest = min(self.lists)
            for page in reversed(self.lists.pop(oldest)):
                self.of[page] = max(self.of[page], oldest + 1)
                self.lists[self.of[page]].append(page)
        self.lists[max(self.lists) + 1] = []
        return asked, []

    def evict(self, young: set[int], nr_pages: int) -> Outcome:
        batch: list[int] = []
        oldest = min(self.lists)
        while len(self.lists) > 2 and nr_pages and len(batch) < 64 and self.lists[oldest]:
            nr_pages -= 1
            page = self.lists[oldest].pop()
            if self.of[page] == oldest:
                batch.append(page)
            else:
                self.lists[self.of[page]].insert(0, page)
        while len(self.lists) > 2 and not self.lists[min(self.lists)]:
            del self.lists[min(self.lists)]
        for page in batch:
            del self.of[page]
        asked: list[int] = []
        stay = []
        for page in batch:
            if self.ask(page, young, asked):
                stay.append(page)
                for near in self.window(page):
                    if near in self.of and self.ask(near, young, asked):
                        self.of[near] = max(self.lists)
        for page in stay:
            self.insert(page)
        return asked, [page for page in batch if page not in stay]

    def window(self, page: int) -> range:
        """64 pages around ``page``, pushed back into its table of 512 pages or the end of memory where they stick out."""
        start, end = page // 512 * 512, min(page // 512 * 512 + 512, self.n_pages)
        first = max(start, min(page - 32, end - 64))
        return range(first, min(end, first + 64))

    def state(self) -> object:
        return list(self.lists.values()), self.of


class IdleTwin:
    def __init__(self, cold_scans: int) -> None:
        self.idle: dict[int, int] = {}
        self.cold_scans = cold_scans
        self.hand = 0
        self.promoted = 0

    def insert(self, page: int) -> None:
        self.idle[page] = 0

    def age(self, young: set[int]) -> Outcome:
        asked = sorted(self.idle)
        for page in asked:
            self.promoted += page in young and self.idle[page] >= self.cold_scans
            self.idle[page] = 0 if page in young else self.idle[page] + 1
            young.discard(page)
        return asked, []

    def evict(self, _young: set[int], nr_pages: int) -> Outcome:
        behind = sorted(self.idle, key=lambda page: (page < self.hand, page))
        evicted = list(islice((page for page in behind if self.idle[page] >= self.cold_scans), nr_pages))
        for page in evicted:
            del self.idle[page]
            self.hand = page + 1
        return [], evicted

    def state(self) -> object:
        return self.idle, self.promoted
