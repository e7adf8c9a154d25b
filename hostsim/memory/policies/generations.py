"""MGLRU: generations of anonymous pages, a walk of the page tables to age, look-around to evict.

Source: Linux 6.13, mm/vmscan.c::walk_pte_range, ::inc_max_seq, ::inc_min_seq, ::scan_folios, ::sort_folio, ::evict_folios,
::lru_gen_look_around; include/linux/mm_inline.h::lru_gen_add_folio.

# Model limit: MGLRU has one type of pages and one tier, and its walk skips no page table (no Bloom filter). From 6.14 on the
# first touch only marks a page; here, as before, every young page goes to the youngest generation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.memory.policies.lists import NOWHERE, add_head, add_heads, add_tail, make_lists, take_off
from hostsim.memory.policies.protocol import NO_PAGES, Pages, Scan, Young

MIN_NR_GENS, MAX_NR_GENS = 2, 4
"""include/linux/mmzone.h."""
MIN_LRU_BATCH = 64
"""Pages isolated at a time, and PTEs looked at around a young one: BITS_PER_LONG (include/linux/mmzone.h)."""
PTRS_PER_PTE = 512
GONE, ISOLATED = -2, -1
"""Generations of pages that are on no list: not resident, or taken off to be evicted."""
MIN_SEQ, MAX_SEQ = range(2)


@jit
def walk_page_tables(generation: NDArray[np.int64], max_seq: int, young: NDArray[np.uint8], asked: NDArray[np.int64]) -> int:
    """Test every resident page; a young page gets ``max_seq``, and changes lists when eviction scans it.

    generation: int64[n_pages], in place.
    young: uint8[n_pages], in place: accessed bits, cleared.
    asked: int64[n_pages], in place: the tested pages.
    Returns the number of tested pages.
    """
    count = 0
    for page in range(len(generation)):
        if generation[page] >= 0:
            asked[count] = page
            count += 1
            if young[page]:
                young[page], generation[page] = 0, max_seq
    return count


@jit
def drop_oldest(
    generation: NDArray[np.int64], seqs: NDArray[np.int64], towards_tail: NDArray[np.int64], towards_head: NDArray[np.int64]
) -> None:
    """Make room for a new generation: the oldest joins the tail of the next one (mm/vmscan.c::inc_min_seq).

    generation: int64[n_pages], of each page; a page that was promoted goes to its own generation. In place.
    seqs: int64, MIN_SEQ grows by one. In place.
    towards_tail, towards_head: the lists, as in lists.py. In place.
    """
    first = len(generation)
    oldest = seqs[MIN_SEQ]
    head = first + oldest % MAX_NR_GENS
    while towards_head[head] != head:
        page = towards_head[head]
        generation[page] = max(generation[page], oldest + 1)
        take_off(page, towards_tail, towards_head)
        add_tail(page, first + generation[page] % MAX_NR_GENS, towards_tail, towards_head)
    seqs[MIN_SEQ] = oldest + 1


@jit
def isolate(
    nr_pages: int,
    generation: NDArray[np.int64],
    seqs: NDArray[np.int64],
    towards_tail: NDArray[np.int64],
    towards_head: NDArray[np.int64],
    batch: NDArray[np.int64],
) -> int:
    """Take pages off the tail of the oldest generation into ``batch``; return their number.

    Scans ``nr_pages`` pages; a page that a walk has promoted goes to the head of its generation. Leaves the two youngest
    generations alone, and closes empty generations.
    """
    first, count = len(generation), 0
    head = first + seqs[MIN_SEQ] % MAX_NR_GENS
    evictable = seqs[MAX_SEQ] - seqs[MIN_SEQ] + 1 > MIN_NR_GENS
    while evictable and nr_pages > 0 and count < len(batch) and towards_head[head] != head:
        page = towards_head[head]
        nr_pages -= 1
        take_off(page, towards_tail, towards_head)
        if generation[page] != seqs[MIN_SEQ]:  # a walk of page tables set the number alone; the page changes lists here
            add_head(page, first + generation[page] % MAX_NR_GENS, towards_tail, towards_head)
        else:
            generation[page] = ISOLATED
            batch[count] = page
            count += 1
    while seqs[MIN_SEQ] + MIN_NR_GENS <= seqs[MAX_SEQ] and towards_head[head] == head:
        seqs[MIN_SEQ] += 1
        head = first + seqs[MIN_SEQ] % MAX_NR_GENS
    return count


@part
def look_around(
    page: int,
    generation: NDArray[np.int64],
    max_seq: int,
    young: NDArray[np.uint8],
    asked: NDArray[np.int64],
    count: int,
) -> int:
    """Test the neighbours of a young page, at most 64 PTEs of its page table, and promote the young neighbours.

    Appends tested pages to ``asked`` from ``count`` on; returns the new count.
    """
    start = page // PTRS_PER_PTE * PTRS_PER_PTE
    end = min(start + PTRS_PER_PTE, len(generation))
    half = MIN_LRU_BATCH // 2
    if end - start > MIN_LRU_BATCH:
        if page - start < half:
            end = start + MIN_LRU_BATCH
        elif end - page < half:
            start = end - MIN_LRU_BATCH
        else:
            start, end = page - half, page + half
    for near in range(start, end):
        if generation[near] >= 0:
            asked[count] = near
            count += 1
            if young[near]:
                young[near], generation[near] = 0, max_seq
    return count


@jit
def judge(
    batch: NDArray[np.int64],
    generation: NDArray[np.int64],
    max_seq: int,
    towards_tail: NDArray[np.int64],
    towards_head: NDArray[np.int64],
    young: NDArray[np.uint8],
    asked: NDArray[np.int64],
    evicted: NDArray[np.int64],
) -> tuple[int, int]:
    """Test each isolated page: evict old pages, move young pages to the youngest generation. Returns (asked, evicted).

    asked: int64[65 len(batch)], in place: tested pages, neighbours included.
    evicted: int64[len(batch)], in place: evicted pages.
    """
    head = len(generation) + max_seq % MAX_NR_GENS
    count, gone = 0, 0
    for page in batch:
        asked[count] = page
        count += 1
        if young[page]:
            young[page] = 0
            count = look_around(page, generation, max_seq, young, asked, count)
        else:
            generation[page] = GONE
            evicted[gone] = page
            gone += 1
    for page in batch:
        if generation[page] == ISOLATED:
            generation[page] = max_seq
            add_head(page, head, towards_tail, towards_head)
    return count, gone


class Generations:
    """MGLRU as kswapd runs it.

    walks: the walk that opens a generation calls mmu notifiers, as since 6.13. Before 6.13, MGLRU sees accesses of guests
    only at pages that it is about to evict and at their neighbours.
    """

    # Model limit: a walk that does not call mmu notifiers finds no young page. A page that a thread of the host has
    # read (its own page table has A bits, too) is found young at eviction alone.

    name = "mglru"

    def __init__(self, n_pages: int, *, walks: bool = True) -> None:
        self._walks = walks
        self._generation = np.full(n_pages, GONE, np.int64)
        self._links = make_lists(n_pages, MAX_NR_GENS)
        self._seqs = np.array([0, MIN_NR_GENS + 1], np.int64)
        self._batch = np.empty(MIN_LRU_BATCH, np.int64)

    def insert(self, pages: Pages) -> None:
        """Pages faulted in are of the youngest generation."""
        youngest = int(self._seqs[MAX_SEQ])
        assert (self._links[0][pages] == NOWHERE).all()
        add_heads(pages, len(self._generation) + youngest % MAX_NR_GENS, *self._links)
        self._generation[pages] = youngest

    def wants_ageing(self) -> bool:
        """mm/vmscan.c::should_run_aging: only the two generations are left that are never evicted."""
        return bool(self._seqs[MIN_SEQ] + MIN_NR_GENS > self._seqs[MAX_SEQ])

    def age(self, young: Young) -> Scan:
        """Walk the page tables, then open a new generation."""
        asked, count = np.empty(len(self._generation), np.int64), 0
        if self._walks:
            count = walk_page_tables(self._generation, int(self._seqs[MAX_SEQ]), young, asked)
        if self._seqs[MAX_SEQ] - self._seqs[MIN_SEQ] + 1 == MAX_NR_GENS:
            drop_oldest(self._generation, self._seqs, *self._links)
        self._seqs[MAX_SEQ] += 1
        return Scan(asked[:count], asked[:0])

    def evict(self, young: Young, nr_pages: int) -> Scan:
        """Isolate up to 64 pages (``nr_pages``) of the oldest generation; evict the old ones by ``young``."""
        count = isolate(nr_pages, self._generation, self._seqs, *self._links, self._batch)
        asked, evicted = np.empty(count * (1 + MIN_LRU_BATCH), np.int64), np.empty(count, np.int64)
        asked_count, gone = judge(
            self._batch[:count], self._generation, int(self._seqs[MAX_SEQ]), *self._links, young, asked, evicted
        )
        return Scan(asked[:asked_count], evicted[:gone])

    def resident_pages(self) -> Pages:
        """See AgeingPolicy."""
        return np.flatnonzero(self._generation >= 0)

    def generations(self) -> list[int]:
        """Pages of each generation, oldest first."""
        first, last = self._seqs.tolist()
        return [int(np.count_nonzero(self._generation == seq)) for seq in range(first, last + 1)]


class ColdGenerations(Generations):
    """MGLRU for proactive reclaim: all generations but the two youngest are cold; evict tests their pages again."""

    def cold_pages(self) -> int:
        """See hostsim.memory.policies.protocol.ColdPolicy."""
        return sum(self.generations()[:-MIN_NR_GENS])

    def wants_ageing(self) -> bool:
        """False: the thread scans periodically, reclaim does not age."""
        return False

    def evict(self, young: Young, nr_pages: int) -> Scan:
        """As Generations with ``young`` and ``nr_pages``; without a cold page no page is tested."""
        return super().evict(young, nr_pages) if self.cold_pages() else Scan(NO_PAGES, NO_PAGES)
