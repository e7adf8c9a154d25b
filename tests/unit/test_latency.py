"""Histogram of latencies: what it counts exactly, and how far its percentiles may be off."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.core.latency import N_BUCKETS, Latencies, bucket_end_ns, bucket_of, make_counters, merged, note

LATENCIES = st.lists(st.integers(0, 300) | st.integers(0, (1 << 63) - 1), min_size=1, max_size=60)


@jit
def note_all(counters: NDArray[np.int64], row: int, values: NDArray[np.int64]) -> None:
    """A loop that counts as it goes."""
    for i in range(len(values)):
        note(counters, row, values[i])


def histogram(values: list[int]) -> Latencies:
    found = Latencies()
    for value in values:
        found.record(value)
    return found


@given(value=st.integers(0, (1 << 63) - 1))
def test_a_bucket_holds_its_values_and_is_narrow(value: int) -> None:
    bucket = bucket_of(value)
    assert 0 <= bucket < N_BUCKETS
    assert value <= bucket_end_ns(bucket) <= value * (1 + 1 / 128)
    assert bucket == 0 or bucket_end_ns(bucket - 1) < value


@given(values=LATENCIES)
def test_counts_totals_and_extremes_are_exact(values: list[int]) -> None:
    found = histogram(values)
    assert (found.count, found.total_ns, found.min_ns, found.max_ns) == (len(values), sum(values), min(values), max(values))
    assert found.mean_ns == sum(values) / len(values)
    assert int(found.buckets()[1].sum()) == len(values)


@given(values=LATENCIES, percent=st.floats(0, 100))
def test_percentiles_are_those_of_the_sorted_values(values: list[int], percent: float) -> None:
    rank = max(1, math.ceil(len(values) * percent / 100))
    exact = sorted(values)[min(rank, len(values)) - 1]
    got = histogram(values).percentile_ns(percent)
    assert exact <= got <= min(max(values), exact * (1 + 1 / 128))


@given(values=LATENCIES, cut=st.integers(0, 60))
def test_merged_parts_are_the_whole(values: list[int], cut: int) -> None:
    whole = histogram(values)
    parts = merged([histogram(values[:cut]), histogram(values[cut:])])
    assert parts.summary() == whole.summary()
    assert parts.min_ns == whole.min_ns
    assert [column.tolist() for column in parts.buckets()] == [column.tolist() for column in whole.buckets()]


@given(values=st.lists(st.integers(0, 300) | st.integers(0, (1 << 62) - 1), max_size=60))
def test_a_compiled_loop_counts_the_same(values: list[int]) -> None:
    counters = make_counters(2)
    note_all(counters, 1, np.array(values, np.int64))
    if sum(values) < 1 << 63:
        found, expected = Latencies.counted(counters[1]), histogram(values)
        assert (found.summary(), found.min_ns) == (expected.summary(), expected.min_ns)
        assert [column.tolist() for column in found.buckets()] == [column.tolist() for column in expected.buckets()]
    assert Latencies.counted(counters[0]).count == 0


def test_nothing_counted() -> None:
    found = Latencies()
    assert found.summary() == {"count": 0, "mean_ns": 0.0, "p50_ns": 0, "p90_ns": 0, "p99_ns": 0, "p99.9_ns": 0, "max_ns": 0}
    assert found.min_ns == 0


def test_percentiles_by_hand() -> None:
    found = histogram(list(range(1, 101)))
    assert [found.percentile_ns(percent) for percent in (0, 50, 90, 99, 100)] == [1, 50, 90, 99, 100]


def test_a_latency_below_zero_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Latencies().record(-1)


def test_many_values_are_close() -> None:
    values = np.random.default_rng(1).lognormal(11.0, 1.0, 4999).astype(np.int64)
    found = histogram(values.tolist())
    for percent in (50, 90, 99, 99.9):
        exact = np.percentile(values, percent, method="inverted_cdf")
        assert found.percentile_ns(percent) == pytest.approx(exact, rel=0.008)


def test_a_state_is_all_that_was_counted() -> None:
    """Through JSON, as the record of a run keeps it."""
    counted = Latencies()
    for latency_ns in (0, 7, 7, 1_000, 123_456_789):
        counted.record(latency_ns)
    again = Latencies.of_state(json.loads(json.dumps(counted.state())))
    assert again.summary() == counted.summary()
    assert (again.count, again.total_ns, again.min_ns) == (5, 123_457_803, 0)
    assert Latencies.of_state(Latencies().state()).summary() == Latencies().summary()
