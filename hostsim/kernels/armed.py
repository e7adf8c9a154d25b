"""What is armed in a VM: state that the kernels share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ARMED_HOT, ARMED_COLD, NEXT_WRITE, HITS = range(4)
N_PACED = 4
NOT_DRAWN = -1


class Armed(NamedTuple):
    """Arrays, changed in place.

    pending: int64, next touch [work ns] a (class, page) slot, for classes whose pages are independent.
    pages: int32, pages of each paced class, the armed ones of the hot part first, then from HOT_PAGES on of the cold part;
    hit: uint8, 1 for a page of a paced class written since it was armed; paced: int64[n_classes, N_PACED].
    """

    pending: NDArray[np.int64]
    pages: NDArray[np.int32]
    hit: NDArray[np.uint8]
    paced: NDArray[np.int64]


def make_armed(pending_size: int, armed_size: int, n_classes: int) -> Armed:
    """Nothing armed yet."""
    return Armed(
        np.zeros(pending_size, np.int64),
        np.zeros(armed_size, np.int32),
        np.zeros(armed_size, np.uint8),
        np.zeros((n_classes, N_PACED), np.int64),
    )
