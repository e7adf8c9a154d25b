"""Running the structures for the debate: one guest, one call, its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from hostsim.costs.costs import CostSheet, load_costs
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.guests import DIRECT, IndexedGuest, Layout, build_guest, one_slot
from hostsim.spte_index.meter import Meter
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.tables import ENTRIES
from hostsim.spte_index.work import Work

SHEET = "nehalem-2010"
"""A machine of the year of the argument."""
_chosen = [SHEET]
PAGES = 1 << 20
"""A guest of 4 GiB, except where a claim varies its size."""
POINTS = 7
"""Points of a line in a picture."""


def use_sheet(name: str) -> None:
    """Choose the machine whose costs price the claims, once a process and before any claim runs. InputError if unknown."""
    asked = load_costs(name)
    assert not costs.cache_info().currsize or asked == sheet(), "claims were priced already, on another machine"
    sheet.cache_clear()
    _chosen[0] = name


@cache
def sheet() -> CostSheet:
    """The machine's costs."""
    return load_costs(_chosen[0])


@cache
def costs() -> CacheCosts:
    """The costs of counted work on the machine of ``sheet``."""
    return CacheCosts.from_sheet(sheet())


def fault_ns() -> float:
    """An exit, a fault under an uncontended mmu_lock, and the entry."""
    return sheet().exit_ns + sheet().exclusive_base_ns + sheet().entry_ns


@dataclass(frozen=True)
class Spent:
    """Time and counts of one call."""

    ns: float
    work: Work
    footprint_bytes: float


def spent(index: BaseIndex, call: Callable[[], Any]) -> Spent:
    """Do ``call`` and price it."""
    meter = Meter(index, costs())
    footprint = meter.footprint_bytes()
    with meter.of("call"):
        call()
    return Spent(meter.last_ns, meter.last, footprint)


def guest_of(design: str, layout: Layout = DIRECT, n_pages: int = PAGES, **options: Any) -> IndexedGuest:
    """A guest of one slot with the index ``design``.

    layout: order of its sptes in memory. n_pages: rounded to whole tables of 512.
    options: passed to the index.
    """
    return build_guest(design, one_slot(max(512, round(n_pages / 512) * 512)), layout, **options)


@cache
def flush(design: str, layout: Layout = DIRECT, n_pages: int = PAGES) -> Spent:
    """Work and time of taking W from all sptes of the slot, all of which have it.

    design, layout, n_pages: as in ``guest_of``.
    """
    guest = guest_of(design, layout, n_pages)
    return spent(guest.index, lambda: guest.index.protect_slot(0))


def between(cost: Callable[[int], float], x: float, step: int = ENTRIES) -> float:
    """A cost that is known at multiples of ``step`` alone (pages of whole tables); between two of them it is a line."""
    low = max(step, int(x) // step * step)
    share = (x - low) / step
    return cost(low) if share <= 0.0 else (1.0 - share) * cost(low) + share * cost(low + step)


@cache
def unmap_one(design: str, layout: Layout, n_pages: int) -> float:
    """Time [ns] of unmapping one page of ``guest_of(design, layout, n_pages)``, the mean over 8 drawn pages."""
    guest = guest_of(design, layout, n_pages)
    gfns = np.random.default_rng(5).permutation(guest.n_pages)[:8].tolist()
    return float(np.mean([spent(guest.index, partial(guest.index.unmap, g, g + 1)).ns for g in gfns]))


@cache
def age_one(design: str, layout: Layout, n_pages: int) -> float:
    """Time [ns] of ageing one page of ``guest_of(design, layout, n_pages)``, the mean over 8 drawn pages."""
    guest, young = guest_of(design, layout, n_pages), np.zeros(1, np.uint8)
    gfns = np.random.default_rng(6).permutation(guest.n_pages)[:8].tolist()
    return float(np.mean([spent(guest.index, partial(guest.index.clear_young, g, g + 1, young)).ns for g in gfns]))
