"""Guests of one address space over an index: which pages are mapped, where their sptes lie, in which order they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.designs import make_index, tables_for
from hostsim.spte_index.protocol import BaseIndex, Slot
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.tables import ACCESSED, ENTRIES, take_tables

Gfns = NDArray[np.int64]
PLACES, ORDER, GOES, COMES = range(1, 5)
"""Streams of the draws of a layout, beside the stream that draws which pages are mapped."""


@dataclass(frozen=True)
class Layout:
    """How the pages of a guest are mapped.

    mapped: share of all pages that have an spte, drawn.
    run_pages: pages that are in a row both guest-virtually and guest-physically; 0: the map is direct.
    in_order: pages were first touched in order; else in a drawn order.
    churned: all sptes were zapped and mapped again, so that nodes are taken from a scattered list of free ones.
    seed: of all draws.
    """

    mapped: float = 1.0
    run_pages: int = 0
    in_order: bool = True
    churned: bool = False
    seed: int = 1

    def but(self, **changes: Any) -> Layout:
        """This layout with ``changes``."""
        return replace(self, **changes)


DIRECT = Layout()


@dataclass(frozen=True)
class IndexedGuest:
    """An index and the guest over it. spte_of: int64[pages], number of the spte for each gfn, mapped or not."""

    index: BaseIndex
    spte_of: Gfns
    slots: tuple[Slot, ...]

    @property
    def n_pages(self) -> int:
        """Pages of all slots."""
        return len(self.spte_of)

    def touch(self, gfns: Gfns, *, is_write: bool) -> tuple[int, int]:
        """Access each of ``gfns`` once: an absent page is mapped, a protected page that is written becomes writable.

        gfns: int64, distinct.
        Returns faults: (map, write protection).
        """
        tables, sptes = self.index.tables, self.spte_of[gfns]
        absent = tables.flags[sptes] == 0
        if absent.any():
            flags = PRESENT | ACCESSED | (WRITABLE | DIRTY if is_write else 0)
            self.index.map(sptes[absent], gfns[absent], flags)
        protected = is_write & ~absent & (tables.flags[sptes] & WRITABLE == 0)
        if protected.any():
            self.index.make_writable(sptes[protected])
        there = sptes[tables.flags[sptes] != 0]  # a full vCPU of Book3S PR drops sptes that it has just mapped
        tables.flags[there] |= ACCESSED | (DIRTY if is_write else 0)
        return int(absent.sum()), int(protected.sum())

    def mapped_pages(self) -> int:
        """Gfns that have an spte."""
        return int(np.count_nonzero(self.index.tables.flags[self.spte_of]))


def distinct(rng: np.random.Generator, n_pages: int, draws: int, first: int = 0) -> Gfns:
    """Distinct pages, ascending, of ``draws`` uniform draws with replacement from [first, first + n_pages)."""
    hit = np.zeros(n_pages, np.bool_)
    hit[rng.integers(n_pages, size=draws)] = True
    return first + np.flatnonzero(hit)


def one_slot(n_pages: int) -> tuple[Slot, ...]:
    """A guest of a single slot."""
    return (Slot(0, n_pages),)


def build_guest(design: str, slots: Sequence[Slot], layout: Layout = DIRECT, **options: Any) -> IndexedGuest:
    """A guest over the index ``design`` whose sptes are mapped writable. options: of the constructor of the design."""
    n_pages = slots[-1].end
    n_tables = -(-n_pages // ENTRIES)
    tables = tables_for(design, n_tables, n_pages)
    take_tables(tables, np.arange(n_tables) * ENTRIES, direct=layout.run_pages == 0)
    index = make_index(design, tables, slots, **options)
    guest = IndexedGuest(index, _places(layout, n_pages), tuple(slots))
    chosen = _chosen(layout, n_pages)
    _map_writable(guest, chosen if layout.in_order else in_drawn_order(chosen, n_pages, (layout.seed, ORDER)))
    if layout.churned:
        _churn(guest, layout.seed)
    return guest


@lru_cache(maxsize=6)
def shuffled(n: int, seed: tuple[int, ...]) -> Gfns:
    """int64[n], read-only: the permutation of ``seed``."""
    order = np.random.default_rng(seed).permutation(n)
    order.flags.writeable = False
    return order


def _places(layout: Layout, n_pages: int) -> Gfns:
    if layout.run_pages == 0:
        return np.arange(n_pages)
    run = layout.run_pages
    starts = shuffled(-(-n_pages // run), (layout.seed, PLACES))
    by_va = (starts[:, None] * run + np.arange(run)).ravel()
    spte_of = np.empty(n_pages, np.int64)
    spte_of[by_va[by_va < n_pages]] = np.arange(n_pages)  # sptes lie in guest-virtual order
    return spte_of


def _chosen(layout: Layout, n_pages: int) -> Gfns:
    """Gfns that are mapped, ascending."""
    if layout.mapped >= 1.0:
        return np.arange(n_pages)
    is_mapped = np.zeros(n_pages, np.bool_)
    is_mapped[shuffled(n_pages, (layout.seed,))[: round(layout.mapped * n_pages)]] = True
    return np.flatnonzero(is_mapped)


def in_drawn_order(gfns: Gfns, n_pages: int, seed: tuple[int, ...]) -> Gfns:
    """``gfns``, all distinct, in the order of a permutation of all ``n_pages`` that ``seed`` draws."""
    is_there = np.zeros(n_pages, np.bool_)
    is_there[gfns] = True
    order = shuffled(n_pages, seed)
    return order[is_there[order]]


def _map_writable(guest: IndexedGuest, gfns: Gfns) -> None:
    if len(gfns):
        guest.index.map(guest.spte_of[gfns], gfns, PRESENT | WRITABLE | DIRTY | ACCESSED)


def _churn(guest: IndexedGuest, seed: int) -> None:
    tables = guest.index.tables
    mapped = np.flatnonzero(tables.flags[guest.spte_of])
    guest.index.drop(guest.spte_of[in_drawn_order(mapped, guest.n_pages, (seed, GOES))])
    _map_writable(guest, in_drawn_order(mapped, guest.n_pages, (seed, COMES)))
