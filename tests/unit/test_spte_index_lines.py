"""Cache lines of walks: where sptes lie decides what streams; costs by footprint."""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.costs.costs import load_costs
from hostsim.measure.kvm.chain_costs import costs_by_work, form_ns, modelled_ns
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.designs import make_index, tables_for
from hostsim.spte_index.protocol import BaseIndex, Slot
from hostsim.spte_index.spte import PRESENT, WRITABLE
from hostsim.spte_index.tables import ENTRIES, take_tables
from hostsim.spte_index.walk import look
from hostsim.spte_index.work import (
    ALLOCATIONS,
    DEPENDENT,
    FOUND,
    FREES,
    HEADS,
    NODES,
    PAGES,
    SPTES,
    STREAMED,
    Work,
    counted,
    make_work,
)

TABLES = 16
PAGES_ALL = TABLES * ENTRIES


def mapped(design: str, gfns: np.ndarray, order: np.ndarray | None = None) -> BaseIndex:
    """Spte i maps gfns[i]; mapped in ``order``."""
    tables = tables_for(design, TABLES, PAGES_ALL)
    take_tables(tables, np.arange(TABLES) * ENTRIES, direct=False)
    index = make_index(design, tables, [Slot(0, PAGES_ALL)])
    sptes = np.arange(PAGES_ALL) if order is None else order
    index.map(sptes, gfns[sptes], PRESENT | WRITABLE)
    return index


def work_of_protecting(index: BaseIndex) -> Work:
    before = index.work.copy()
    assert index.protect_slot(0) == PAGES_ALL
    return counted(index.work, before)


IN_ORDER = np.arange(PAGES_ALL)
SHUFFLED = np.random.default_rng(1).permutation(PAGES_ALL)


def test_a_line_is_streamed_if_it_is_beside_the_one_before() -> None:
    work = make_work()
    for line in (7, 7, 8, 9, 8, 20, 18):
        look(work, NODES, line)
    assert (work[STREAMED + NODES], work[DEPENDENT + NODES]) == (3, 3)
    assert counted(work).lines == 6


def test_a_rmap_walk_over_direct_maps_streams_and_over_guest_virtual_order_does_not() -> None:
    direct, indirect = (work_of_protecting(mapped("rmap", gfns)) for gfns in (IN_ORDER, SHUFFLED))
    assert direct.streamed[SPTES] == TABLES * 63
    assert direct.dependent[SPTES] == TABLES
    assert indirect.dependent[SPTES] > 0.95 * PAGES_ALL  # of 64 lines of a table 3 are the last one or beside it
    assert direct.streamed[HEADS] == indirect.streamed[HEADS] == PAGES_ALL // 8 + 1 + 1  # and those of 2 MiB and 1 GiB
    assert direct.changed == indirect.changed == PAGES_ALL


def test_tables_of_several_spaces_are_read_side_by_side() -> None:
    """Each table is a stream of its own: a walk over pages with 16 sptes jumps to each table once."""
    spaces = 16
    tables = tables_for("rmap", TABLES * spaces, PAGES_ALL)
    index = make_index("rmap", tables, [Slot(0, PAGES_ALL)])
    for space in range(spaces):
        taken = take_tables(tables, np.arange(TABLES) * ENTRIES, space, direct=False)
        index.map((taken[:, None] * ENTRIES + np.arange(ENTRIES)).ravel(), IN_ORDER, PRESENT | WRITABLE)
    before = index.work.copy()
    assert index.protect_slot(0) == spaces * PAGES_ALL
    work = counted(index.work, before)
    assert (work.streamed[SPTES], work.dependent[SPTES]) == (spaces * TABLES * 63, spaces * TABLES)
    assert work.dependent[NODES] == 2 * PAGES_ALL
    assert (work.ahead, work.chained, work.cover) == (PAGES_ALL, PAGES_ALL, 2 * PAGES_ALL)


