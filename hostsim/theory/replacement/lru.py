"""LRU: a list in order of the last reference, linked through arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.theory.replacement.protocol import NO_PAGE

ABSENT = -1
"""Neighbour of a page that is not resident."""


@jit
def replay_lru(
    pages: NDArray[np.int64],
    capacity: int,
    older: NDArray[np.int64],
    newer: NDArray[np.int64],
    used: NDArray[np.int64],
    hits: NDArray[np.uint8],
    victims: NDArray[np.int64],
) -> None:
    """Evict the page that was referenced longest ago; O(1) a reference.

    pages: int64[n], references in order.
    older, newer: int64[n_pages + 1], in place: neighbours in the list, ABSENT if not resident. The entry behind the last
    page closes the ring: its newer is the oldest page, its older the newest.
    used: int64[1], in place: frames used.
    hits: uint8[n], victims: int64[n], in place: results by reference.
    """
    ring = len(older) - 1
    for i in range(len(pages)):
        page = pages[i]
        hits[i], victims[i] = newer[page] != ABSENT, NO_PAGE
        leaving = page
        if not hits[i] and used[0] == capacity:
            leaving = newer[ring]
            victims[i] = leaving
        if newer[leaving] == ABSENT:
            used[0] += 1
        else:
            newer[older[leaving]], older[newer[leaving]] = newer[leaving], older[leaving]
            newer[leaving] = ABSENT
        older[page], newer[page] = older[ring], ring
        newer[older[ring]] = page
        older[ring] = page
