from __future__ import annotations

import numpy as np
import pytest

from hostsim.measure.calibrate import memory_probe as probe
from hostsim.measure.calibrate.arena import fresh, huge_bytes, make_cycle, written
from tests.helpers.evaluate import told_both_ways

LINES = 257


@pytest.fixture
def ring() -> np.ndarray:
    words = np.zeros(LINES * probe.LINE_WORDS, np.uint64)
    make_cycle(words, LINES, np.random.default_rng(7))
    return words


def test_a_chase_comes_by_every_line_once(ring: np.ndarray) -> None:
    at, seen = np.uint64(0), []
    for _ in range(LINES):
        seen.append(int(at))
        at = np.uint64(probe.chase(ring, at, 1))
    assert sorted(seen) == list(range(0, LINES * probe.LINE_WORDS, probe.LINE_WORDS))
    assert at == 0
    assert probe.chase(ring, np.uint64(0), LINES) == 0
    assert probe.chase(ring, np.uint64(0), LINES + 5) == seen[5]


def test_one_load_a_line() -> None:
    words = np.arange(64, dtype=np.uint64)
    assert probe.load_lines(words) == np.bitwise_xor.reduce(words[::8])


def test_random_stores_hit_all_lines_alike_and_nothing_else() -> None:
    words = np.zeros(64 * probe.LINE_WORDS, np.uint64)
    seed = probe.store_at_random(words, 1, 64)
    counts = np.zeros(64, np.int64)
    for _ in range(6400):
        words[:] = 0
        seed = probe.store_at_random(words, seed, 1)
        counts[np.flatnonzero(words)[0] // probe.LINE_WORDS] += 1
    assert counts.sum() == 6400
    assert np.sum((counts - 100) ** 2 / 100) < 63 + 5 * np.sqrt(126)


def test_clearing_touching_and_copying() -> None:
    words = np.ones(3 * probe.PAGE_WORDS, np.uint64)
    probe.clear_at_random(words, 7, 1)
    assert words.reshape(3, -1).sum(axis=1).tolist().count(probe.PAGE_WORDS) == 2
    probe.clear_at_random(words, 7, 40)
    assert not words.any()
    probe.touch_pages(words)
    assert np.flatnonzero(words).tolist() == [0, probe.PAGE_WORDS, 2 * probe.PAGE_WORDS]
    to = np.zeros(4, np.uint64)
    probe.copy(words[:2], to)
    assert to.tolist() == [1, 0, 0, 0]


def test_plain_python_does_the_same() -> None:
    script = """\
import numpy as np
from hostsim.measure.calibrate.arena import make_cycle
from hostsim.measure.calibrate import memory_probe as probe
words = np.zeros(1600, np.uint64)
make_cycle(words, 100, np.random.default_rng(3))
print(int(probe.chase(words, np.uint64(0), 70)), probe.store_at_random(words, 5, 9))
print(probe.clear_at_random(words, 5, 1), probe.load_lines(words), words.sum())
"""
    plain, compiled = told_both_ways(script)
    assert plain == compiled
    assert plain.strip()


@pytest.mark.parametrize("huge", [True, False])
def test_memory_to_measure_is_aligned_and_as_large_as_asked(huge: bool) -> None:
    words = fresh(3 << 20, huge=huge)
    assert (words.nbytes, words.ctypes.data % (2 << 20), int(words.sum())) == (3 << 20, 0, 0)


def test_memory_that_is_written_holds_something() -> None:
    assert written(1 << 20).all()
    assert huge_bytes() >= 0


def test_more_memory_than_there_can_be() -> None:
    with pytest.raises(MemoryError, match="to measure"):
        fresh(1 << 60, huge=True)
