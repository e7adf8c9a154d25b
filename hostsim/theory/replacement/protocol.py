"""The protocol of page replacement on demand: from a string of references to hits and victims."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

NO_PAGE = -1
"""In arrays of pages: none."""


class Replay(NamedTuple):
    """hits: uint8[n], 1 where the page referenced was resident; victims: int64[n], the page evicted for it, or NO_PAGE."""

    hits: NDArray[np.uint8]
    victims: NDArray[np.int64]

    @property
    def hit_ratio(self) -> float:
        """Share of the references that hit."""
        return float(self.hits.mean())


class ReplacementPolicy(Protocol):
    """Memory of ``capacity_pages`` frames that loads a page when it is referenced and absent, and evicts when it is full."""

    name: str
    capacity_pages: int

    def replay(self, pages: NDArray[np.int64]) -> Replay:
        """Replay references (int64[n], pages from 0 on) in order, starting from the resident pages of the last call."""
        ...

    def resident_pages(self) -> NDArray[np.int64]:
        """int64[at most capacity_pages]: resident pages, ascending."""
        ...


def dense_pages(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Page numbers int64[n] of any size as int64[n] from 0 on, in order of address, and the number of distinct pages."""
    distinct, dense = np.unique(numbers, return_inverse=True)
    return dense.astype(np.int64), len(distinct)