@pytest.mark.parametrize("design", ["shadow-walk", "hybrid", "table-scan"])
def test_a_walk_of_shadow_pages_streams_whatever_they_map(design: str) -> None:
    work = work_of_protecting(mapped(design, SHUFFLED))
    assert (work.streamed[SPTES], work.dependent[SPTES]) == (TABLES * 63, TABLES)
    assert work.streamed[PAGES] + work.dependent[PAGES] == TABLES
    assert work.streamed[HEADS] + work.dependent[HEADS] == 0


def test_a_list_streams_through_nodes_in_the_order_of_mapping_but_not_through_sptes() -> None:
    """Nodes lie in the order in which they were made; the sptes that they lead to lie where the guest touched."""
    work = work_of_protecting(mapped("slot-list", IN_ORDER, SHUFFLED))
    assert work.streamed[NODES] == PAGES_ALL * 24 // 64 - 1
    assert work.dependent[SPTES] > 0.95 * PAGES_ALL


def test_a_list_whose_nodes_were_freed_and_taken_again_jumps() -> None:
    index = mapped("slot-list", IN_ORDER)
    index.drop(SHUFFLED)
    index.map(IN_ORDER, IN_ORDER, PRESENT | WRITABLE)
    assert work_of_protecting(index).dependent[NODES] > 0.9 * PAGES_ALL


def test_tdp_walks_leaf_tables_in_order() -> None:
    tables = tables_for("tdp", TABLES, PAGES_ALL)
    take_tables(tables, np.arange(TABLES) * ENTRIES)
    index = make_index("tdp", tables, [Slot(0, PAGES_ALL)])
    index.map(SHUFFLED, SHUFFLED, PRESENT | WRITABLE)
    work = work_of_protecting(index)
    assert (work.streamed[SPTES], work.dependent[SPTES]) == (TABLES * 63, TABLES)
    before = index.work.copy()
    index.unmap(700, 701)
    assert counted(index.work, before).lines == 4  # three levels above the leaf, and the leaf's


def test_pr_looks_at_every_hpte_of_every_vcpu_for_one_page() -> None:
    index = mapped("book3s-pr", IN_ORDER)
    before = index.work.copy()
    assert index.unmap(0, 1) == 1
    assert counted(index.work, before).visited == PAGES_ALL + 1
    young = np.zeros(1, np.uint8)
    before = index.work.copy()
    assert index.clear_young(1, 2, young) == 0
    assert counted(index.work, before).lines == 0


def test_chain_of_writable_sptes_costs_what_is_dirty() -> None:
    index = mapped("writable-chain", IN_ORDER)
    index.protect_slot(0)
    index.make_writable(SHUFFLED[:100])
    before = index.work.copy()
    assert index.harvest(0, np.ones(PAGES_ALL, np.uint8)) == 100
    work = counted(index.work, before)
    assert work.lines < 100 * 4
    assert work.frees == 100


def test_zap_all_may_be_put_off() -> None:
    tables = tables_for("rmap", TABLES, PAGES_ALL)
    take_tables(tables, np.arange(TABLES) * ENTRIES)
    index = make_index("rmap", tables, [Slot(0, PAGES_ALL)], fast_zap=True)
    index.map(IN_ORDER, IN_ORDER, PRESENT)
    before = index.work.copy()
    assert index.zap_all() == PAGES_ALL
    assert counted(index.work, before).changed == 0
    assert counted(index.background).changed == PAGES_ALL
    assert len(index.zapped) == PAGES_ALL


def test_costs_by_hand() -> None:
    caches = {"l1_ns": 1, "l2_ns": 2, "llc_ns": 4, "dram_ns": 8, "line_stream_ns": 3, "l1_bytes": 10, "l2_bytes": 20}
    costs = CacheCosts(**caches, llc_bytes=50, visit_ns=1, change_ns=15, atomic_ns=7, lock_pair_ns=50)
    assert costs.load_ns(10) == 1
    assert costs.load_ns(20) == 0.5 * 1 + 0.5 * 2
    assert costs.load_ns(100) == pytest.approx(0.1 * 1 + 0.1 * 2 + 0.3 * 4 + 0.5 * 8)
    assert [costs.stream_ns(size) for size in (10, 20, 50, 51)] == [1, 2, 3, 3]
    work = Work((1, 2, 0, 0), (0, 0, 3, 0), visited=5, changed=1, atomics=1, locks=1, operations=9)
    by_hand = 3 * 3 + 3 * costs.load_ns(100) + 5 * 1 + 15 + 7 + 50
    assert costs.price_ns(work, 100) == pytest.approx(by_hand)


