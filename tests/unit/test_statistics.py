"""Intervals against closed forms, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from hostsim.core.errors import MissingExtraError
from hostsim.study import statistics
from hostsim.study.statistics import is_narrow, median_of, percentile_of, runs_that_show, share_of, spread_of

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
STUDIES = 400


@pytest.mark.parametrize(("k", "n"), [(30, 30), (0, 5), (12, 30), (1, 2)])
def test_the_share_has_wilsons_interval(k: int, n: int) -> None:
    found, p = share_of(k, n), k / n
    middle, half = (p + Z**2 / 2 / n), Z * np.sqrt(p * (1 - p) / n + Z**2 / 4 / n**2)
    assert found.low == pytest.approx((middle - half) / (1 + Z**2 / n), abs=1e-9)
    assert found.high == pytest.approx((middle + half) / (1 + Z**2 / n), abs=1e-9)


def test_without_runs_anything_is_possible() -> None:
    assert (share_of(0, 0).low, share_of(0, 0).high, share_of(0, 0).share) == (0.0, 1.0, 0.0)


def test_seventy_three_runs_show_nineteen_in_twenty() -> None:
    assert runs_that_show(0.95) == 73
    assert share_of(73, 73).low >= 0.95 > share_of(72, 72).low


def test_the_median_lies_between_order_statistics() -> None:
    found = median_of([7.0, 1.0, 5.0, 3.0, 2.0, 6.0])
    assert found is not None
    assert (found.median, found.low, found.high) == (4.0, 1.0, 7.0)  # 1 - 2 / 2^6 of all samples of six
    few = median_of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert few is not None
    assert (few.low, few.high) == (None, None)
    assert median_of([]) is None


def test_a_percentile_is_a_value_of_a_run() -> None:
    assert [percentile_of([3.0, 1.0, 2.0], percent) for percent in (1, 50, 95)] == [1.0, 2.0, 3.0]
    assert percentile_of([], 95) is None


def test_an_interval_is_narrow_by_its_longer_half() -> None:
    assert not is_narrow([5.0], 0.05)
    assert not is_narrow([90.0, 110.0], 0.05)
    assert is_narrow([99.9, 100.0, 100.1], 0.05)


def test_without_scipy_an_interval_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="scipy"):
        share_of(1, 2)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    draws = np.random.default_rng(20).normal(10.0, 2.0, (STUDIES, 8))
    spreads = [spread_of(study.tolist()) for study in draws]
    held = sum(one is not None and one.low is not None and one.low <= 10.0 <= (one.high or 0.0) for one in spreads)
    low, high = binom.interval(0.99, STUDIES, 0.95)
    assert low <= held <= high
