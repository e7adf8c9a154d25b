"""Predictions over several guests: how many run, and answers that hang on 1 % of the guest's writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hostsim.report.predict_report import prediction_lines
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.work import work_of
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.close_call import CloseCall, close_call
from hostsim.study.predict.guest import Guest, scenario_of
from hostsim.study.predict.replications import Wanted, replicate, same_guest
from hostsim.study.predict.work_ahead import computed_work
from tests.helpers.predicted import predicted, small_guest


def test_dear_guests_among_cheap_ones_are_counted_before_they_run() -> None:
    """Every third guest never ends: the first run, which ends, says nothing about their work."""
    cheap, dear = small_guest(downtime_limit="60ms"), small_guest(downtime_limit="1ms")

    def guest(number: int) -> Scenario:
        return same_guest(dear if number % 3 == 2 else cheap)(number)

    work = 2 * computed_work(dear) + 5 * computed_work(cheap)
    found = [replicate(guest, Wanted(work=work, guests_differ=True), Bench(workers)) for workers in (1, 2)]
    assert found[0].figures == found[1].figures
    assert 6 <= len(found[0].figures) < 12
    assert (found[0].rule.name, found[0].rule.wanted) == ("work", 30)
    assert found[0].rule.work_each == computed_work(dear)
    assert sum(work_of(f, s) for f, s in zip(found[0].figures, found[0].scenarios, strict=True)) <= 1.2 * work


def test_the_first_guest_runs_whatever_its_work() -> None:
    found = replicate(same_guest(small_guest()), Wanted(work=1.0, guests_differ=True), Bench(1))
    assert len(found.figures) == 1


@pytest.mark.parametrize("reps", [2, 30])
def test_cheap_guests_that_differ_are_run_as_often_as_wanted(reps: int) -> None:
    found = replicate([small_guest(downtime_limit=f"{20 + i}ms") for i in range(reps)], Wanted(guests_differ=True), Bench(1))
    assert (len(found.figures), found.rule.name) == (reps, "asked")


def near_the_line(rate: float) -> Scenario:
    """1 GiB of uniform writes over 1 Gbit/s, 30,517 pages/s, and a threshold of a third of what it writes."""
    return scenario_of(Guest("1GiB", "1Gbit", f"{rate}/s", "110MiB", "300ms"))[0]


def test_an_answer_that_hangs_on_one_percent_says_so() -> None:
    """Rounds shrink to those of one window: by computation they do up to 41,900 pages/s."""
    found = close_call(near_the_line(41_500))
    assert found is not None
    assert found.fewer_s is not None
    assert found.more_s is None
    assert close_call(near_the_line(25_000)) is None
    assert close_call(near_the_line(90_000)) is None


def test_a_close_call_is_a_sentence() -> None:
    told = replace(predicted(), close_call=CloseCall(33.2, 41.5, None))
    (line,) = (line for line in prediction_lines(told) if line.startswith("Close call"))
    assert "takes 41.5 s, with 1 % fewer writes it takes 33.2 s, and with 1 % more it does not complete" in line
