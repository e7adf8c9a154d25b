"""Memory of every index, counted, against the sizes of the kernels' structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hostsim.spte_index.designs import DESIGNS, make_index, tables_for
from hostsim.spte_index.protocol import BaseIndex, Slot
from hostsim.spte_index.spte import PRESENT, WRITABLE
from hostsim.spte_index.tables import ENTRIES, take_tables

GIB_PAGES = 1 << 18
SMALL = 4 * ENTRIES


def index_of(design: str, n_pages: int = SMALL, copies: int = 1, **options: Any) -> BaseIndex:
    """All pages mapped once, and writable, for each of ``copies`` spaces (direct tables if it is one)."""
    n_tables = n_pages // ENTRIES
    tables = tables_for(design, n_tables * copies, n_pages)
    index = make_index(design, tables, [Slot(0, n_pages)], **options)
    for space in range(copies):
        taken = take_tables(tables, np.arange(n_tables) * ENTRIES, space, direct=copies == 1)
        places = (taken[:, None] * ENTRIES + np.arange(ENTRIES)).ravel()
        index.map(places, np.arange(n_pages), PRESENT | WRITABLE)
    return index


def test_rmap_heads_are_8_016_bytes_a_page_mapped_or_not() -> None:
    empty = make_index("rmap", tables_for("rmap", 1, GIB_PAGES), [Slot(0, GIB_PAGES)])
    assert round(empty.bytes_used()["heads"] / GIB_PAGES, 3) == 8.016
    assert round(100 * empty.bytes_used()["heads"] / (GIB_PAGES * 4096), 3) == 0.196
    assert empty.bytes_used()["descriptors"] == empty.bytes_used()["tables"] == 0


@pytest.mark.parametrize(
    ("design", "copies", "n_bytes"),
    [
        ("rmap", 1, 0), ("rmap", 2, 128), ("rmap", 14, 128), ("rmap", 15, 256),
        ("rmap-3", 2, 32), ("rmap-3", 4, 64), ("rmap-15", 16, 256),
    ],
)  # fmt: skip
def test_descriptors_of_a_page(design: str, copies: int, n_bytes: int) -> None:
    assert index_of(design, ENTRIES, copies).bytes_used()["descriptors"] == n_bytes * ENTRIES


def test_an_indirect_table_has_translations() -> None:
    direct, shadow = index_of("rmap", ENTRIES), index_of("rmap", ENTRIES, 2)
    assert direct.bytes_used()["tables"] == 4096 + 184
    assert shadow.bytes_used()["tables"] == 2 * (4096 + 184 + 4096)


@pytest.mark.parametrize(("n_lists", "kib"), [(5, 176.25), (4, 160.25)])
def test_book3s_pr_heads_of_a_vcpu(n_lists: int, kib: float) -> None:
    index = index_of("book3s-pr", n_vcpus=3, n_lists=n_lists)
    assert index.bytes_used()["heads"] == 3 * kib * 1024


def test_book3s_pr_hpte_is_168_bytes_and_a_full_vcpu_5_25_mib() -> None:
    parts = index_of("book3s-pr").bytes_used()
    assert (parts["links"] / SMALL, parts["hptes"] / SMALL) == (80, 88)
    full = index_of("book3s-pr", 32768).bytes_used()
    assert (full["links"] + full["hptes"]) / (1 << 20) == 5.25
    assert index_of("book3s-pr", n_lists=4).bytes_used()["links"] / SMALL == 64


def test_book3s_hv_has_8_bytes_a_page_and_16_an_entry_of_the_hash_table() -> None:
    parts = index_of("book3s-hv").bytes_used()
    assert (parts["words"], parts["revmap"]) == (8 * SMALL, 16 * 4 * SMALL)


def test_tdp_needs_its_tables_only() -> None:
    parts = index_of("tdp", GIB_PAGES).bytes_used()
    assert round(parts["tables"] / GIB_PAGES, 1) == 8.4
    assert parts["upper levels"] == 3 * (4096 + 184)  # root, one of level 3, one of level 2


def test_a_large_spte_is_8_bytes_of_a_table() -> None:
    tables = tables_for("tdp", 1, GIB_PAGES)
    index = make_index("tdp", tables, [Slot(0, GIB_PAGES)])
    take_tables(tables, [0], level=1)
    index.map(np.arange(ENTRIES), np.arange(ENTRIES) * ENTRIES, PRESENT)
    parts = index.bytes_used()
    assert parts["tables"] + parts["upper levels"] == 3 * (4096 + 184)


@pytest.mark.parametrize("design", ["slot-list", "gfn-hash"])
def test_a_node_is_16_bytes_and_8_back(design: str) -> None:
    parts = index_of(design).bytes_used()
    assert (parts["links"], parts["back references"]) == (16 * SMALL, 8 * SMALL)
    assert parts["heads"] == (8 if design == "slot-list" else 8 * 4096)


def test_the_chain_of_writable_sptes_shrinks_to_its_head_and_charges_its_partner() -> None:
    index = index_of("writable-chain")
    assert index.bytes_used()["links"] == 16 * SMALL
    index.protect_slot(0)
    parts = index.bytes_used()
    assert (parts["links"], parts["heads"]) == (0, 8)
    assert parts["rmap: heads"] == index_of("rmap").bytes_used()["heads"]


def test_a_chain_of_a_logged_slot_is_there_while_it_is_logged() -> None:
    index = index_of("logged-chain")
    assert index.bytes_used()["links"] == 0
    index.start_log(0)
    assert index.bytes_used()["links"] == 16 * SMALL
    index.stop_log(0)
    assert index.bytes_used()["links"] == 0


def test_a_slot_bitmap_is_a_word_a_table() -> None:
    assert index_of("shadow-walk").bytes_used()["slot bitmaps"] == 8 * 4


@pytest.mark.parametrize("design", DESIGNS)
def test_nothing_stays_but_what_is_there_from_the_start(design: str) -> None:
    index = index_of(design)
    empty = make_index(design, tables_for(design, 1, SMALL), [Slot(0, SMALL)])
    index.zap_all()
    left = {part: n for part, n in index.bytes_used().items() if part not in {"tables", "upper levels", "slot bitmaps"}}
    assert left == {part: empty.bytes_used()[part] for part in left}


@pytest.mark.parametrize("design", ["rmap", "book3s-hv", "writable-chain"])
def test_a_deleted_slot_takes_its_heads_along(design: str) -> None:
    index = make_index(design, tables_for(design, 1, SMALL), [Slot(0, ENTRIES), Slot(ENTRIES, SMALL)])
    before = sum(index.bytes_used().values())
    index.delete_slot(1)
    gone = sum(index.bytes_used().values()) - before
    assert gone / (SMALL - ENTRIES) == pytest.approx(-8, abs=0.05)
