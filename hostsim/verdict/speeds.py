"""Changes of the bandwidth within one migration: an operator set max-bandwidth, or other traffic left or filled the link.

Rates of a link waver from window to window. So a change is only taken where nearly all rates before it lie on one side of
the middle between both speeds, and nearly all rates after it on the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hostsim.verdict.words import bandwidth_words, seconds_words

Array = NDArray[np.float64]
CHANGE = 1.25
"""Speeds that differ by less are one (assumed)."""
APART = 0.9
"""Share of the rates of each part that lie on their own side of the middle (assumed)."""
ANSWERS_MIN = 3
"""A part of fewer answers is none: its median could be one hiccup (assumed)."""
SECONDS_MIN = 1.0
"""A shorter part is a hiccup of the network or of the thread (assumed)."""
PARTS_MAX = 4
"""A log with more parts is of a link that wavers, and has no change (assumed)."""
BLOCKS_MAX = 128
"""Blocks of rates at most: the time of the search grows with the square of their number."""


@dataclass(frozen=True)
class Speed:
    """A part of a migration that was sent at one bandwidth.

    since_s, until_s: of its first and its last answer, as the log counts. bytes_per_s: the median.
    """

    since_s: float
    until_s: float
    bytes_per_s: float


def speeds_of(t_s: Array, rates: Array) -> tuple[Speed, ...]:
    """The parts of a migration by the bandwidth of its answers; () where it did not change, or wavers.

    t_s: float64[answers], seconds. rates: float64[answers], bytes/s, above 0.
    """
    if len(rates) < 2 * ANSWERS_MIN:
        return ()
    first, logs = _blocks(rates)
    cuts = [first[i] for i in _cuts(t_s, first, logs, 0, len(logs))]
    edges = [0, *cuts, len(rates)]
    if not 1 < len(edges) - 1 <= PARTS_MAX:
        return ()
    return tuple(Speed(float(t_s[a]), float(t_s[b - 1]), float(np.median(rates[a:b]))) for a, b in pairwise(edges))


def _blocks(rates: Array) -> tuple[list[int], Array]:
    """(number of the first rate of each block, the logarithm of its median)."""
    size = max(1, math.ceil(len(rates) / BLOCKS_MAX))
    first = list(range(0, len(rates), size))
    return first, np.log([float(np.median(rates[i : i + size])) for i in first])


def _cuts(t_s: Array, first: Sequence[int], logs: Array, begin: int, end: int) -> Iterator[int]:
    """Numbers of the blocks at which the speed changes, in their order."""
    found = [(_spread(logs[begin:k]) + _spread(logs[k:end]), k) for k in _allowed(t_s, first, begin, end)]
    clear = [(spread, k) for spread, k in found if _is_apart(logs[begin:k], logs[k:end])]
    if not clear:
        return
    _, best = min(clear)
    yield from _cuts(t_s, first, logs, begin, best)
    yield best
    yield from _cuts(t_s, first, logs, best, end)


def _allowed(t_s: Array, first: Sequence[int], begin: int, end: int) -> Iterator[int]:
    last = first[end] if end < len(first) else len(t_s)
    for k in range(begin + 1, end):
        before, after = t_s[first[begin] : first[k]], t_s[first[k] : last]
        is_long = min(len(before), len(after)) >= ANSWERS_MIN
        if is_long and min(before[-1] - before[0], after[-1] - after[0]) >= SECONDS_MIN:
            yield k


def _spread(logs: Array) -> float:
    return float(np.abs(logs - np.median(logs)).sum())


def _is_apart(before: Array, after: Array) -> bool:
    low, high = sorted((before, after), key=lambda part: float(np.median(part)))
    one, other = float(np.median(low)), float(np.median(high))
    middle = (one + other) / 2
    return other - one >= math.log(CHANGE) and min((low < middle).mean(), (high > middle).mean()) >= APART


def change_words(speeds: Sequence[Speed]) -> tuple[str, ...]:
    """A sentence about the changes; () without one."""
    if not speeds:
        return ()
    steps = ", ".join(f"then {bandwidth_words(one.bytes_per_s)} from {seconds_words(one.since_s)} on" for one in speeds[1:])
    first = bandwidth_words(speeds[0].bytes_per_s)
    return (f"The bandwidth changed during the migration: {first} at first, {steps}; hostsim judges by the last one",)
