"""Idle-page tracking: every page is asked at every scan, and how many scans it has been idle is counted.

Source: Linux, mm/page_idle.c::page_idle_clear_pte_refs; Documentation/admin-guide/mm/idle_page_tracking.rst. Ages are
kept by who reads the bitmap, as kstaled and its kin do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.memory.policies.protocol import NO_PAGES, Pages, Scan, Young

GONE = -1
"""Age of a page that is not resident."""


class IdlePages:
    """Pages idle for ``cold_scans`` scans are cold, and evicted in the order of gfns, round and round."""

    name = "idle"

    def __init__(self, n_pages: int, cold_scans: int = 1) -> None:
        assert cold_scans >= 1
        self._age = np.full(n_pages, GONE, np.int64)
        self._cold_scans = cold_scans
        self._next_gfn = 0
        self.promoted_pages = 0
        """Cold pages found young, over all scans."""

    def insert(self, pages: Pages) -> None:
        """A page faulted in has just been used."""
        assert (self._age[pages] == GONE).all()
        self._age[pages] = 0

    def wants_ageing(self) -> bool:
        """Scans come by the clock; reclaim asks for none."""
        return False

    def age(self, young: Young) -> Scan:
        """Ask for all resident pages."""
        asked = self.resident_pages()
        found = young[asked] != 0
        self.promoted_pages += int(np.count_nonzero(self._age[asked[found]] >= self._cold_scans))
        self._age[asked] = np.where(found, 0, self._age[asked] + 1)
        young[asked] = 0
        return Scan(asked, NO_PAGES)

    def evict(self, young: Young, nr_pages: int) -> Scan:  # noqa: ARG002  # nobody is asked: age() was
        """Evict cold pages."""
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
