"""What an operation on an index of sptes does, counted: cache lines by structure, atomics, locks, allocations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

HEADS, NODES, SPTES, PAGES = range(4)
"""Structures that a walk reads: arrays of heads or words; descriptors, list nodes, hptes; sptes; headers and upper levels of
page tables.
"""
PARTS = ("heads", "nodes", "sptes", "tables")
N_PARTS = len(PARTS)
LINE_BYTES = 64

STREAMED, DEPENDENT, LAST_LINE = 0, N_PARTS, 2 * N_PARTS
"""Where the counts of a part begin: lines beside the one before, lines anywhere else, and the line looked at last."""
VISITED, CHANGED, ATOMICS, LOCKS, ALLOCATIONS, FREES, OPERATIONS, ZAPPED = range(3 * N_PARTS, 3 * N_PARTS + 8)
"""Entries looked at; sptes changed (or found young); atomic operations; lock round trips; objects allocated and freed;
calls; length of the list of sptes that the call zapped.
"""
N_WORK = ZAPPED + 1
FAR = -(1 << 40)
"""A line that is beside no other."""


def make_work() -> Ints:
    """int64[N_WORK], nothing counted, no line looked at yet."""
    work = np.zeros(N_WORK, np.int64)
    forget_lines(work)
    return work


def forget_lines(work: Ints) -> None:
    """The next line of every part is a dependent one. In place."""
    work[LAST_LINE : LAST_LINE + N_PARTS] = FAR


@dataclass(frozen=True)
class Work:
    """Counts of one or more operations: lines by part of PARTS, the rest as in the constants above."""

    streamed: tuple[int, ...] = (0,) * N_PARTS
    dependent: tuple[int, ...] = (0,) * N_PARTS
    visited: int = 0
    changed: int = 0
    atomics: int = 0
    locks: int = 0
    allocations: int = 0
    frees: int = 0
    operations: int = 0

    @property
    def lines_streamed(self) -> int:
        """Lines beside the one that the walk had looked at before in the same structure."""
        return sum(self.streamed)

    @property
    def lines_dependent(self) -> int:
        """Lines whose address was known only when another had come."""
        return sum(self.dependent)

    @property
    def lines(self) -> int:
        """All cache lines."""
        return self.lines_streamed + self.lines_dependent


def counted(work: Ints, before: Ints | None = None) -> Work:
    """What ``work`` holds, or what was added since ``before`` was copied from it: int64[N_WORK] both."""
    n = (work if before is None else work - before).tolist()
    return Work(tuple(n[STREAMED : STREAMED + N_PARTS]), tuple(n[DEPENDENT : DEPENDENT + N_PARTS]), *n[VISITED:ZAPPED])
