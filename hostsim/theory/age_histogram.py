"""Ages of pages in passes of a scan, observed, and expected for drawn accesses.

A page that is accessed at rate r is young in a pass with 1 - exp(-r T), T from its last pass to this one, and of age k or
more with exp(-r k T).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AGES_MAX = 16
"""The last age stands for it and for all above."""


def age_counts(ages: NDArray[np.int32], n_passes: int) -> NDArray[np.int64]:
    """int64[k]: pages of age 0, 1, ... of those that some pass has tested (``ages``: int32[n], -1: none has)."""
    most = min(AGES_MAX, max(0, n_passes - 1))
    return np.bincount(np.minimum(ages[ages >= 0], most), minlength=most + 1)


def expected_counts(rates_per_s: NDArray[np.float64], pass_s: float, n_passes: int) -> NDArray[np.float64]:
    """float64[k]: expected pages of age 0, 1, ..., accessed at ``rates_per_s`` (float64[n]), with a pass each ``pass_s``."""
    most = min(AGES_MAX, max(0, n_passes - 1))
    at_least = np.array([np.exp(-rates_per_s * age * pass_s).sum() for age in range(most + 1)] + [0.0])
    return np.asarray(at_least[:-1] - at_least[1:], np.float64)


def misplaced_share(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """Share of the pages that would have to change their age for the histograms to be equal (total variation)."""
    total = float(expected.sum())
    return float(np.abs(counts - expected).sum() / 2 / total) if total else 0.0
