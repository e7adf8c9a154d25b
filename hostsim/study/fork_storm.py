"""A storm of forks under shadow paging: what an index takes for each child that comes, and for each that goes."""

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
    """comes_ns, goes_ns: in the index, of each child in turn (those that go in a drawn order); index_bytes: when all are
    there, beside the page tables; visited: entries looked at in all; counts: exits and what else KVM did.
    """

    design: str
    comes_ns: tuple[float, ...]
    goes_ns: tuple[float, ...]
    index_bytes: int
    visited: int
    counts: ShadowCounts


def run_storm(design: str, n_pages: int, n_children: int, costs: CacheCosts, writes: Writes = "unsync") -> Storm:
    """A process of ``n_pages`` forks ``n_children`` times; each child reads all of them and stays; then all exit."""
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
