"""Ages of pages after a pass, against the same in NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hostsim.memory.policies.ages import AGES, ASKED, KNOWN, N_SUMS, YOUNG, mark_asked, note_pass

N_PAGES = 40
EDGES = np.array([0, 7, 8, 33, N_PAGES])
FIRSTS = st.lists(st.integers(0, N_PAGES - 1), max_size=12)


@given(passes=st.lists(st.tuples(FIRSTS, st.integers(1, 9), st.integers(0, (1 << N_PAGES) - 1)), min_size=1, max_size=6))
def test_passes_are_counted_page_by_page(passes: list[tuple[list[int], int, int]]) -> None:
    asked, ages, counts = np.zeros(N_PAGES, np.uint8), np.full(N_PAGES, -1, np.int32), np.zeros(N_PAGES, np.int32)
    expected, found, sums = ages.copy(), np.zeros(N_PAGES, int), np.zeros((N_SUMS, len(EDGES) - 1), np.int64)
    for firsts, call_pages, bits in passes:
        is_asked = np.zeros(N_PAGES, bool)
        for first in firsts:
            is_asked[first : first + call_pages] = True
        young = np.array([bits >> page & 1 for page in range(N_PAGES)], np.uint8) * is_asked
        expected = np.where(is_asked, np.where(young == 1, 0, np.maximum(expected, 0) + 1), expected)
        found += young
        mark_asked(asked, np.array(firsts, np.int64), call_pages)
        assert (asked == is_asked).all()
        note_pass(young, asked, ages, counts, EDGES, sums)
        assert (ages.tolist(), counts.tolist(), asked.any()) == (expected.tolist(), found.tolist(), False)
        rows = {KNOWN: expected >= 0, AGES: np.maximum(expected, 0), ASKED: is_asked, YOUNG: young}
        for row, values in rows.items():
            assert sums[row].tolist() == np.add.reduceat(values.astype(int), EDGES[:-1]).tolist()
