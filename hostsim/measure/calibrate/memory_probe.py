"""Loops that ``hostsim calibrate`` times: their time is the time of the machine's memory.

A compiler can neither drop nor shorten their work: each loop returns a value that depends on all of the work, or writes to
the caller's array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit

LINE_WORDS = 8
"""64-bit words of a 64-byte cache line."""
PAGE_WORDS = 512
"""64-bit words of a 4 KiB page."""

Words = NDArray[np.uint64]


@jit
def chase(ring: Words, at: np.uint64, steps: int) -> np.uint64:
    """Follow ``ring`` from word ``at`` on, each load waiting for the one before; returns where it ends.

    ring: uint64[n], each word on the way holds the index of the next. ``at`` is a uint64, as the words are: an index that
    may be negative would cost a comparison at each step.
    """
    for _ in range(steps):
        at = ring[at]
    return at


@jit
def load_lines(words: Words) -> int:
    """One load from each line of ``words``, in order; returns their exclusive or."""
    total = words[0]
    for at in range(LINE_WORDS, len(words), LINE_WORDS):
        total ^= words[at]
    return int(total)


@jit
def store_at_random(words: Words, seed: int, stores: int) -> int:
    """``stores`` words on lines drawn at random, none waiting for another; returns the last draw.

    words: uint64[n], in place; n below 2**31 lines. The draw is a linear congruence mod 2**32 (Knuth), of which the high
    bits choose the line.
    """
    lines = len(words) // LINE_WORDS
    for _ in range(stores):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        words[(seed * lines >> 32) * LINE_WORDS] = seed
    return seed


@jit
def clear_at_random(words: Words, seed: int, pages: int) -> int:
    """Zero ``pages`` pages of ``words`` drawn at random, one at a time as a kernel does; returns the last draw.

    words: uint64[n], in place; draws as in ``store_at_random``. In order, pages would become one long run, for which
    libraries have other stores.
    """
    n_pages = len(words) // PAGE_WORDS
    for _ in range(pages):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        first = (seed * n_pages >> 32) * PAGE_WORDS
        for at in range(first, first + PAGE_WORDS):
            words[at] = 0
    return seed


@jit
def touch_pages(words: Words) -> None:
    """One store to each page of ``words``, in order."""
    for at in range(0, len(words), PAGE_WORDS):
        words[at] = 1


@jit
def copy(words: Words, to: Words) -> None:
    """Copy ``words`` to the start of ``to``."""
    for at in range(len(words)):
        to[at] = words[at]
