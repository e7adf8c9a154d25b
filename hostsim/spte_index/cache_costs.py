"""The price of counted work on a machine: which cache answers a line follows from the size of the structure."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.work import (
    ALLOCATIONS,
    ATOMICS,
    CHANGED,
    DEPENDENT,
    FREES,
    LOCKS,
    N_PARTS,
    N_WORK,
    OPERATIONS,
    STREAMED,
    VISITED,
    Work,
)

CHANGE = frozenset({"change_ns", "operation_ns"})
"""Fields that no sheet has: change_ns is computed below, operation_ns belongs to a made-up machine."""


@dataclass(frozen=True)
class CacheCosts:
    """Prices [ns] and cache sizes [bytes] of a machine; a price that is not given is 0.

    l1_ns, l2_ns, llc_ns, dram_ns: a load that this level answers.
    line_stream_ns: a line beside the line before, out of memory.
    l1_bytes, l2_bytes, llc_bytes: sizes of the caches.
    atomic_ns, lock_pair_ns, allocation_ns: an atomic operation, a lock round trip, an object allocated or freed.
    visit_ns: an entry looked at, beside its line.
    change_ns: an spte changed, beside its line and the atomic operation.
    operation_ns: a call by itself.
    """

    l1_ns: float = 0.0
    l2_ns: float = 0.0
    llc_ns: float = 0.0
    dram_ns: float = 0.0
    line_stream_ns: float = 0.0
    l1_bytes: float = 0.0
    l2_bytes: float = 0.0
    llc_bytes: float = 0.0
    atomic_ns: float = 0.0
    lock_pair_ns: float = 0.0
    allocation_ns: float = 0.0
    visit_ns: float = 0.0
    change_ns: float = 0.0
    operation_ns: float = 0.0

    uniform: ClassVar[CacheCosts]
    """A machine on which every call costs 1 ns, so that designs differ in nothing but their answers."""

    @classmethod
    def from_sheet(cls, sheet: Any) -> CacheCosts:
        """Costs of a ``hostsim.costs.costs.CostSheet``.

        change_ns is the rest of a page that CLEAR finds through the rmap (clear_rmap_ns, pages in order), when the lines,
        the visits and the atomic operation are paid.
        """
        given = {field.name: getattr(sheet, field.name) for field in fields(cls) if field.name not in CHANGE}
        costs = cls(**given)
        lines_ns = costs.line_stream_ns * 2 / 8  # a head and an spte, 8 of each a line
        change_ns = sheet.clear_rmap_ns - lines_ns - 2 * costs.visit_ns - costs.atomic_ns
        return replace(costs, change_ns=max(0.0, change_ns))

    def load_ns(self, footprint_bytes: float) -> float:
        """Price of a line anywhere in ``footprint_bytes``: a cache of a tenth of that size answers a tenth of the loads."""
        levels = ((self.l1_bytes, self.l1_ns), (self.l2_bytes, self.l2_ns), (self.llc_bytes, self.llc_ns))
        cost, held = 0.0, 0.0
        for size, ns in levels:
            share = min(1.0, size / footprint_bytes) if footprint_bytes else 1.0
            cost += max(0.0, share - held) * ns
            held = max(held, share)
        return cost + (1.0 - held) * self.dram_ns

    def stream_ns(self, footprint_bytes: float) -> float:
        """Price of a line beside the line before: a walk longer than a cache has pushed its own lines out of the cache."""
        for size, ns in ((self.l1_bytes, self.l1_ns), (self.l2_bytes, self.l2_ns), (self.llc_bytes, self.llc_ns)):
            if footprint_bytes <= size:
                return min(ns, self.line_stream_ns)
        return self.line_stream_ns

    def price_ns(self, work: Work, footprint_bytes: float) -> float:
        """Time of ``work`` on one CPU in a structure of ``footprint_bytes``."""
        return (
            work.lines_streamed * self.stream_ns(footprint_bytes)
            + work.lines_dependent * self.load_ns(footprint_bytes)
            + work.visited * self.visit_ns
            + work.changed * self.change_ns
            + work.atomics * self.atomic_ns
            + work.locks * self.lock_pair_ns
            + (work.allocations + work.frees) * self.allocation_ns
            + work.operations * self.operation_ns
        )

    def price_rows_ns(self, work: NDArray[np.int64], footprint_bytes: float) -> NDArray[np.float64]:
        """float64[n]: the time of each call. work: int64[n, N_WORK], the counts that each call has added."""
        each = np.zeros(N_WORK)
        each[STREAMED : STREAMED + N_PARTS] = self.stream_ns(footprint_bytes)
        each[DEPENDENT : DEPENDENT + N_PARTS] = self.load_ns(footprint_bytes)
        each[[VISITED, CHANGED, ATOMICS, LOCKS]] = self.visit_ns, self.change_ns, self.atomic_ns, self.lock_pair_ns
        each[[ALLOCATIONS, FREES, OPERATIONS]] = self.allocation_ns, self.allocation_ns, self.operation_ns
        return np.asarray((work * each).sum(axis=1))


CacheCosts.uniform = CacheCosts(operation_ns=1.0)
