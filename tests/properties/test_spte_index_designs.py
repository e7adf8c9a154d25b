"""All designs serve the same guest alike: the same pages are found dirty, the same are young."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.designs import DESIGNS, make_index, tables_for
from hostsim.spte_index.guests import DIRECT, build_guest, one_slot
from hostsim.spte_index.protocol import Slot
from hostsim.spte_index.spte import DIRTY, PRESENT, WRITABLE
from hostsim.spte_index.tables import ACCESSED, ENTRIES, take_tables
from hostsim.spte_index.work import counted

N_PAGES = 4 * ENTRIES
ACCESSES, EVERY = 4000, 250
OTHERS = [name for name in DESIGNS if name != "book3s-pr"]


def run_guest(design: str, seed: int) -> tuple[list[set[int]], list[set[int]], np.ndarray, float]:
    """A guest that reads and writes; harvested, aged and partly unmapped now and then.

    Returns dirty pages of each harvest, young pages of each ageing, versions of the pages, and the time of all calls at
    1 ns each.
    """
    rng, log = Random(seed), np.zeros(N_PAGES, np.uint8)
    tables = tables_for(design, N_PAGES // ENTRIES, N_PAGES)
    take_tables(tables, np.arange(N_PAGES // ENTRIES) * ENTRIES)
    index = make_index(design, tables, [Slot(0, N_PAGES)])
    version, sent = np.zeros(N_PAGES, np.int64), np.zeros(N_PAGES, np.int64)
    dirty_sets, young_sets, calls = [], [], 0
    index.start_log(0)
    for i in range(ACCESSES):
        gfn, is_write = int(rng.betavariate(1, 3) * N_PAGES), rng.random() < 0.4
        flags = int(tables.flags[gfn])
        if flags == 0:
            index.map(np.array([gfn]), np.array([gfn]), PRESENT | ACCESSED | (WRITABLE | DIRTY if is_write else 0))
        elif is_write and not flags & WRITABLE:
            index.make_writable(np.array([gfn]))
        tables.flags[gfn] |= ACCESSED | (DIRTY if is_write else 0)
        if is_write:
            log[gfn], version[gfn] = 1, version[gfn] + 1
        if i % EVERY == EVERY - 1:
            dirty = np.zeros(N_PAGES, np.uint8) if index.traits.logs_by_hardware else log.copy()
            index.harvest(0, dirty)
            dirty_sets.append(set(np.flatnonzero(dirty).tolist()))
            sent[dirty == 1] = version[dirty == 1]
            log[:] = 0
            young = np.zeros(N_PAGES, np.uint8)
            index.clear_young(0, N_PAGES, young)
            young_sets.append(set(np.flatnonzero(young).tolist()))
            low = rng.randrange(N_PAGES - 64)
            index.unmap(low, low + 64)
            calls += 3
    assert np.array_equal(sent, version), f"{design}: pages {np.flatnonzero(sent != version)[:5]} were lost"
    before = index.work.copy()
    index.protect_slot(0)
    once = CacheCosts.uniform.price_ns(counted(index.work, before), 1.0)
    return dirty_sets, young_sets, version, once


@pytest.mark.parametrize("design", OTHERS)
def test_harvests_and_young_pages_are_those_of_the_rmap(design: str) -> None:
    assert run_guest(design, 5)[:2] == run_guest("rmap", 5)[:2]
    assert run_guest(design, 5)[3] == 1.0


def test_pr_ends_with_the_same_contents() -> None:
    """It zaps to protect, so the guest faults more; nothing written is lost, and nothing is young."""
    dirty, young, version, once = run_guest("book3s-pr", 5)
    assert np.array_equal(version, run_guest("rmap", 5)[2])
    assert dirty == run_guest("rmap", 5)[0]
    assert not any(young)
    assert once == 1.0


@pytest.mark.parametrize("clears", [True, False])
@pytest.mark.parametrize("design", DESIGNS)
def test_many_calls_at_once_are_those_calls_in_turn(design: str, clears: bool) -> None:
    """Answers, counts of each call, and sptes afterwards; calls overlap, and ask twice."""
    rng = np.random.default_rng(3)
    firsts = rng.integers(0, N_PAGES - 200, 40)
    ends = firsts + rng.integers(1, 200, 40)
    low, high = int(firsts.min()), int(ends.max())
    at_once, in_turn = (build_guest(design, one_slot(N_PAGES), DIRECT.but(mapped=0.8)).index for _ in range(2))
    young, rows = np.zeros(high - low, np.uint8), np.empty((40, len(at_once.work)), np.int64)
    at_once.age_calls(firsts, ends, young, rows, clears=clears)
    ask = in_turn.clear_young if clears else in_turn.test_young
    found = np.zeros(high - low, np.uint8)
    for row, first, end in zip(rows, firsts.tolist(), ends.tolist(), strict=True):
        before = in_turn.work.copy()
        ask(first, end, found[first - low : end - low])
        assert row.tolist() == (in_turn.work - before).tolist()
    assert young.tolist() == found.tolist()
    assert young.any() == (design != "book3s-pr")
    assert at_once.tables.flags.tolist() == in_turn.tables.flags.tolist()
