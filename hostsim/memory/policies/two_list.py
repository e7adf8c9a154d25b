"""Active and inactive list of anonymous pages, folio_referenced page by page.

Source: Linux, mm/vmscan.c::shrink_active_list, ::shrink_inactive_list, ::folio_check_references, ::inactive_is_low; the
second chance since v5.9 (commit b518154e59aa, "mm/vmscan: protect the workingset on anonymous LRU").
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.memory.policies.lists import NOWHERE, add_head, add_heads, make_lists, take_off
from hostsim.memory.policies.protocol import NO_PAGES, Pages, Scan, Young

ACTIVE, INACTIVE = range(2)
SWAP_CLUSTER_MAX = 32
"""Pages isolated at a time (include/linux/swap.h)."""
PAGES_PER_GIB = 1 << 18


@jit
def shrink_active(
    nr_pages: int,
    towards_tail: NDArray[np.int64],
    towards_head: NDArray[np.int64],
    sizes: NDArray[np.int64],
    young: NDArray[np.uint8],
    asked: NDArray[np.int64],
) -> int:
    """Move ``nr_pages`` from the tail of the active list to the head of the inactive list; return their number.

    The accessed bits are cleared and ignored: the kernel keeps only referenced executable file pages on the active list
    (mm/vmscan.c::shrink_active_list).

    towards_tail, towards_head, sizes: the lists and their lengths, in place.
    young: uint8[n_pages], cleared in place. asked: int64, in place: the moved pages.
    """
    active = len(towards_tail) - len(sizes) + ACTIVE
    count = min(nr_pages, int(sizes[ACTIVE]))
    for i in range(count):
        page = towards_head[active]
        asked[i], young[page] = page, 0
        take_off(page, towards_tail, towards_head)
        add_head(page, active - ACTIVE + INACTIVE, towards_tail, towards_head)
    sizes[ACTIVE] -= count
    sizes[INACTIVE] += count
    return count


@jit
def shrink_inactive(
    nr_pages: int,
    second_chance: bool,
    towards_tail: NDArray[np.int64],
    towards_head: NDArray[np.int64],
    sizes: NDArray[np.int64],
    referenced: NDArray[np.uint8],
    young: NDArray[np.uint8],
    asked: NDArray[np.int64],
    evicted: NDArray[np.int64],
) -> tuple[int, int]:
    """Test ``nr_pages`` from the tail of the inactive list and evict the old ones; return (pages tested, pages evicted).

    A young page moves to the active list: at once without ``second_chance``, with it only if PG_referenced was set by an
    earlier test. Otherwise it goes to the head of the inactive list.
    referenced: uint8[n_pages], in place: PG_referenced.
    asked, evicted: int64[k], in place: the tested and the evicted pages; other arrays in place.
    """
    active = len(towards_tail) - len(sizes) + ACTIVE
    inactive = active - ACTIVE + INACTIVE
    count, gone = min(nr_pages, sizes[INACTIVE]), 0
    for i in range(count):
        page = towards_head[inactive]
        was_young, was_referenced = young[page] != 0, referenced[page] != 0
        asked[i], young[page], referenced[page] = page, 0, 0
        take_off(page, towards_tail, towards_head)
        if not was_young:  # an access before the last test does not save it (folio_check_references)
            evicted[gone] = page
            gone += 1
            sizes[INACTIVE] -= 1
        elif was_referenced or not second_chance:
            add_head(page, active, towards_tail, towards_head)
            sizes[INACTIVE] -= 1
            sizes[ACTIVE] += 1
        else:
            referenced[page] = 1
            add_head(page, inactive, towards_tail, towards_head)
    return count, gone


class TwoList:
    """Two-list LRU; ``second_chance`` False: as before v5.9, when new pages were active and one touch kept a page active."""

    name = "two-list"

    def __init__(self, n_pages: int, second_chance: bool = True) -> None:
        self._links = make_lists(n_pages, 2)
        self._sizes = np.zeros(2, np.int64)
        self._referenced = np.zeros(n_pages, np.uint8)
        self._second_chance = second_chance
        self._n_pages = n_pages

    def insert(self, pages: Pages) -> None:
        """See AgeingPolicy."""
        target = INACTIVE if self._second_chance else ACTIVE
        assert (self._links[0][pages] == NOWHERE).all()
        add_heads(pages, self._n_pages + target, *self._links)
        self._referenced[pages] = 0
        self._sizes[target] += len(pages)

    def wants_ageing(self) -> bool:
        """mm/vmscan.c::inactive_is_low: inactive x sqrt(10 GiB of both) below active, below 1 GiB inactive below active."""
        active, inactive = self._sizes.tolist()
        gib = (active + inactive) // PAGES_PER_GIB
        return bool(inactive * (isqrt(10 * gib) if gib else 1) < active)

    def age(self, young: Young) -> Scan:
        """Deactivate one cluster."""
        asked = np.empty(SWAP_CLUSTER_MAX, np.int64)
        count = shrink_active(SWAP_CLUSTER_MAX, *self._links, self._sizes, young, asked)
        return Scan(asked[:count], asked[:0])

    def evict(self, young: Young, nr_pages: int) -> Scan:
        """Scan one cluster of the inactive list, at most ``nr_pages``; ``young`` as in AgeingPolicy."""
        nr_pages = min(nr_pages, SWAP_CLUSTER_MAX)
        asked, evicted = np.empty(nr_pages, np.int64), np.empty(nr_pages, np.int64)
        count, gone = shrink_inactive(
            nr_pages, self._second_chance, *self._links, self._sizes, self._referenced, young, asked, evicted
        )
        return Scan(asked[:count], evicted[:gone])

    def resident_pages(self) -> Pages:
        """See AgeingPolicy."""
        return np.flatnonzero(self._links[0][: self._n_pages] != NOWHERE)


class TwoListScan(TwoList):
    """The two lists, scanned without reclaim: evicted pages go back to the head of the inactive list."""

    # Model limit: the two-list policy scans under pressure alone; a pass scans as much as the strongest reclaim would.

    def __init__(self, n_pages: int) -> None:
        super().__init__(n_pages)
        self._asked = NO_PAGES

    def held_in_use(self) -> Pages:
        """Pages that the last pass did not test: they are on the active list, and count as used."""
        return np.setdiff1d(self.resident_pages(), self._asked)

    def age(self, young: Young) -> Scan:
        """Scan clusters until as many inactive pages are tested as are resident; deactivation tests pages as well."""
        left, asked = len(self.resident_pages()), [NO_PAGES]
        while left > 0:
            if self.wants_ageing():
                asked.append(super().age(young).asked)
            scan = self.evict(young, min(left, SWAP_CLUSTER_MAX))
            self.insert(scan.evicted)
            asked.append(scan.asked)
            left -= max(1, len(scan.asked))
        self._asked = np.concatenate(asked)
        return Scan(self._asked, NO_PAGES)
