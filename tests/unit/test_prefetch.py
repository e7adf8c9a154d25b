"""A hint changes nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.compiled.prefetch import prefetch


@jit
def hinted(bytes_: NDArray[np.uint8], words: NDArray[np.int64]) -> int:
    """Sum of both, with hints."""
    total = 0
    for i in range(len(bytes_)):
        prefetch(bytes_, len(bytes_) - 1 - i)
        prefetch(words, i)
        total += bytes_[i] + words[i]
    return total


def test_sums_are_what_they_are() -> None:
    bytes_, words = np.arange(100, dtype=np.uint8), np.arange(100, dtype=np.int64) << 40
    assert hinted(bytes_, words) == 4950 + (4950 << 40)
    assert bytes_.tolist() == list(range(100))
