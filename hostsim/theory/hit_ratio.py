"""Hit ratios of page replacement under the independent reference model (IRM), in closed form.

``shares``: float64[N], probability that a reference is to each page; they sum to 1. ``frames``: pages that memory holds,
fewer than N.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]


def lru_hit_ratio(shares: Shares, frames: int) -> float:
    """LRU for many pages: a page stays for the time T in which as many distinct pages are referenced as there are frames.

    Source: H. Che, Y. Tung, Z. Wang, "Hierarchical Web caching systems", IEEE J. Sel. Areas Commun. 20(7), 2002.
    """
    return _by_characteristic_time(lambda time: -np.expm1(-shares * time), shares, frames)


def fifo_hit_ratio(shares: Shares, frames: int) -> float:
    """FIFO and random replacement for many pages: a loaded page stays for T, then waits 1/p to be referenced again.

    shares: p of each page. frames: pages that are resident in the mean, which gives T.
    Source: V. Martina, M. Garetto, E. Leonardi, "A unified approach to the performance analysis of caching systems", INFOCOM
    2014.
    """
    return _by_characteristic_time(lambda time: shares * time / (1.0 + shares * time), shares, frames)


def clock_hit_ratio(shares: Shares, frames: int) -> float:
    """One-bit CLOCK for many pages: the hand takes T to come round, and passes by with probability 1 - e^(-p T).

    shares: p of each page. frames: pages that are resident in the mean, which gives T.
    A page stays for T e^(p T) in the mean; for the rest, the argument of ``fifo_hit_ratio``.
    """
    return _by_characteristic_time(lambda time: 1.0 / (1.0 + np.exp(-shares * time) / (shares * time)), shares, frames)


def static_hit_ratio(shares: Shares, frames: int) -> float:
    """The best hit ratio of a policy that does not know the future: the most popular pages stay for good.

    shares: float64[N], in any order; the ``frames`` largest are summed.
    """
    return float(np.sort(shares)[-frames:].sum())


def loop_hit_ratio_min(pages: int, frames: int) -> float:
    """Hit ratio of Belady's MIN over a cyclic loop of ``pages`` pages, longer than memory: (frames - 1) / (pages - 1).

    frames: 1 to ``pages``. LRU, FIFO and CLOCK hit nothing there.
    """
    return (frames - 1) / (pages - 1)


def lru_hit_ratio_exact(shares: Shares, frames: int) -> float:
    """LRU exactly, for a few pages: the sum over all ordered contents of memory.

    shares: float64[N]. The work grows as N! / (N - frames)!.
    Source: W. F. King, "Analysis of demand paging algorithms", IFIP Congress, 1971.
    """
    total = 0.0
    for order in permutations(shares.tolist(), frames):
        probability, seen = 1.0, 0.0
        for share in order:
            probability *= share / (1.0 - seen)
            seen += share
        total += probability * seen
    return total


def fifo_hit_ratio_exact(shares: Shares, frames: int) -> float:
    """FIFO and random replacement exactly: a miss has probability (C + 1) e[C+1] / e[C], e the elementary symmetric sums.

    Contents of memory are as likely as the product of their shares. With T of ``fifo_hit_ratio`` the sums become
    probabilities of a count of independent pages, so that nothing overflows. Source: E. Gelenbe, "A unified approach to the
    evaluation of a class of replacement algorithms", IEEE Trans. Computers C-22(6), 1973.
    """
    time = _characteristic_time(lambda t: shares * t / (1.0 + shares * t), frames)
    count = np.zeros(frames + 2)
    count[0] = 1.0
    for resident in (shares * time / (1.0 + shares * time)).tolist():
        count[1:] = count[1:] * (1.0 - resident) + count[:-1] * resident
        count[0] *= 1.0 - resident
    return float(1.0 - (frames + 1) * count[frames + 1] / (time * count[frames]))


def _by_characteristic_time(resident: Callable[[float], Shares], shares: Shares, frames: int) -> float:
    return float(shares @ resident(_characteristic_time(resident, frames)))


def _characteristic_time(resident: Callable[[float], Shares], frames: int) -> float:
    """The time [references] for which the pages resident, each with its probability, fill the frames."""
    low, high = 0.0, 1.0
    while float(resident(high).sum()) < frames:
        low, high = high, 2.0 * high
    while high - low > 1e-13 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if float(resident(middle).sum()) < frames else (low, middle)
    return high
