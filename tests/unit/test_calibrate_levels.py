from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from hostsim.measure.calibrate.levels import Curve, agrees, knees, matched, plateaus, plateaus_at
from hostsim.measure.calibrate.measure import effort

KIB, MIB = 1 << 10, 1 << 20
CACHES = (48 * KIB, MIB, 32 * MIB)
LATENCIES = (1.2, 3.6, 14.0, 110.0)
HALF_OCTAVE = 1.5
"""Neighbouring footprints are at most this factor apart."""


def curve(
    caches: tuple[float, ...] = CACHES, latencies: tuple[float, ...] = LATENCIES, noise: float = 0.0, soft: float = 0.0,
    seed: int = 1, largest: int = 256 * MIB,
) -> Curve:
    """Loads hit a cache while it holds them all; beyond its size the share that hits falls off over ``soft`` octaves."""
    sizes = np.array(effort(largest, quick=False).footprints_bytes, np.float64)
    ns = np.full(len(sizes), latencies[0])
    for size, low, high in zip(caches, latencies, latencies[1:], strict=False):
        beyond = np.log2(np.maximum(sizes / size, 1.0))
        missing = np.where(beyond > 0, np.minimum(1.0, (beyond / soft) if soft else 1.0), 0.0)
        ns += (high - low) * missing
    rng = np.random.default_rng(seed)
    return Curve(sizes, ns * np.exp(noise * rng.standard_normal(len(sizes))))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("soft", [0.0, 1.0, 1.6])
def test_levels_and_knees_of_a_noisy_curve(seed: int, soft: float) -> None:
    made = curve(noise=0.04, soft=soft, seed=seed)
    found = plateaus(made)
    assert len(found) == len(LATENCIES)
    for level, latency in zip(found, LATENCIES, strict=True):
        assert level.ns == pytest.approx(latency, rel=0.15)
    for knee, size in zip(knees(made, found), CACHES, strict=True):
        assert size / HALF_OCTAVE <= knee <= size * HALF_OCTAVE * 2**soft


@pytest.mark.parametrize(
    ("caches", "latencies"),
    [
        ((32 * KIB, MIB), (1.0, 4.0, 90.0)),
        ((32 * KIB,), (1.0, 90.0)),
        ((32 * KIB, 256 * KIB, 8 * MIB), (1.4, 3.4, 13.0, 65.0)),
        ((), (5.0,)),
    ],
)
def test_as_many_levels_as_there_are(caches: tuple[float, ...], latencies: tuple[float, ...]) -> None:
    made = curve(caches, latencies, noise=0.03)
    found = plateaus(made)
    assert [level.ns for level in found] == pytest.approx(latencies, rel=0.1)
    assert (found[0].first, found[-1].end) == (0, len(made.ns))
    assert all(a.end == b.first for a, b in pairwise(found))


def test_a_slope_without_steps_is_no_ladder_of_levels() -> None:
    sizes = curve().footprint_bytes
    made = Curve(sizes, np.geomspace(1.0, 100.0, len(sizes)))
    assert len(plateaus(made)) == 1
    assert knees(made, plateaus(made)) == []


def test_a_spike_moves_no_knee() -> None:
    made = curve(noise=0.02)
    clean = knees(made, plateaus(made))
    made.ns[[3, 12, 20]] *= 8.0
    assert knees(made, plateaus(made)) == pytest.approx(clean, rel=0.1)


def test_a_blurred_cache_is_read_at_the_size_that_is_reported() -> None:
    """Neighbours leave next to nothing of the shared cache: no plateau, yet a place to read its latency."""
    made = curve((48 * KIB, MIB, 3 * MIB), LATENCIES, soft=2.5)
    assert len(plateaus(made)) < len(LATENCIES)
    found = plateaus_at(made, CACHES)
    assert found is not None
    assert [level.ns for level in found][:2] == pytest.approx(LATENCIES[:2], rel=0.1)
    assert LATENCIES[1] < found[2].ns < found[3].ns
    assert found[3].ns == pytest.approx(LATENCIES[3], rel=0.1)


def test_sizes_that_the_curve_contradicts_are_not_used() -> None:
    assert plateaus_at(Curve(curve().footprint_bytes, -curve().ns), CACHES) is None
    assert plateaus_at(curve(largest=16 * MIB), CACHES) is None


@pytest.mark.parametrize(
    ("knee_bytes", "expected"),
    [
        ([48e3, 1e6, 3e7], [0, 1, 2]),
        ([50e3, 2e7], [0, None, 1]),
        ([50e3, 1e6], [0, 1, None]),
        ([9e5, 3e7], [None, 0, 1]),
        ([3e7], [None, None, 0]),
        ([3e7, 4e7], [None, 0, 1]),
        ([], [None, None, None]),
    ],
)
def test_knees_find_their_caches(knee_bytes: list[float], expected: list[int | None]) -> None:
    assert matched(knee_bytes, CACHES) == expected


def test_a_knee_confirms_a_size_near_it() -> None:
    assert agrees(55 * KIB, 48 * KIB)
    assert not agrees(19.5 * MIB, 32 * MIB)
    assert not agrees(math.nan, 32 * MIB)
