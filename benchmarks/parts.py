"""Parts that no exit can do without, each alone in a compiled loop: a draw, the next event of vCPUs, a place in memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import REPEATS
from hostsim.compiled.jit import jit
from hostsim.core.rng import keyed_exponential, keyed_word
from hostsim.kvm.loops.agenda import LAST, SPARE, VCPU_BITS, put
from hostsim.kvm.loops.layout import Ints

N_VCPUS = 16
PIECES = 2_000_000


def all_parts() -> dict[str, float]:
    """Least time [ns] of a piece among REPEATS."""
    found = {"an exponential draw": _ns(_draws)}
    agenda = np.full(N_VCPUS + SPARE, LAST, np.int64)
    found[f"the next of {N_VCPUS} vCPUs"] = _ns(lambda n: _events(agenda, n))
    for gib in (4, 64):
        marks = np.zeros(gib << 18, np.uint8)
        found[f"a place, and a byte there, {gib} GiB"] = _ns(lambda n, marks=marks: _marks(marks, n))  # type: ignore[misc]
    return found


def _ns(work: Callable[[int], int]) -> float:
    work(1000)
    least = float("inf")
    for _ in range(REPEATS):
        begin = time.process_time()
        work(PIECES)
        least = min(least, time.process_time() - begin)
    return least / PIECES * 1e9


@jit
def _draws(n: int) -> int:
    total = 0.0
    for i in range(n):
        total += keyed_exponential(12345, 678, i, 1000)
    return int(total)


@jit
def _events(agenda: Ints, n: int) -> int:
    """Each vCPU's next event lies a pseudo-random time behind the one that is over."""
    step, entry = 1, 0
    agenda[:N_VCPUS] = LAST
    for v in range(N_VCPUS):
        entry = put(agenda, N_VCPUS - 1 - v, (v << VCPU_BITS) | v)
    for _ in range(n):
        step = (step * 1103515245 + 12345) & 0x7FFFFFFF
        entry = put(agenda, 0, entry + ((1000 + (step & 1023)) << VCPU_BITS))
    return int(entry)


@jit
def _marks(marks: NDArray[np.uint8], n: int) -> int:
    """The read decides over the next place, so that no two of them overlap."""
    at, found = 0, 0
    for i in range(n):
        at = (keyed_word(12345, i + found, 1000)) % len(marks)
        found = int(marks[at])
        marks[at] = found ^ 1
    return int(at)
