"""Indexes of sptes: sptes mapped, protected, aged and unmapped a wall second, each against its twin of dictionaries."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import median_s
from hostsim.spte_index.designs import DESIGNS, make_index, tables_for
from hostsim.spte_index.protocol import BaseIndex, Slot
from hostsim.spte_index.spte import PRESENT, WRITABLE
from hostsim.spte_index.tables import ACCESSED, ENTRIES, take_tables
from tests.twins.spte_twin import TwinIndex, TwinSpte

TWIN_PAGES = 1 << 13
INDEX_PAGES = 1 << 20
"""4 GiB; PR holds the 32768 hptes of its cap at a time."""
FLAGS = PRESENT | WRITABLE | ACCESSED


def sptes_per_second(design: str) -> dict[str, float]:
    """Sptes a wall second in each operation, index and twin, and the ratio over all of them."""
    n_pages = DESIGNS[design].kind.traits.cap or INDEX_PAGES
    fast = _timed(n_pages, lambda: _index_steps(design, n_pages))
    slow = _timed(TWIN_PAGES, lambda: _twin_steps(design))
    ratio = sum(1 / rate for rate in slow.values()) / sum(1 / rate for rate in fast.values())
    return {**fast, **{f"twin {step}": rate for step, rate in slow.items()}, "ratio": ratio}


def _timed(n_pages: int, steps: Callable[[], dict[str, Callable[[], Any]]]) -> dict[str, float]:
    """Rates of one pass; compiled code is warm after the first."""
    rates: list[dict[str, float]] = []

    def once() -> None:
        rates.append({name: n_pages / _wall_s(work) for name, work in steps().items()})

    once()
    median_s(once)
    return {name: sorted(rate[name] for rate in rates[1:])[len(rates) // 2 - 1] for name in rates[0]}


def _wall_s(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _empty(design: str, n_pages: int) -> BaseIndex:
    n_tables = n_pages // ENTRIES
    tables = tables_for(design, n_tables, n_pages)
    take_tables(tables, np.arange(n_tables) * ENTRIES)
    tables.flags[:] = 0  # touched once, so that the host's own page faults are not measured
    return make_index(design, tables, [Slot(0, n_pages)])


def _index_steps(design: str, n_pages: int) -> dict[str, Callable[[], Any]]:
    index, all_pages = _empty(design, n_pages), np.arange(n_pages)
    young, dirty = np.zeros(n_pages, np.uint8), np.ones(n_pages, np.uint8)
    return {
        "map": lambda: index.map(all_pages, all_pages, FLAGS),
        "age": lambda: index.clear_young(0, n_pages, young),
        "harvest": lambda: index.harvest(0, dirty),
        "unmap": lambda: index.unmap(0, n_pages),
    }


def _twin_steps(design: str) -> dict[str, Callable[[], Any]]:
    slots = (Slot(0, TWIN_PAGES),)
    traits = make_index(design, tables_for(design, 1, TWIN_PAGES), slots).traits
    twin, pages = TwinIndex(slots, traits), range(TWIN_PAGES)
    return {
        "map": lambda: twin.map([(n, TwinSpte(n, 1, FLAGS, n % 2)) for n in pages]),
        "age": lambda: twin.ages(0, TWIN_PAGES, clear=True),
        "harvest": lambda: twin.harvest(0, set(pages)),
        "unmap": lambda: twin.unmap(0, TWIN_PAGES),
    }


def all_designs() -> dict[str, dict[str, float]]:
    """Every design."""
    return {design: sptes_per_second(design) for design in DESIGNS}
