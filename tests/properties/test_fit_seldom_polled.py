"""Logs that are polled each 5 s: the brackets of the fit hold the dirty pages of the true guest, at 0.1, 1 and 10 s."""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.fitting.points import points_of
from hostsim.verdict.evidence import Round
from tests.helpers.seldom import held

CONFIDENCE = 0.9
"""Brackets hold 90 % of the drawn guests."""


def missed_most(brackets: int) -> int:
    """The most brackets that may miss the truth: five standard deviations beyond the mean of one in ten."""
    mean = (1 - CONFIDENCE) * brackets
    return int(mean + 5 * np.sqrt(mean * CONFIDENCE))


@pytest.mark.parametrize("first", [0, pytest.param(8, marks=pytest.mark.long), pytest.param(60, marks=pytest.mark.long)])
def test_the_true_guest_lies_in_the_brackets(first: int) -> None:
    found = [held(seed) for seed in range(first, first + (8 if first < 60 else 60))]
    told = [is_held for one in found for is_held in one.held.values()]
    assert sum(one.refused for one in found) <= len(found) // 2
    assert told.count(False) <= missed_most(len(told)), [one.held for one in found]


def test_the_instant_of_the_last_of_many_syncs_is_as_uncertain_as_the_polls() -> None:
    """50 rounds of 0.1 s between two answers 5 s apart: the last sync, and so their mean, is anywhere within half of 5 s."""
    rounds = [Round(10.0, 5000.0, 50.0), Round(0.1, 224.0, 120.0, timing_off=0.5, syncs=50)]
    point = points_of(rounds, 8000.0)[-1]
    assert point.off_pages / point.found_pages == pytest.approx(0.5 / 3**0.5, abs=0.05)
