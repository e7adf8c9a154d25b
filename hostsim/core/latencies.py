"""Histograms of latencies that compiled loops count: buckets as in HdrHistogram (Gil Tene), and exact sums.

A bucket is 1 ns wide up to 256 ns; from there on 128 of them make an octave.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.bits import bit_length
from hostsim.compiled.jit import inlined

SUB_BITS = 7
N_BUCKETS = (64 - SUB_BITS) << SUB_BITS
TOTAL, MAX, MIN, BUCKETS = range(4)
"""Columns: sum, largest and smallest [ns]; from BUCKETS on the latencies in each bucket."""
N_COUNTERS = BUCKETS + N_BUCKETS


def make_counters(rows: int) -> NDArray[np.int64]:
    """int64[rows, N_COUNTERS]: nothing counted."""
    counters = np.zeros((rows, N_COUNTERS), np.int64)
    counters[:, MIN] = 1 << 62
    return counters


@inlined
def note(counters: NDArray[np.int64], row: int, latency_ns: int) -> None:
    """Count one latency, 0 or more, in ``row``."""
    shift = max(bit_length(latency_ns) - (SUB_BITS + 1), 0)
    counters[row, BUCKETS + (shift << SUB_BITS) + (latency_ns >> shift)] += 1
    counters[row, TOTAL] += latency_ns
    counters[row, MAX] = max(counters[row, MAX], latency_ns)
    counters[row, MIN] = min(counters[row, MIN], latency_ns)
