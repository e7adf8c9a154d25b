"""Parts that no exit can do without, each alone in a compiled loop: a draw, the next event of vCPUs, a place in memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import REPEATS
from hostsim.compiled.jit import jit
from hostsim.compiled.record import Records, records
from hostsim.core.rng import keyed_exponential, keyed_word
from hostsim.kvm.loops.heap import push, sift_top
from hostsim.kvm.loops.layout import Next

N_VCPUS = 16
PIECES = 2_000_000


def all_parts() -> dict[str, float]:
    """Least time [ns] of a piece among REPEATS."""
    found = {"an exponential draw": _ns(_draws)}
    heap = records(Next, N_VCPUS)
    found[f"the next of {N_VCPUS} vCPUs"] = _ns(lambda n: _events(heap, n))
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
def _events(heap: Records[Next], n: int) -> int:
    """Each vCPU's next event lies a pseudo-random time behind the one that is over."""
    size = 0
    for v in range(len(heap)):
        size = push(heap, size, v, v)
    at, step = 0, 1
    for _ in range(n):
        step = (step * 1103515245 + 12345) & 0x7FFFFFFF
        at = heap[0].ns
        sift_top(heap, size, at + 1000 + (step & 1023), heap[0].vcpu)
    return int(at)


@jit
def _marks(marks: NDArray[np.uint8], n: int) -> int:
    """The read decides over the next place, so that no two of them overlap."""
    at, found = 0, 0
    for i in range(n):
        at = (keyed_word(12345, i + found, 1000)) % len(marks)
        found = int(marks[at])
        marks[at] = found ^ 1
    return int(at)
