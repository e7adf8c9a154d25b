"""Ages of pages: the number of passes that have tested a page, and found it old, since it was last young."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit

KNOWN, AGES, ASKED, YOUNG = range(4)
"""Rows of sums by bin: pages of known age, the sum of their ages; pages that a pass tested, the young pages among them."""
N_SUMS = 4


@jit
def mark_asked(asked: NDArray[np.uint8], firsts: NDArray[np.int64], call_pages: int) -> None:
    """Set asked[page] for pages [first, first + call_pages) of each of ``firsts``, up to the end of memory."""
    for i in range(len(firsts)):
        for page in range(firsts[i], min(firsts[i] + call_pages, len(asked))):
            asked[page] = 1


@jit
def note_pass(
    young: NDArray[np.uint8],
    asked: NDArray[np.uint8],
    ages: NDArray[Any],
    young_counts: NDArray[Any],
    edges: NDArray[np.int64],
    sums: NDArray[np.int64],
) -> None:
    """Count a pass: tested pages that were young get age 0, other tested pages become one pass older.

    young: uint8[n_pages], 1: the pass found the page young.
    asked: uint8[n_pages], in place: 1: the pass tested the page; all 0 afterwards.
    ages, young_counts: int32[n_pages], in place, as in hostsim.memory.ageing_daemon.
    edges: int64[bins + 1], gfns at which bins begin and end.
    sums: int64[N_SUMS, bins], in place: rows KNOWN ... YOUNG of each bin.
    """
    for b in range(len(edges) - 1):
        known = total = n_asked = n_young = 0
        for page in range(edges[b], edges[b + 1]):
            is_young, is_asked, age = int(young[page]), int(asked[page]), int(ages[page])
            age = (max(age, 0) + 1) * (1 - is_young) if is_asked == 1 else age
            ages[page] = age
            young_counts[page] += is_young
            asked[page] = 0
            known += age >= 0
            total += max(age, 0)
            n_asked += is_asked
            n_young += is_asked * is_young
        sums[KNOWN, b], sums[AGES, b], sums[ASKED, b], sums[YOUNG, b] = known, total, n_asked, n_young