def test_a_descriptor_is_loaded_while_the_processor_is_ahead() -> None:
    """Page by page: a first descriptor 90 ns ahead, a second one behind two sptes of 5 ns, which cover 10 ns."""
    costs = CacheCosts(dram_ns=128, visit_ns=5, ahead_ns=90)
    pages = Work(dependent=(0, 20, 0, 0), visited=100, ahead=10, chained=10, cover=20)
    assert costs.price_ns(pages, 1e9) == pytest.approx(20 * 128 + 100 * 5 - 10 * 90 - 20 * 5)
    many = Work(dependent=(0, 20, 0, 0), visited=100, ahead=10, chained=10, cover=10 * 30)
    assert costs.price_ns(many, 1e9) == pytest.approx(20 * (128 - 90) + 100 * 5)


def test_an_object_that_is_freed_costs_a_line_where_that_was_measured() -> None:
    freed = Work(frees=10, allocations=1, found=4)
    assert CacheCosts(allocation_ns=30, free_ns=30, dram_ns=128).price_ns(freed, 1e9) == pytest.approx(11 * 30)
    measured = CacheCosts(allocation_ns=135, free_ns=27, free_lines=1, dram_ns=128, found_ns=16)
    assert measured.price_ns(freed, 1e9) == pytest.approx(135 + 10 * (27 + 128) + 4 * 16)
    rows = measured.price_rows_ns(np.array([_row(freed)]), 1e9)
    assert rows[0] == pytest.approx(measured.price_ns(freed, 1e9))


def _row(work: Work) -> np.ndarray:
    row = make_work() * 0
    row[[FREES, ALLOCATIONS, FOUND]] = work.frees, work.allocations, work.found
    return row


def test_a_page_unmapped_or_protected_in_order_costs_what_the_sheet_says() -> None:
    sheet = load_costs("zen4-pvm")
    costs = costs_by_work(sheet)
    for length, enable_ns, unmap_ns in ((1, 40, 37), (2, 107, 247), (8, 238, 304), (16, 500, 583)):
        found = modelled_ns(costs, length)
        assert found["enable"] == pytest.approx(enable_ns, rel=0.09)
        assert found["unmap"] == pytest.approx(unmap_ns, rel=0.06)
        assert form_ns(costs["unmap"], "unmap", length) == pytest.approx(found["unmap"], rel=0.03)


def test_code_that_waited_comes_from_what_the_guest_left_of_the_caches() -> None:
    costs = CacheCosts(l2_ns=4, llc_ns=14, dram_ns=140, l2_bytes=1 << 20, llc_bytes=8 << 20)
    assert costs.unused_share(1 << 18) == pytest.approx(0.1)
    assert costs.unused_share(16 << 20) == pytest.approx(0.5 * 0.1 + 0.5)


def test_uniform_costs_count_calls_alone() -> None:
    assert CacheCosts.uniform.price_ns(Work((5,) * 4, (7,) * 4, 3, 3, 3, 3, 3, 3, operations=2), 1e9) == 2


@pytest.mark.parametrize("sheet", ["cascade-lake", "skylake"])
def test_a_page_cleared_in_order_costs_what_the_sheet_says(sheet: str) -> None:
    costs = CacheCosts.from_sheet(load_costs(sheet))
    page = Work((0, 0, 0, 0), visited=2, changed=1, atomics=1)
    lines_ns = 2 / 8 * costs.line_stream_ns
    assert costs.price_ns(page, 1e9) + lines_ns == pytest.approx(load_costs(sheet).clear_rmap_ns)
