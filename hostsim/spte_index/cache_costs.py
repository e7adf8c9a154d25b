"""What counted work costs on a machine: residency by footprint against the sizes of the caches."""

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
"""Not in a sheet: computed here, or of a made-up machine."""


@dataclass(frozen=True)
class CacheCosts:
    """Load latencies by level, a streamed line from memory, cache sizes, and the rest of an operation [ns, bytes].

    visit_ns: an entry looked at, beside its line; change_ns: an spte changed, beside line and atomic operation;
    operation_ns: a call by itself. What is not given takes no time.
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
    """Every call costs 1 ns, whatever it does."""

    @classmethod
    def from_sheet(cls, sheet: Any) -> CacheCosts:
        """Costs of a ``hostsim.costs.costs.CostSheet``.

        change_ns is what CLEAR through the rmap (clear_rmap_ns, a page in order) costs beside lines, visits and the atomic.
        """
        given = {field.name: getattr(sheet, field.name) for field in fields(cls) if field.name not in CHANGE}
        costs = cls(**given)
        lines_ns = costs.line_stream_ns * 2 / 8  # a head and an spte, 8 of each a line
        change_ns = sheet.clear_rmap_ns - lines_ns - 2 * costs.visit_ns - costs.atomic_ns
        return replace(costs, change_ns=max(0.0, change_ns))

    def load_ns(self, footprint_bytes: float) -> float:
        """A line anywhere in ``footprint_bytes``: each cache holds its size's share of them."""
        levels = ((self.l1_bytes, self.l1_ns), (self.l2_bytes, self.l2_ns), (self.llc_bytes, self.llc_ns))
        cost, held = 0.0, 0.0
        for size, ns in levels:
            share = min(1.0, size / footprint_bytes) if footprint_bytes else 1.0
            cost += max(0.0, share - held) * ns
            held = max(held, share)
        return cost + (1.0 - held) * self.dram_ns

    def stream_ns(self, footprint_bytes: float) -> float:
        """A line beside the one before: a walk longer than a cache finds nothing in it, but needs not wait."""
        for size, ns in ((self.l1_bytes, self.l1_ns), (self.l2_bytes, self.l2_ns), (self.llc_bytes, self.llc_ns)):
            if footprint_bytes <= size:
                return min(ns, self.line_stream_ns)
        return self.line_stream_ns

    def price_ns(self, work: Work, footprint_bytes: float) -> float:
        """Time of ``work`` by one thread in a structure of ``footprint_bytes``."""
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
        """float64[n]: the same of each row of ``work``, int64[n, N_WORK], what a call added to the counts of an index."""
        each = np.zeros(N_WORK)
        each[STREAMED : STREAMED + N_PARTS] = self.stream_ns(footprint_bytes)
        each[DEPENDENT : DEPENDENT + N_PARTS] = self.load_ns(footprint_bytes)
        each[[VISITED, CHANGED, ATOMICS, LOCKS]] = self.visit_ns, self.change_ns, self.atomic_ns, self.lock_pair_ns
        each[[ALLOCATIONS, FREES, OPERATIONS]] = self.allocation_ns, self.allocation_ns, self.operation_ns
        return np.asarray((work * each).sum(axis=1))


CacheCosts.uniform = CacheCosts(operation_ns=1.0)
