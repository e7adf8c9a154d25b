"""The content of pages: the bytes that one write changes, and the writes of a class to a page between two work times.

Sweeps and traces are counted. Drawn classes have an expected number, so that their streams of draws stay as they are.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.guest.touch import (
    ALWAYS,
    CYCLE,
    DATA_OFFSET,
    FLAT,
    HOT_PAGES,
    KIND,
    N_PAGES,
    RATE_DEN,
    RATE_NUM,
    START_PAGE,
    STRIDE_GCD,
    STRIDE_INVERSE,
    SWEEP,
    TRACE,
    WEIGHTED,
    WINDOW_LENGTH,
    WINDOW_PERIOD,
    WINDOW_START,
    TouchTable,
    touch_index,
)
from hostsim.guest.windows import window_local

Place = Literal["same", "start", "scattered"]
SAME, SCATTERED, START = range(3)
PLACES = {"same": SAME, "scattered": SCATTERED, "start": START}
"""The numbers of places in Content.places."""
CHANGED_BYTES = 64
"""Bytes that a write changes where no scenario says it: a cache line (assumed)."""
CHANGED_PLACE: Place = "scattered"
"""Where those bytes lie where no scenario says it: anywhere in the page (assumed)."""
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
"""ln 2 in two parts, so that k * ln 2 is exact enough for every k."""
_EXP_LEAST = -700.0


class Content(NamedTuple):
    """The bytes that one write of each touch class changes.

    changed_bytes: int64[n_classes], bytes in a row.
    places: uint8[n_classes]. SCATTERED: each write changes bytes at a place of its own. SAME: every write of a page the same
    bytes, which lie anywhere in it; START: at its start.
    keys: int64[2], key of the draws about contents.
    """

    changed_bytes: NDArray[np.int64]
    places: NDArray[np.uint8]
    keys: NDArray[np.int64]


@jit
def natural_exp(value: float) -> float:
    """The exponential of ``value`` (at most 700), from additions and multiplications: equal bits compiled or not."""
    if value < _EXP_LEAST:
        return 0.0
    power = math.floor(value * _LOG2_E + 0.5)
    x = (value - power * _LN2_HIGH) - power * _LN2_LOW
    series = 1.0
    for term in range(14, 0, -1):
        series = 1.0 + series * x / term
    return math.ldexp(series, int(power))


@part
def _active(row: NDArray[np.int64], work_ns: int) -> int:
    """Time that the class was active by ``work_ns``."""
    if row[WINDOW_LENGTH] == ALWAYS:
        return work_ns
    return window_local(row[WINDOW_START], row[WINDOW_LENGTH], row[WINDOW_PERIOD], work_ns)


@part
def _swept(row: NDArray[np.int64], page: int, from_ns: int, to_ns: int) -> int:
    """Touches of ``page`` by a sweep: of the touches between two times, those with the page's place in the cycle."""
    distance = (page - row[START_PAGE]) % row[N_PAGES]
    if distance % row[STRIDE_GCD] != 0:
        return 0
    visit = ((distance // row[STRIDE_GCD]) * row[STRIDE_INVERSE]) % row[CYCLE]
    first = touch_index(row[RATE_NUM], row[RATE_DEN], from_ns)
    end = touch_index(row[RATE_NUM], row[RATE_DEN], to_ns)
    return int((end - 1 - visit) // row[CYCLE] - (first - 1 - visit) // row[CYCLE])


@part
def _traced_before(times: NDArray[np.int64], low: int, high: int, work_ns: int) -> int:
    """First of the entries [low, high) of ``times`` at or after ``work_ns``."""
    while low < high:
        middle = (low + high) // 2
        if times[middle] < work_ns:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def is_counted(table: TouchTable, c: int) -> bool:
    """Whether the touches of class ``c`` are known, not drawn."""
    return bool(table.ints[c, KIND] == SWEEP or table.ints[c, KIND] == TRACE)


@part
def _drawn_per_ns(table: TouchTable, c: int, page: int) -> float:
    """Mean touches of ``page`` in a nanosecond of active work of a drawn class."""
    row = table.ints[c]
    if row[KIND] == FLAT:
        return float(1.0 / table.mean_ns[c])
    if row[KIND] == WEIGHTED:
        return float(1.0 / table.page_mean_ns[row[DATA_OFFSET] + page])
    hot, share = row[HOT_PAGES], table.mean_ns[c]
    part_pages = hot if page < hot else row[N_PAGES] - hot
    part_share = share if page < hot else 1.0 - share
    return float(part_share / part_pages * row[RATE_NUM] / row[RATE_DEN])


@jit
def touches(table: TouchTable, c: int, page: int, from_ns: int, to_ns: int) -> float:
    """Touches of ``page`` (counted from FIRST_GFN) by class ``c`` in work times [from_ns, to_ns): a count, or a mean."""
    row = table.ints[c]
    start, end = _active(row, int(from_ns)), _active(row, int(to_ns))
    if end <= start:
        return 0.0
    if row[KIND] == SWEEP:
        return float(_swept(row, page, start, end))
    if row[KIND] == TRACE:
        at = row[DATA_OFFSET] + page
        low, high = table.trace_index[at], table.trace_index[at + 1]
        return float(_traced_before(table.trace_ns, low, high, end) - _traced_before(table.trace_ns, low, high, start))
    return (end - start) * _drawn_per_ns(table, c, page)
