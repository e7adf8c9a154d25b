"""The price of counted work on a machine: which cache answers a line follows from the size of the structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.work import (
    AHEAD,
    ALLOCATIONS,
    ATOMICS,
    CHAINED,
    CHANGED,
    COVER,
    DEPENDENT,
    FOUND,
    FREES,
    LOCKS,
    N_PARTS,
    N_WORK,
    OPERATIONS,
    STREAMED,
    VISITED,
    Work,
)

Counts = Mapping[int, float] | NDArray[np.int64]
COMPUTED = frozenset({"change_ns", "operation_ns", "found_ns", "free_ns", "free_lines"})
"""Fields that no sheet has: all but operation_ns, which belongs to a made-up machine, follow from numbers that it has."""


@dataclass(frozen=True)
class CacheCosts:
    """Prices [ns] and cache sizes [bytes] of a machine; a price that is not given is 0.

    l1_ns, l2_ns, llc_ns, dram_ns: a load that this level answers.
    line_stream_ns: a line beside the line before, out of memory.
    l1_bytes, l2_bytes, llc_bytes: sizes of the caches.
    atomic_ns, lock_pair_ns, allocation_ns: an atomic operation, a lock round trip, an object allocated or freed.
    visit_ns: an entry looked at, beside its line.
    free_ns, free_lines: an object freed, and lines that are loaded for it: SLUB looks at the slab of the object.
    change_ns: an spte changed, beside its line and the atomic operation.
    found_ns: an rmap head that leads to an spte, beside the sptes: the call of a function for it.
    operation_ns: a call by itself.
    ahead_ns: work on which an out-of-order processor is ahead of the load that it waits for, as far as its reorder buffer
    reaches.
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
    ahead_ns: float = 0.0
    free_ns: float = 0.0
    free_lines: float = 0.0
    found_ns: float = 0.0

    uniform: ClassVar[CacheCosts]
    """A machine on which every call costs 1 ns, so that designs differ in nothing but their answers."""

    @classmethod
    def from_sheet(cls, sheet: Any) -> CacheCosts:
        """Costs of a ``hostsim.costs.costs.CostSheet``.

        change_ns is the rest of a page that CLEAR finds through the rmap (clear_rmap_ns, pages in order), when the lines,
        the visits and the atomic operation are paid.
        """
        given = {field.name: getattr(sheet, field.name) for field in fields(cls) if field.name not in COMPUTED}
        costs = cls(**given)
        lines_ns = costs.line_stream_ns * 2 / 8  # a head and an spte, 8 of each a line
        change_ns = sheet.clear_rmap_ns - lines_ns - 2 * costs.visit_ns - costs.atomic_ns
        free_ns, free_lines = _freeing(sheet)
        return replace(costs, change_ns=max(0.0, change_ns), free_ns=free_ns, free_lines=free_lines)

    def emptied(self) -> CacheCosts:
        """These costs right after other work has emptied all caches: every line comes from memory."""
        return replace(self, l1_bytes=0.0, l2_bytes=0.0, llc_bytes=0.0)

    def load_ns(self, footprint_bytes: float) -> float:
        """Price of a line anywhere in ``footprint_bytes``: a cache of a tenth of that size answers a tenth of the loads."""
        levels = ((self.l1_bytes, self.l1_ns), (self.l2_bytes, self.l2_ns), (self.llc_bytes, self.llc_ns))
        cost, held = 0.0, 0.0
        for size, ns in levels:
            share = min(1.0, size / footprint_bytes) if footprint_bytes else 1.0
            cost += max(0.0, share - held) * ns
            held = max(held, share)
        return cost + (1.0 - held) * self.dram_ns

    def unused_share(self, touched_bytes: float) -> float:
        """Price of a line that waited while other work touched ``touched_bytes``, as a share of a load from memory.

        The private caches have not kept it.
        """
        return replace(self, l1_bytes=0.0, l2_bytes=0.0).load_ns(touched_bytes) / self.dram_ns

    def stream_ns(self, footprint_bytes: float) -> float:
        """Price of a line beside the line before: a walk longer than a cache has pushed its own lines out of the cache."""
        for size, ns in ((self.l1_bytes, self.l1_ns), (self.l2_bytes, self.l2_ns), (self.llc_bytes, self.llc_ns)):
            if footprint_bytes <= size:
                return min(ns, self.line_stream_ns)
        return self.line_stream_ns

    def hidden_ns(self, work: Counts, load_ns: float) -> Any:
        """Time of loads that passes while the processor works on entries before them.

        work: counts by their places in work.py, a number or a column each.
        A line whose address was read early is asked for as soon as the processor has it in reach, ``ahead_ns`` of work
        before its use; the next descriptor of a page when the one before has come, so that the sptes between them cover
        its load.
        """
        # Model limit: the processor is ahead of loads of rmap descriptors alone. Nodes of other designs wait for each line
        # in full: in a list, whose next address comes with the line before, that is right; in a hash it is too long.
        reach_ns = min(self.ahead_ns, load_ns)
        changed = work[CHANGED] / np.maximum(1, work[VISITED])
        entry_ns = self.visit_ns + changed * (self.change_ns + self.atomic_ns)
        return work[AHEAD] * reach_ns + np.minimum(work[COVER] * entry_ns, work[CHAINED] * reach_ns)

    def freed_ns(self, load_ns: float) -> float:
        """Price of an object that is freed; load_ns: of a line."""
        return self.free_ns + self.free_lines * load_ns

    def price_ns(self, work: Work, footprint_bytes: float) -> float:
        """Time of ``work`` on one CPU in a structure of ``footprint_bytes``."""
        load_ns = self.load_ns(footprint_bytes)
        return (
            work.lines_streamed * self.stream_ns(footprint_bytes)
            + work.lines_dependent * load_ns
            - float(self.hidden_ns(_places(work), load_ns))
            + work.visited * self.visit_ns
            + work.changed * self.change_ns
            + work.atomics * self.atomic_ns
            + work.locks * self.lock_pair_ns
            + work.allocations * self.allocation_ns
            + work.frees * self.freed_ns(load_ns)
            + work.found * self.found_ns
            + work.operations * self.operation_ns
        )

    def price_rows_ns(self, work: NDArray[np.int64], footprint_bytes: float) -> NDArray[np.float64]:
        """float64[n]: the time of each call. work: int64[n, N_WORK], the counts that each call has added."""
        each, load_ns = np.zeros(N_WORK), self.load_ns(footprint_bytes)
        each[STREAMED : STREAMED + N_PARTS] = self.stream_ns(footprint_bytes)
        each[DEPENDENT : DEPENDENT + N_PARTS] = load_ns
        each[[VISITED, CHANGED, ATOMICS, LOCKS]] = self.visit_ns, self.change_ns, self.atomic_ns, self.lock_pair_ns
        each[[ALLOCATIONS, FREES, OPERATIONS]] = self.allocation_ns, self.freed_ns(load_ns), self.operation_ns
        each[FOUND] = self.found_ns
        return np.asarray((work * each).sum(axis=1) - self.hidden_ns(work.T, load_ns))


def _freeing(sheet: Any) -> tuple[float, float]:
    """(ns, lines) of freeing an object: measured with empty caches, where a load comes from memory; else as allocating."""
    cold_ns = sheet.measured_ns("free_cold_ns")
    return (max(0.0, cold_ns - sheet.dram_ns), 1.0) if cold_ns else (sheet.allocation_ns, 0.0)


def _places(work: Work) -> Counts:
    return {
        VISITED: work.visited, CHANGED: work.changed, AHEAD: work.ahead, CHAINED: work.chained, COVER: work.cover,
    }  # fmt: skip


CacheCosts.uniform = CacheCosts(operation_ns=1.0)
