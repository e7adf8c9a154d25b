"""Repeated timings of one loop: their lower quartile, their median, their spread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

LONG_ENOUGH_NS = 1_000_000
"""A timing this long hides neither the clock's resolution nor the call into compiled code (well below 10 us)."""


@dataclass(frozen=True)
class Sample:
    """ns: float64[repetitions], nanoseconds a unit."""

    ns: NDArray[np.float64]

    @property
    def median_ns(self) -> float:
        """The middle repetition."""
        return float(np.median(self.ns))

    @property
    def low_ns(self) -> float:
        """The lower quartile: time that other users of the processor add is in the longer repetitions."""
        return float(np.percentile(self.ns, 25))

    @property
    def spread(self) -> float:
        """Width of the middle half of the repetitions, as a share of the median."""
        low, high = np.percentile(self.ns, (25, 75))
        return float(high - low) / self.median_ns


def joined(samples: list[Sample]) -> Sample:
    """One sample with the repetitions of all ``samples``."""
    return Sample(np.concatenate([sample.ns for sample in samples]))


def timed_ns(run: Callable[[], object]) -> int:
    """Processor time of this thread in one call [ns], at least 1: other processes do not add to it."""
    begin_ns = time.thread_time_ns()
    run()
    return max(1, time.thread_time_ns() - begin_ns)


def repeat(run: Callable[[], object], units: int, repetitions: int) -> Sample:
    """Time ``run``, which does ``units`` of work, again and again."""
    return Sample(np.array([timed_ns(run) / units for _ in range(repetitions)]))


def repeat_counted(run: Callable[[int], object], repetitions: int, first: int = 1024) -> Sample:
    """Time ``run(units)`` with as many units as last long enough, at least ``first``."""
    units = first
    while (took_ns := timed_ns(partial(run, units))) < LONG_ENOUGH_NS:
        units = max(units + 1, min(16 * units, units * LONG_ENOUGH_NS * 5 // (4 * took_ns)))
    return repeat(partial(run, units), units, repetitions)
