"""Idle-page tracking: every scan tests every page, and counts the scans for which a page has been idle.

Source: Linux, mm/page_idle.c::page_idle_clear_pte_refs; Documentation/admin-guide/mm/idle_page_tracking.rst. User
space keeps the ages: the kernel's bitmap has one bit a page.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.memory.policies.protocol import NO_PAGES, Pages, Scan, Young

GONE = -1
"""Age of a page that is not resident."""


class IdlePages:
    """Pages idle for ``cold_scans`` scans are cold; evict takes cold pages in the order of gfns, cyclically."""

    name = "idle"

    def __init__(self, n_pages: int, cold_scans: int = 1) -> None:
        assert cold_scans >= 1
        self._age = np.full(n_pages, GONE, np.int64)
        self._cold_scans = cold_scans
        self._next_gfn = 0
        self.promoted_pages = 0
        """Cold pages found young, over all scans."""

    def insert(self, pages: Pages) -> None:
        """Insert pages with age 0: a page that was faulted in has just been used."""
        assert (self._age[pages] == GONE).all()
        self._age[pages] = 0

    def wants_ageing(self) -> bool:
        """False: the thread scans periodically, reclaim does not age."""
        return False

    def age(self, young: Young) -> Scan:
        """Test all resident pages."""
        asked = self.resident_pages()
        found = young[asked] != 0
        self.promoted_pages += int(np.count_nonzero(self._age[asked[found]] >= self._cold_scans))
        self._age[asked] = np.where(found, 0, self._age[asked] + 1)
        young[asked] = 0
        return Scan(asked, NO_PAGES)

    def evict(self, young: Young, nr_pages: int) -> Scan:  # noqa: ARG002  # age() has tested the pages
        """Evict up to ``nr_pages`` cold pages; ``young`` is not read, since ``age`` has tested the pages."""
        cold = np.flatnonzero(self._age >= self._cold_scans)
        turn = np.searchsorted(cold, self._next_gfn)
        evicted = np.roll(cold, -turn)[:nr_pages]
        self._age[evicted] = GONE
        self._next_gfn = int(evicted[-1]) + 1 if len(evicted) else self._next_gfn
        return Scan(NO_PAGES, evicted)

    def resident_pages(self) -> Pages:
        """See AgeingPolicy."""
        return np.flatnonzero(self._age != GONE)

    def idle_scans(self) -> NDArray[np.int64]:
        """int64[n_pages]: scans since a page was last young; GONE if it is not resident."""
        return self._age.copy()


class ColdIdlePages(IdlePages):
    """See hostsim.memory.policies.protocol.ColdPolicy."""

    def cold_pages(self) -> int:
        """Pages that were idle for ``cold_scans`` scans."""
        return int(np.count_nonzero(self._age >= self._cold_scans))
