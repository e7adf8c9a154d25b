"""The work of an operation on an index, counted: cache lines by structure, atomic operations, locks, allocations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

HEADS, NODES, SPTES, PAGES = range(4)
"""The structures that a walk reads: heads or words; descriptors, list nodes or hptes; sptes; headers and upper levels of
page tables.
"""
PARTS = ("heads", "nodes", "sptes", "tables")
N_PARTS = len(PARTS)
LINE_BYTES = 64

STREAMED, DEPENDENT, LAST_LINE = 0, N_PARTS, 2 * N_PARTS
"""First place of the counts by structure: lines beside the line before; lines anywhere else; the line looked at last."""
VISITED, CHANGED, ATOMICS, LOCKS, ALLOCATIONS, FREES, OPERATIONS, AHEAD, CHAINED, COVER, FOUND, ZAPPED = range(
    3 * N_PARTS, 3 * N_PARTS + 12
)
"""Places of the other counts: entries looked at; sptes changed (or found young); atomic operations; lock round trips;
objects allocated; objects freed; calls; dependent lines whose address was read early, with a streamed line; dependent lines
whose address came with the dependent line before; entries looked at between these two; rmap heads that lead to an spte;
sptes that the call has zapped.
"""
N_WORK = ZAPPED + 1
FAR = -(1 << 40)
"""A line number that is beside no line."""


def make_work() -> Ints:
    """int64[N_WORK]: nothing counted, and no line looked at yet."""
    work = np.zeros(N_WORK, np.int64)
    forget_lines(work)
    return work


def forget_lines(work: Ints) -> None:
    """Make the next line of every structure a dependent one: the guest has run since the last call. In place."""
    work[LAST_LINE : LAST_LINE + N_PARTS] = FAR


@dataclass(frozen=True)
class Work:
    """Counts of one or more operations. streamed, dependent: lines by structure, as in PARTS; the rest as above."""

    streamed: tuple[int, ...] = (0,) * N_PARTS
    dependent: tuple[int, ...] = (0,) * N_PARTS
    visited: int = 0
    changed: int = 0
    atomics: int = 0
    locks: int = 0
    allocations: int = 0
    frees: int = 0
    operations: int = 0
    ahead: int = 0
    chained: int = 0
    cover: int = 0
    found: int = 0

    @property
    def lines_streamed(self) -> int:
        """Lines beside the line that the walk looked at before in that structure."""
        return sum(self.streamed)

    @property
    def lines_dependent(self) -> int:
        """Lines whose address the processor knew only when another line had come."""
        return sum(self.dependent)

    @property
    def lines(self) -> int:
        """All cache lines."""
        return self.lines_streamed + self.lines_dependent


def counted(work: Ints, before: Ints | None = None) -> Work:
    """The counts in ``work``, or those added since ``before`` was copied from it. work, before: int64[N_WORK]."""
    n = (work if before is None else work - before).tolist()
    return Work(tuple(n[STREAMED : STREAMED + N_PARTS]), tuple(n[DEPENDENT : DEPENDENT + N_PARTS]), *n[VISITED:ZAPPED])
