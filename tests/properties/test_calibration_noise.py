"""Two calibrations of one machine agree, whatever its neighbours do: noise that has one sign and comes in spells."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hostsim.measure.calibrate.sample import Sample
from hostsim.measure.kvm.calibrate_kvm import PLAN
from hostsim.measure.kvm.estimates import OF_LAYOUT, estimate
from hostsim.measure.kvm.repetitions import Repetitions
from hostsim.measure.kvm.rules import REPETITIONS_MIN

AGREE = 1.1
JITTER = 0.02
RUN_S, RUNS = 22.0, 200
"""Length of a calibration; so many are simulated."""
ROUNDS = 8
"""Rounds that fit into a calibration where a fault takes 3 us."""
LEAST = 24_600
"""Ticks of the loop on an own core."""
BY_NOISE, BY_LAYOUT = "dirty_pass_ns", "get_16_sptes_ns"


def quiet_enough(n: int) -> int:
    """So many of ``n`` repetitions have to be undisturbed for the lower quartile to be one of them, or between two."""
    return math.ceil(0.25 * (n - 1)) + 1


@given(st.data())
def test_a_number_is_right_while_three_tenths_of_its_repetitions_are_quiet(data: st.DataObject) -> None:
    n = data.draw(st.integers(REPETITIONS_MIN, 40))
    true_ns = data.draw(st.floats(0.01, 1e6))
    quiet = data.draw(st.integers(quiet_enough(n), n))
    factors = [1 + data.draw(st.floats(0, JITTER)) for _ in range(quiet)]
    factors += [data.draw(st.floats(1 + JITTER, 20)) for _ in range(n - quiet)]
    ns = true_ns * np.array(data.draw(st.permutations(factors)))
    found = estimate(BY_NOISE, Sample(ns))
    assert true_ns * (1 - 1e-9) <= found.ns <= true_ns * (1 + JITTER) * (1 + 1e-9)
    assert quiet_enough(ROUNDS * PLAN.repetitions) / (ROUNDS * PLAN.repetitions) < 0.32


@settings(deadline=None, max_examples=40)
@given(
    share=st.floats(0, 1 / 3), spell_s=st.floats(0.2, 2.0), slower=st.floats(1.15, 1.4), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_two_runs_agree_under_spells_of_a_busy_neighbour(share: float, spell_s: float, slower: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    runs = [run(rng, share, spell_s, slower) for _ in range(2 * RUNS)]
    low = agreement([estimate(BY_NOISE, one).ns for one in runs])
    assert low >= 0.9
    assert low >= agreement([estimate(BY_LAYOUT, one).ns for one in runs])


@settings(deadline=None, max_examples=20)
@given(share=st.floats(0.5, 0.8), spell_s=st.floats(0.05, 0.5), slower=st.floats(1.15, 1.4), seed=st.integers(0, 2**32 - 1))
def test_two_runs_agree_under_a_neighbour_that_is_mostly_busy(
    share: float, spell_s: float, slower: float, seed: int
) -> None:
    """The loop beside each repetition shows the few on a core of their own; the lower quartile alone would be wrong."""
    rng = np.random.default_rng(seed)
    found = [paced(run(rng, share, spell_s, slower), slower).counted(LEAST) for _ in range(2 * RUNS)]
    assert np.mean([one.is_calm for one in found]) > 0.5
    calm = [estimate(BY_NOISE, one).ns for one in found if one.is_calm]
    assert max(calm) <= 1 + JITTER


def paced(sample: Sample, slower: float) -> Repetitions:
    """The repetitions of ``sample``, with the ticks of a loop that a busy neighbour makes ``slower`` as well."""
    paces = np.where(sample.ns > 1 + JITTER, slower * LEAST, LEAST)
    return Repetitions(sample.ns.tolist(), paces.astype(int).tolist())


def run(rng: np.random.Generator, share: float, spell_s: float, slower: float) -> Sample:
    """Repetitions of a number of 1 ns as the plan spreads them, disturbed for ``share`` of the time in spells."""
    at = np.repeat(np.arange(ROUNDS) * RUN_S / ROUNDS, PLAN.repetitions)
    at = at + np.tile(np.arange(PLAN.repetitions) * 0.2, ROUNDS)
    factors = np.where(disturbed(rng, at, share, spell_s), slower, 1.0)
    return Sample(factors * (1 + JITTER * rng.random(len(at))))


def disturbed(rng: np.random.Generator, at: NDArray[np.float64], share: float, spell_s: float) -> NDArray[np.bool_]:
    """Whether a neighbour is busy at each of the times: spells and pauses of exponential length."""
    if share < 1e-6:  # pauses of weeks
        return np.zeros(len(at), np.bool_)
    pause_s = spell_s * (1 - share) / share
    pairs = int(4 * (RUN_S + 10) / (spell_s + pause_s)) + 20
    lengths = np.ravel(np.column_stack([rng.exponential(pause_s, pairs), rng.exponential(spell_s, pairs)]))
    ends = np.cumsum(lengths) - 10.0 * rng.random()
    return np.searchsorted(ends, at) % 2 == 1


def agreement(ns: list[float]) -> float:
    """Share of pairs of runs that agree."""
    pairs = np.array(ns).reshape(-1, 2)
    return float(np.mean(pairs.max(axis=1) <= AGREE * pairs.min(axis=1)))


@given(st.integers(0, 2**32 - 1))
def test_a_layout_that_differs_both_ways_is_its_middle(seed: int) -> None:
    ns = np.random.default_rng(seed).uniform(0.5, 1.5, 2001)
    assert BY_LAYOUT in OF_LAYOUT
    assert abs(estimate(BY_LAYOUT, Sample(ns)).ns - 1) < 0.12
