"""A storm of forks under shadow paging: time in the index for each child that starts, and for each that exits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.fan_out import fork_and_read, in_drawn_order
from hostsim.spte_index.meter import Meter
from hostsim.spte_index.spaces import ShadowCounts, ShadowGuest, Writes
from hostsim.spte_index.tables import ENTRIES

COMES, GOES = "comes", "goes"


@dataclass(frozen=True)
class Storm:
    """Costs of a storm of forks in one index.

    comes_ns: time in the index of each child's fork and reads; goes_ns: of each child's exit, in a drawn order.
    index_bytes: memory beside the page tables while all children live.
    visited: entries read in all; counts: exits and other work of KVM.
    """

    design: str
    comes_ns: tuple[float, ...]
    goes_ns: tuple[float, ...]
    index_bytes: int
    visited: int
    counts: ShadowCounts


def run_storm(design: str, n_pages: int, n_children: int, costs: CacheCosts, writes: Writes = "unsync") -> Storm:
    """Let a process of ``n_pages`` fork ``n_children`` times; each child reads all pages and stays; then all children exit.

    design: name of the index. costs: of its cache lines.
    writes: how KVM handles writes to shadowed page tables.
    """
    frames = -(-n_pages // ENTRIES) * ENTRIES
    guest = ShadowGuest(design, frames, (n_children + 1) * (frames // ENTRIES), writes=writes)
    meter = Meter(guest.index, costs)
    parent = guest.spawn(n_pages)
    guest.touch(parent, np.arange(n_pages), is_write=True)
    comes, goes = [], []
    for _ in range(n_children):
        with meter.of(COMES):
            fork_and_read(guest, parent)
        comes.append(meter.last_ns)
    index_bytes = sum(guest.index.index_bytes().values())
    for child in in_drawn_order(guest):
        with meter.of(GOES):
            guest.exit(child)
        goes.append(meter.last_ns)
    return Storm(design, tuple(comes), tuple(goes), index_bytes, meter.visited, guest.counts)
