"""Draws of memoryless streams, made ahead of time: a draw is a function of its key and number.

A word that is made when it is needed takes 2 ns of CPU, and is there after 9 ns, for which a branch that it decides waits.
Made eight at a time, as vectors, words take 0.3 ns each and are there long before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, late
from hostsim.core.rng import mix32, natural_log, uniform_of
from hostsim.guest.touch import PACED
from hostsim.kvm.loops.layout import BLOCK, N_ROWS, PLACES, PROBES, REGION_BITS, RING, SHARES, THINS, TRIED, Kvm

Words = NDArray[np.uint32]
TRIES = 64
ACCEPT, PART = 1 << 20, 1 << 21
"""Numbers of words of a draw beside those of its page, which are 0 .. TRIES - 1 for places, from TRIES on for probes."""
_LOW = 0xFFFFFFFF


@inlined
def column(s: int, draw: int) -> int:
    """Where in Kvm.words row 0 of draw number ``draw`` of stream ``s`` is; its other rows follow RING words apart."""
    return int(s * (N_ROWS * RING) + (draw & (RING - 1)))


@inlined
def word_at(words: Words, at: int, row: int) -> int:
    """A word of a draw, or a number made of it, by ``row``; at: the ``column`` of the draw."""
    return int(np.int64(words[at + row * RING]))


@inlined
def in_region(word: int) -> int:
    """The number of a page within its region on which ``word`` of a draw falls."""
    return word >> (32 - REGION_BITS)


@inlined
def expected_wait(k: Kvm, s: int, draw: int) -> float:
    """Exponential variate of mean 1 of draw number ``draw``: ``keyed_exponential`` of (0, draw)."""
    return float(k.waits[s * RING + (draw & (RING - 1))])


@inlined
def reach(k: Kvm, s: int, draw: int) -> None:
    """Make the draws of stream ``s`` up to number ``draw`` and beyond."""
    if k.streams[s].draws_made <= draw:
        _make(k, s, draw)


@late
def _make(k: Kvm, s: int, draw: int) -> None:
    stream = k.streams[s]
    # Blocks begin at multiples of BLOCK; the one before stays, since its last draw may be under way.
    first = draw - draw % BLOCK
    stream.draws_made = first + BLOCK
    _make_words(k.words, column(s, first), int(stream.key0), int(stream.key1), first)
    if stream.kind != PACED:
        _make_waits(k.waits, s * RING + (first & (RING - 1)), int(stream.key0), int(stream.key1), first)


@inlined
def _word(mixed: int, number: int) -> int:
    """``keyed_word`` of a key, a draw and a small number; mixed: key and draw."""
    return mix32(mix32(mixed ^ number))


@inlined
def _make_words(words: Words, at: int, key0: int, key1: int, first: int) -> None:
    high = first >> 32
    # A body for all rows: the words of a draw share their first step.
    for i in range(BLOCK):
        low = (first + i) & _LOW
        mixed0, mixed1 = mix32(key0 ^ low) ^ high, mix32(key1 ^ low) ^ high
        words[at + THINS * RING + i] = _word(mixed0, ACCEPT)
        for n in range(TRIED):
            words[at + (PLACES + n) * RING + i] = _word(mixed0, n)
            words[at + (SHARES + n) * RING + i] = in_region(_word(mixed1, n))
        for n in range(TRIED - 1):
            words[at + (PROBES + n) * RING + i] = in_region(_word(mixed1, TRIES + n))


@inlined
def _make_waits(waits: NDArray[np.float64], at: int, key0: int, key1: int, first: int) -> None:
    mixed0, mixed1, high = mix32(key0), mix32(key1), first >> 32
    for i in range(BLOCK):
        low = (first + i) & _LOW
        waits[at + i] = -natural_log(uniform_of(mix32(mix32(mixed0 ^ low) ^ high), mix32(mix32(mixed1 ^ low) ^ high)))
