"""Armed pages of a VM: state that the compiled loops share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ARMED_HOT, ARMED_COLD, NEXT_WRITE, HITS = range(4)
N_STATE = 4
BLOCK = 8
"""Draws of a paced class that are made together."""
PART, PLACE, MIXED = (N_STATE + row * BLOCK for row in range(3))
N_PACED = N_STATE + 3 * BLOCK
NO_WRITE = 1 << 62
"""NEXT_WRITE of a class without an armed page."""
LIST_SHARE = 2
"""A part of a paced class lists its armed pages once fewer than 1 in LIST_SHARE are left."""


class Armed(NamedTuple):
    """Arrays, changed in place.

    pending: int64[slots], work time of the next touch [ns], a slot a (class, page), for classes with independent pages.
    hit: uint8[slots / 8], one bit a page of the paced classes, 1: written since it was armed.
    few: int32[slots / LIST_SHARE], lists of the armed pages of parts with few armed pages.
    paced: int64[n_classes, N_PACED], ARMED_HOT ... HITS of each paced class; from PART on draws of its next hits.
    """

    pending: NDArray[np.int64]
    hit: NDArray[np.uint8]
    few: NDArray[np.int32]
    paced: NDArray[np.int64]


def make_armed(pending_size: int, paced_size: int, n_classes: int) -> Armed:
    """Arrays for ``n_classes`` touch classes with no page armed.

    pending_size: pages of all classes together.
    paced_size: slots of the paced classes, each class starting at a multiple of 64.
    """
    return Armed(
        np.zeros(pending_size, np.int64),
        np.zeros(paced_size // 8, np.uint8),
        np.zeros(paced_size // LIST_SHARE, np.int32),
        np.zeros((n_classes, N_PACED), np.int64),
    )
