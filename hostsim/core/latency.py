"""Latencies as a histogram of log-linear buckets: exact up to 256 ns, then 128 buckets an octave, so within 0.8 %.

The layout is that of HdrHistogram (Gil Tene): a bucket's width doubles with every power of two. Compiled loops count into
the buckets, and keep exact sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
    """int64[rows, N_COUNTERS]: counters of ``rows`` kinds of latencies, with nothing counted."""
    counters = np.zeros((rows, N_COUNTERS), np.int64)
    counters[:, MIN] = 1 << 62
    return counters


@inlined
def note(counters: NDArray[np.int64], row: int, latency_ns: int) -> None:
    """Count ``latency_ns``, 0 or more, in ``row`` of ``counters`` (int64[rows, N_COUNTERS], in place)."""
    shift = max(bit_length(latency_ns) - (SUB_BITS + 1), 0)
    counters[row, BUCKETS + (shift << SUB_BITS) + (latency_ns >> shift)] += 1
    counters[row, TOTAL] += latency_ns
    if latency_ns > counters[row, MAX]:  # noqa: PLR1730  # a store where it moves, not at each latency
        counters[row, MAX] = latency_ns
    if latency_ns < counters[row, MIN]:  # noqa: PLR1730
        counters[row, MIN] = latency_ns


_EMPTY = make_counters(1)[0]
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Latencies:
    """Counts of latencies [ns]; count, total and the extremes are exact."""

    def __init__(self) -> None:
        self._counts = np.zeros(N_BUCKETS, np.int64)
        self.count = 0
        self.total_ns = 0
        self.max_ns = 0
        self._min_ns = 1 << 63

    @classmethod
    def counted(cls, counters: NDArray[np.int64]) -> Latencies:
        """Latencies that a compiled loop has counted in ``counters``, a row of hostsim.core.latency."""
        found = cls()
        found.take(counters.copy())
        return found

    def take(self, counters: NDArray[np.int64]) -> None:
        """Add the counts of a row of hostsim.core.latency and reset the row, in place."""
        added = int(counters[BUCKETS:].sum())
        if added == 0:
            return
        self._counts += counters[BUCKETS:]
        self.count += added
        self.total_ns += int(counters[TOTAL])
        self.max_ns, self._min_ns = max(self.max_ns, int(counters[MAX])), min(self._min_ns, int(counters[MIN]))
        counters[:] = _EMPTY

    def record(self, latency_ns: int) -> None:
        """Count one latency, 0 or more."""
        assert latency_ns >= 0
        self._counts[bucket_of(latency_ns)] += 1
        self.count += 1
        self.total_ns += latency_ns
        self.max_ns = max(self.max_ns, latency_ns)
        self._min_ns = min(self._min_ns, latency_ns)

    def merge(self, other: Latencies) -> None:
        """Add all that ``other`` counted."""
        self._counts += other._counts
        self.count += other.count
        self.total_ns += other.total_ns
        self.max_ns = max(self.max_ns, other.max_ns)
        self._min_ns = min(self._min_ns, other._min_ns)

    @property
    def min_ns(self) -> int:
        """The smallest latency, 0 if there is none."""
        return self._min_ns if self.count else 0

    @property
    def mean_ns(self) -> float:
        """Mean latency [ns], 0 if there is none."""
        return self.total_ns / self.count if self.count else 0.0

    def percentile_ns(self, percent: float) -> int:
        """A latency that ``percent`` of all do not exceed, the largest of its bucket, never beyond max_ns; 0 if none."""
        if not self.count:
            return 0
        rank = min(self.count, max(1, -int(-self.count * percent // 100)))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(self.max_ns, bucket_end_ns(bucket))

    def summary(self) -> dict[str, int | float]:
        """Count, mean, p50 to p99.9 and maximum [ns]."""
        found = {f"p{percent:g}_ns": self.percentile_ns(percent) for percent in PERCENTILES}
        return {"count": self.count, "mean_ns": self.mean_ns, **found, "max_ns": self.max_ns}

    def state(self) -> dict[str, Any]:
        """All counts, JSON-able; ``of_state`` reads them back."""
        used = np.flatnonzero(self._counts)
        pairs = [list(pair) for pair in zip(used.tolist(), self._counts[used].tolist(), strict=True)]
        return {"buckets": pairs, "total_ns": self.total_ns, "min_ns": self.min_ns, "max_ns": self.max_ns}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Latencies:
        """The latencies with the counts in ``state``, as the method of that name gives them."""
        found = cls()
        for bucket, count in state["buckets"]:
            found._counts[bucket] = count
        found.count = int(found._counts.sum())
        found.total_ns, found.max_ns = state["total_ns"], state["max_ns"]
        found._min_ns = state["min_ns"] if found.count else found._min_ns
        return found

    @classmethod
    def of_buckets(cls, pairs: Iterable[Sequence[int]], mean_ns: float, max_ns: int) -> Latencies:
        """The latencies of buckets, as ``buckets`` gives them; the least is not known and counts as 0.

        pairs: (largest latency of a bucket [ns], count). mean_ns, max_ns: of all latencies.
        """
        found = cls()
        for end_ns, count in pairs:
            found._counts[bucket_of(end_ns)] += count
        found.count = int(found._counts.sum())
        found.total_ns, found.max_ns, found._min_ns = round(mean_ns * found.count), max_ns, 0
        return found

    def buckets(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(largest latency of each bucket that is not empty, int64[k] ns, ascending; its count, int64[k])."""
        used = np.flatnonzero(self._counts)
        return np.array([bucket_end_ns(int(bucket)) for bucket in used], np.int64), self._counts[used]


def merged(parts: Iterable[Latencies]) -> Latencies:
    """All that ``parts`` counted, in one."""
    whole = Latencies()
    for part in parts:
        whole.merge(part)
    return whole


def bucket_of(latency_ns: int) -> int:
    """Bucket of a latency below 2^63 ns."""
    shift = max(0, latency_ns.bit_length() - SUB_BITS - 1)
    return (shift << SUB_BITS) + (latency_ns >> shift)


def bucket_end_ns(bucket: int) -> int:
    """The largest latency of a bucket."""
    shift = max(0, (bucket >> SUB_BITS) - 1)
    return ((bucket - (shift << SUB_BITS) + 1) << shift) - 1
