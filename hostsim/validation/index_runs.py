"""Runs of indexes of sptes, by themselves, for comparison with the closed forms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.chains import count_by_chain
from hostsim.spte_index.designs import tables_for
from hostsim.spte_index.gfn_hash import GfnHashIndex
from hostsim.spte_index.guests import build_guest, one_slot
from hostsim.spte_index.protocol import BaseIndex, Slot
from hostsim.spte_index.rmap import DESC_KINDS, N_DESCS, WALKED, RmapIndex
from hostsim.spte_index.spte import PRESENT
from hostsim.spte_index.tables import ENTRIES, make_tables, take_tables
from hostsim.spte_index.walk2d import nested_walk

Counts = NDArray[np.int64]


def descriptors_by_sptes(kind: str, n_max: int) -> tuple[list[int], int]:
    """Map 1, 2 .. ``n_max`` sptes to one gfn: descriptors in use after each, and descriptors that additions visited."""
    tables = make_tables(-(-n_max // ENTRIES))
    take_tables(tables, [0] * len(tables.level), direct=False)
    index = RmapIndex(tables, [Slot(0, ENTRIES)], DESC_KINDS[kind], recycle=0)
    used = []
    for spte in range(n_max):
        index.map(np.array([spte]), np.array([7]), PRESENT)
        used.append(int(index.rmap.state[N_DESCS]))
    return used, int(index.rmap.state[WALKED])


def scan_faults(design: str, used: NDArray[np.bool_], *, has_bit: bool) -> tuple[list[int], list[int]]:
    """Faults and young pages, a number of each for each scan: all pages are aged, then the pages of a row are accessed.

    design: name of the index of sptes. used: bool[scans, pages], a row of pages for each scan.
    has_bit: the CPU has accessed bits. Without the bit an aged page is unmapped, and is young if it is mapped again.
    """
    n_pages = used.shape[1]
    guest = build_guest(design, one_slot(n_pages))
    index = guest.index
    faults, young = [], []
    bits = np.zeros(n_pages, np.uint8)
    _age(index, bits, has_bit=has_bit)
    for accessed in used:
        faults.append(sum(guest.touch(np.flatnonzero(accessed), is_write=False)))
        young.append(_age(index, bits, has_bit=has_bit))
    return faults, young


def _age(index: BaseIndex, young: NDArray[np.uint8], *, has_bit: bool) -> int:
    return index.clear_young(0, len(young), young) if has_bit else index.unmap(0, len(young))


def shared_lengths(rng: np.random.Generator, processes: int, pages: int, share: float) -> Counts:
    """int64[pages]: sptes on the rmap of each page when ``processes`` each map a page with probability ``share``."""
    tables_each = -(-pages // ENTRIES)
    tables = make_tables(processes * tables_each)
    index = RmapIndex(tables, [Slot(0, tables_each * ENTRIES)])
    for process in range(processes):
        taken = take_tables(tables, np.arange(tables_each) * ENTRIES, process, direct=False)
        places = (taken[:, None] * ENTRIES + np.arange(ENTRIES)).ravel()[:pages]
        gfns = rng.permutation(pages)  # a process has its pages in an order of its own
        mapped = rng.random(pages) < share
        index.map(places[mapped], gfns[mapped], PRESENT)
    return index.lengths()[:pages]


def bucket_lengths(rng: np.random.Generator, keys: int, bits: int) -> Counts:
    """int64[2^bits]: ``keys`` gfns drawn from all of 2^31, each in its bucket."""
    n_tables = -(-keys // ENTRIES)
    tables = tables_for("gfn-hash", n_tables, ENTRIES)
    take_tables(tables, np.arange(n_tables) * ENTRIES, direct=False)
    index = GfnHashIndex(tables, [Slot(0, 1 << 31)], bits)
    index.map(np.arange(keys), rng.integers(1 << 31, size=keys), PRESENT)
    counts = np.zeros(1 << bits, np.int64)
    count_by_chain(index.chains, counts)
    return counts


def walk_references(guest_levels: int, host_levels: int) -> tuple[int, int]:
    """(memory references, host frame at the end) of one two-dimensional walk.

    guest_levels, host_levels: levels of the guest's and of the host's page tables. These are built here: gfn lies at host
    frame gfn + 1000, and the page that the guest's tables lead to is gfn ``guest_levels``.
    """
    host, guest = _radix(host_levels), np.zeros((guest_levels, ENTRIES), np.int64)
    va = sum((3 + level) << (9 * level) for level in range(guest_levels))
    for table, level in enumerate(range(guest_levels - 1, -1, -1)):
        guest[table, 3 + level] = table + 1  # table t lies at gfn t, the page itself behind the last
    references = np.zeros(1, np.int64)
    place = np.arange(guest_levels + 1)
    frame = nested_walk(guest, guest_levels, host, host_levels, place, va, references)
    return int(references[0]), frame


def _radix(levels: int) -> Counts:
    """Tables that translate gfns below 512 to gfn + 1000."""
    tables = np.zeros((levels, ENTRIES), np.int64)
    for table in range(levels - 1):
        tables[table, 0] = table + 1
    tables[levels - 1] = np.arange(ENTRIES) + 1000
    return tables
