"""Synthetic guest, simulated log, fit, forecast under another link and limit: the true guest's migration is bracketed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hostsim.fitting.fitted import fit_logs
from hostsim.logs.sniff import parse_logs
from tests.helpers.forecasts import KINDS, POLLS_S, Question, forecast_s, holds, outcome
from tests.helpers.polled import polled_log

QUESTIONS = st.builds(
    Question,
    kind=st.sampled_from(KINDS),
    memory_mib=st.integers(16, 48),
    written=st.floats(0.2, 0.8),
    speed=st.floats(0.4, 1.6),
    mib_per_s=st.integers(4, 24),
    waiting=st.floats(0.005, 0.1),
    every_s=st.sampled_from(POLLS_S),
    qemu=st.sampled_from(["7.2", "10.0"]),
    faster=st.floats(0.8, 2.0),
    longer=st.floats(0.4, 2.5),
    seed=st.integers(1, 1000),
)


@settings(max_examples=12, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(QUESTIONS)
def test_the_true_guest_lies_between_the_drawn_ones(question: Question) -> None:
    assert outcome(question) != "missed"


FOUND = {
    "hot pages that two rounds do not show": Question("two", 22, 0.32, 1.8, 9, 0.059, 0.2, "10.0", 0.92, 0.66),
    "rounds that the polls cannot tell apart": Question("hotcold", 42, 0.8, 1.5, 8, 0.0074, 0.5, "10.0", 1.8, 0.4),
}
"""Guests like those that the drawn ones once missed, and why."""


@pytest.mark.parametrize("name", FOUND)
def test_faults_of_the_fit_stay_mended(name: str) -> None:
    assert outcome(FOUND[name]) == "bracketed"


def test_polls_faster_than_a_window_do_not_double_the_bandwidth() -> None:
    question = Question("uniform", 24, 0.5, 0.7, 8, 0.04, 0.05, "7.2", 1.0, 1.0)
    (observed,) = fit_logs(parse_logs(polled_log(question.polled, 0.05)), draws=0).observed
    assert observed.evidence.bandwidth_bytes_per_s == pytest.approx(8 << 20, rel=0.02)


def test_a_guest_of_which_each_round_finds_all_is_bounded_from_below() -> None:
    assert outcome(Question("sequential", 32, 0.3, 2.5, 16, 0.07, 0.1, "10.0", 1.5, 1.0)) == "from below"


def test_the_bracket_can_be_missed() -> None:
    """The log has five lengths of rounds, so drawn guests do not allow everything."""
    question = Question("uniform", 48, 0.6, 0.8, 16, 0.033, 0.1, "10.0", 1.2, 1.0)
    told = sorted(forecast_s(fit_logs(parse_logs(polled_log(question.polled, 0.1)), draws=8), question))
    assert holds(told, told[3])
    assert not holds(told, 0.8 * told[0])
    assert told[-2] < 1.2 * told[0]


@pytest.mark.long
def test_the_strategy_asks_of_guests_that_are_identified() -> None:
    kinds = Counter(outcome(Question(kind, 32, 0.6, 0.9, 16, 0.033, 0.1, "10.0", 1.3, 1.0)) for kind in KINDS)
    assert kinds["bracketed"] >= 3
