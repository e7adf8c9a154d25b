"""The registry of designs by name. A new design is a file beside this one and a line of DESIGNS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hostsim.spte_index.book3s_hv import Book3sHvIndex
from hostsim.spte_index.book3s_pr import Book3sPrIndex
from hostsim.spte_index.gfn_hash import GfnHashIndex
from hostsim.spte_index.logged_chain import LoggedChainIndex, LoggedWritableChainIndex
from hostsim.spte_index.protocol import BaseIndex, Slot
from hostsim.spte_index.rmap import DESC_KINDS, RmapIndex
from hostsim.spte_index.shadow_walk import HybridIndex, ShadowWalkIndex, TableScanIndex
from hostsim.spte_index.slot_list import SlotListIndex
from hostsim.spte_index.tables import HPTE_GROUP, SpteTables, make_tables
from hostsim.spte_index.tdp import TdpIndex
from hostsim.spte_index.writable_chain import WritableChainIndex

HPT_ENTRIES_A_PAGE = 4
"""A hash table of 1/64 of guest memory, 16 B an entry (LoPAR's upper recommendation; assumed)."""


@dataclass(frozen=True)
class Design:
    """A design under a name.

    kind: class of the index.
    says: the design in a line.
    options: of the constructor of ``kind``.
    """

    kind: type[BaseIndex]
    says: str
    options: dict[str, Any] = field(default_factory=dict)


DESIGNS: dict[str, Design] = {
    "rmap": Design(RmapIndex, "x86 since 6.4: heads by gfn, descriptors of 14 with a counter, a new one in front"),
    "rmap-3": Design(RmapIndex, "x86 until 5.13: descriptors of 3", {"kind": DESC_KINDS["3"]}),
    "rmap-15": Design(RmapIndex, "x86 5.14: descriptors of 15", {"kind": DESC_KINDS["15"]}),
    "shadow-walk": Design(
        ShadowWalkIndex, "x86 2008-2011: rmap for notifiers, walk of all shadow pages to protect", {"kind": DESC_KINDS["3"]}
    ),
    "hybrid": Design(
        HybridIndex, "x86 2011: rmap of the dirty gfns if fewer than shadow pages, else the walk", {"kind": DESC_KINDS["3"]}
    ),
    "slot-list": Design(SlotListIndex, "a list of all sptes of a slot"),
    "writable-chain": Design(WritableChainIndex, "a chain of writable sptes, rmap for notifiers"),
    "logged-chain": Design(LoggedChainIndex, "a chain while the slot is logged, rmap for notifiers"),
    "logged-writable-chain": Design(
        LoggedWritableChainIndex, "a chain of writable sptes while the slot is logged, tables scanned for notifiers"
    ),
    "gfn-hash": Design(GfnHashIndex, "hash by gfn, 4096 heads"),
    "book3s-pr": Design(Book3sPrIndex, "Book3S PR: five hashes a vCPU, none by gfn"),
    "book3s-hv": Design(Book3sHvIndex, "Book3S HV: a word and a ring a gfn, R and C bits"),
    "tdp": Design(TdpIndex, "TDP MMU: the page table is the index"),
    "table-scan": Design(TableScanIndex, "no index: all tables are read"),
}  # fmt: skip


def tables_for(design: str, n_tables: int, n_pages: int) -> SpteTables:
    """Room for ``n_tables`` tables of a guest of ``n_pages``, laid out as ``design`` has them."""
    groups = max(1, n_pages * HPT_ENTRIES_A_PAGE // HPTE_GROUP)
    return make_tables(n_tables, (groups - 1).bit_length() if DESIGNS[design].kind.traits.hashed else 0)


def make_index(design: str, tables: SpteTables, slots: Sequence[Slot], **options: Any) -> BaseIndex:
    """The index ``design`` over ``tables``. ``options`` go before those of the registry."""
    kind: Any = DESIGNS[design].kind
    index: BaseIndex = kind(tables, slots, **{**DESIGNS[design].options, **options})
    return index
