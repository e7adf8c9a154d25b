"""Pages that a guest writes between two moments, for an observer who keeps no log."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.guest import touch
from hostsim.guest.clocks import class_work
from hostsim.guest.workload import Guest

Works = NDArray[np.int64]
"""int64[n_classes]: work time of each touch class at a moment [ns]."""
Mask = NDArray[np.bool_]


def class_works(guest: Guest, now_ns: int) -> Works:
    """Work time of each touch class at host time ``now_ns``."""
    ints = guest.table.ints
    return np.array([class_work(ints, guest.clocks, c, now_ns) for c in range(len(ints))], np.int64)


def written_pages(guest: Guest, n_pages: int, before: Works, after: Works, draws: np.random.Generator) -> Mask:
    """bool[n_pages]: whether a page is written from works ``before`` on, and before works ``after``.

    draws: for writes that come at a fixed rate, each to a page drawn anew. For such writes each page is drawn independently,
    so the number of distinct pages varies a little more than in a run.
    """
    table, found = guest.table, np.zeros(n_pages, np.bool_)
    for c in np.flatnonzero(table.ints[:, touch.IS_WRITE]).tolist():
        row, span = table.ints[c], (int(before[c]), int(after[c]))
        first, count = int(row[touch.FIRST_GFN]), int(row[touch.N_PAGES])
        paced = row[touch.KIND] == touch.PACED
        found[first : first + count] |= _paced(table, c, span, draws) if paced else _touched(table, c, span)
    return found


def _touched(table: touch.TouchTable, c: int, span: tuple[int, int]) -> Mask:
    pages = np.arange(int(table.ints[c, touch.N_PAGES]), dtype=np.int64)
    times = np.empty_like(pages)
    touch.next_touches(table, c, pages, np.full_like(pages, span[0]), times)
    return np.asarray(times < span[1])


def _paced(table: touch.TouchTable, c: int, span: tuple[int, int], draws: np.random.Generator) -> Mask:
    row = table.ints[c]
    writes = int(touch.first_touch_index(row, span[1]) - touch.first_touch_index(row, span[0]))
    hot, cold = int(row[touch.HOT_PAGES]), int(row[touch.N_PAGES] - row[touch.HOT_PAGES])
    share = float(table.mean_ns[c])
    missed = [(1.0 - part / pages) ** writes if pages else 0.0 for part, pages in ((share, hot), (1.0 - share, cold))]
    return np.asarray(draws.random(hot + cold) >= np.repeat(missed, (hot, cold)))
