"""What is armed in a VM: state that the kernels share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ARMED_HOT, ARMED_COLD, NEXT_WRITE, HITS = range(4)
N_PACED = 4
NO_WRITE = 1 << 62
"""NEXT_WRITE where no page is armed that could be hit."""
LIST_SHARE = 2
"""A part of a paced class lists its armed pages once fewer than 1 in LIST_SHARE are left."""


class Armed(NamedTuple):
    """Arrays, changed in place.

    pending: int64, next touch [work ns] a (class, page) slot, for classes whose pages are independent.
    hit: uint8, a bit a page of the paced classes, 1: written since it was armed; few: int32, lists of the armed pages of
    parts where few are left; paced: int64[n_classes, N_PACED].
    """

    pending: NDArray[np.int64]
    hit: NDArray[np.uint8]
    few: NDArray[np.int32]
    paced: NDArray[np.int64]


def make_armed(pending_size: int, paced_size: int, n_classes: int) -> Armed:
    """Nothing armed yet. ``paced_size``: slots of the paced classes, each class starting at a multiple of 64."""
    return Armed(
        np.zeros(pending_size, np.int64),
        np.zeros(paced_size // 8, np.uint8),
        np.zeros(paced_size // LIST_SHARE, np.int32),
        np.zeros((n_classes, N_PACED), np.int64),
    )
