"""Time spent in an index, by purpose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.work import Work, counted


class Meter:
    """Prices the calls of ``index`` with ``costs``.

    ns, calls: time and number of calls by purpose.
    last, last_ns: counts and time of the last call.
    visited: entries looked at in all calls.
    The footprint is that of the index with its sptes when the call begins; the caches hold nothing else.
    """

    def __init__(self, index: BaseIndex, costs: CacheCosts) -> None:
        self.index, self.costs = index, costs
        self.ns: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self.last, self.last_ns, self.visited = Work(), 0.0, 0

    @contextmanager
    def of(self, purpose: str) -> Iterator[None]:
        """Book the calls made inside under ``purpose``."""
        before, footprint = self.index.work.copy(), self.footprint_bytes()
        yield
        self.last = counted(self.index.work, before)
        self.last_ns = self.costs.price_ns(self.last, footprint)
        self.ns[purpose] += self.last_ns
        self.calls[purpose] += self.last.operations
        self.visited += self.last.visited

    def footprint_bytes(self) -> float:
        """Bytes of the index and its sptes."""
        return float(sum(self.index.bytes_used().values()))
