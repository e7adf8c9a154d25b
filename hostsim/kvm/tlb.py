"""TLB of a vCPU: the time that a translation stays, from the rates at which the vCPU uses its translations.

H. Che, Y. Tung, Z. Wang, "Hierarchical Web caching systems", IEEE JSAC 20(7), 2002: an LRU cache of C entries behaves as if
each entry stayed for one *characteristic time* T after its last use, where w(T) = C and w(T) is the mean number of entries
used within T (hostsim.theory.working_set has w for Poisson accesses).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HALVINGS = 200
"""Halvings after which the ends of any interval of doubles are neighbours."""


@dataclass(frozen=True)
class TlbReach:
    """Translations that the second-level TLB of a vCPU holds: entries of 4 KiB and 2 MiB together; giants of 1 GiB."""

    entries: int
    giants: int


@dataclass(frozen=True)
class Translations:
    """Kinds of translations that a vCPU uses.

    per_ns: float64[n], Poisson uses of one translation of the kind a nanosecond.
    gap_ns: float64[n], time between two visits of the fastest sweep, inf: no sweep.
    count: float64[n], translations of the kind.
    """

    per_ns: Floats
    gap_ns: Floats
    count: Floats


def unused_chance(per_ns: Floats, gap_ns: Floats, t_ns: float) -> Floats:
    """float64[n]: chance that a translation is not used for ``t_ns`` [ns, may be inf].

    per_ns, gap_ns: float64[n], as in Translations.
    """
    if np.isinf(t_ns):
        return np.zeros(len(per_ns))
    return np.exp(-per_ns * t_ns) * np.maximum(0.0, 1.0 - t_ns / gap_ns)


def seen_chance(per_ns: Floats, gap_ns: Floats, t_ns: float) -> Floats:
    """float64[n]: share of the uses of a translation that set its cleared A bit; the mean time to the first is exact.

    per_ns, gap_ns: float64[n], as in Translations.
    t_ns: time after which the TLB has evicted an unused translation [ns].

    A use misses if the use before it is ``t_ns`` ago or more: an evicted translation is out until it is used. From a moment
    that no use knows of, at rate r, (e^(r t) - 1 - r t) / r pass in the mean until the last use is ``t_ns`` ago, and 1 / r
    more until the next use.
    """
    if np.isinf(t_ns):
        return np.zeros(len(per_ns))
    uses = per_ns * t_ns
    return np.exp(-uses) / (1.0 - uses * np.exp(-uses)) * np.maximum(0.0, 1.0 - t_ns / gap_ns)


def used_translations(kinds: Translations, t_ns: float) -> float:
    """w(t): mean number of translations used within ``t_ns``."""
    return float(kinds.count @ (1.0 - unused_chance(kinds.per_ns, kinds.gap_ns, t_ns)))


def characteristic_ns(kinds: Translations, entries: int) -> float:
    """T of a TLB of ``entries`` [ns]; inf if all translations of the vCPU fit."""
    if float(kinds.count.sum()) <= entries:
        return float("inf")
    high = 1.0
    while used_translations(kinds, high) < entries:
        high *= 2.0
    low = 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        if used_translations(kinds, middle) < entries:
            low = middle
        else:
            high = middle
    return high
