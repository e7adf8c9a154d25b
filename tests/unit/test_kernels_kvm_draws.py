"""Draws that are made ahead are those of the keyed functions, whatever number they begin at."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hostsim.compiled.jit import jit
from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import keyed_exponential, keyed_word
from hostsim.costs.exits import N_KINDS, ExitCosts
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.lay_out import lay_out as lay_out_guest
from hostsim.kvm.loops.draws import ACCEPT, TRIES, column, expected_wait, reach, word_at
from hostsim.kvm.loops.layout import BLOCK, PLACES, PROBES, REGION_BITS, RING, SHARES, THINS, TRIED, Kvm


def guest(arrivals: str) -> Kvm:
    """Two vCPUs that write 1024 pages."""
    load = Workload("w", "uniform", (0, 1), 0, 1024, Fraction(1000), arrivals=arrivals)
    each = np.zeros(N_KINDS, np.int64)
    costs = ExitCosts(1, 1, 1, 0, 0, each, each, np.zeros((3, 1), np.int64))
    memory = make_memory(lay_out([("pc.ram", 1024, [(0, 1024)])]))
    return lay_out_guest(build_guest([load], 1), memory, 2, MmuConfig(), costs, 1, 0)


@jit
def made(k: Kvm, s: int, draw: int, row: int) -> int:
    """A word of a draw."""
    reach(k, s, draw)
    return word_at(k.words, column(s, draw), row)


@jit
def waited(k: Kvm, s: int, draw: int) -> float:
    """The exponential of a draw."""
    reach(k, s, draw)
    return expected_wait(k, s, draw)


def words(k: Kvm, s: int, draw: int) -> list[int]:
    return [made(k, s, draw, row) for row in range(PROBES + TRIED - 1)]


def keyed(k: Kvm, s: int, draw: int) -> list[int]:
    key0, key1 = int(k.streams[s].key0), int(k.streams[s].key1)
    found = {THINS: keyed_word(key0, draw, ACCEPT)}
    found |= {PLACES + n: keyed_word(key0, draw, n) for n in range(TRIED)}
    found |= {SHARES + n: keyed_word(key1, draw, n) >> (32 - REGION_BITS) for n in range(TRIED)}
    found |= {PROBES + n: keyed_word(key1, draw, TRIES + n) >> (32 - REGION_BITS) for n in range(TRIED - 1)}
    return [found[row] for row in sorted(found)]


@pytest.mark.parametrize("first", [0, 3, BLOCK, (1 << 32) - 9, (5 << 32) + 2])
def test_words_of_draws_are_those_of_their_keys(first: int) -> None:
    k = guest("poisson")
    for draw in range(first, first + 3 * RING):
        for s in (0, 1):
            assert words(k, s, draw) == keyed(k, s, draw)


def test_waits_are_those_of_their_keys() -> None:
    k = guest("poisson")
    for draw in range(1, 3 * RING):
        key0, key1 = int(k.streams[1].key0), int(k.streams[1].key1)
        assert waited(k, 1, draw) == keyed_exponential(key0, key1, 0, draw)


def test_a_draw_stays_while_the_next_is_looked_at() -> None:
    k = guest("paced")
    for draw in range(1, 3 * RING):
        words(k, 0, draw + 1)
        assert words(k, 0, draw) == keyed(k, 0, draw)
