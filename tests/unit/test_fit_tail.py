"""The last rounds of a migration, of which a log that was polled seldom shows their number and their sum."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from hostsim.fitting.fitted import GuestFit, fit_logs
from hostsim.fitting.observed import observe
from hostsim.fitting.refusal import NotIdentifiedError
from hostsim.fitting.tail import _lengths
from hostsim.logs.sniff import parse_logs
from hostsim.scenario.schema import Scenario
from tests.helpers.polled import polled_log

PAGES, WRITES_PER_S = 8192, 1500.0
EVERY_S = 0.1


@cache
def answers() -> tuple[str, ...]:
    """A guest that converges: a first pass of 16 s, and six rounds within 6 s."""
    scenario = Scenario.model_validate({
        "duration": "61s",
        "vm": {"memory": "256MiB", "workload": [{"pattern": "uniform", "size": "32MiB", "write_rate": "1500/s"}]},
        "migration": {"bandwidth": "16MiB/s", "downtime_limit": "5ms", "timeout": "60s"},
        "link": {"bandwidth": "10Gbit/s"},
        "host": {"machine": "qemu-tcg-2core", "lateness": "drawn"},
    })  # fmt: skip
    return tuple(polled_log(scenario, EVERY_S).splitlines())


def seldom(*times_s: float) -> str:
    """The answers nearest to ``times_s``, and the last."""
    told = np.array([json.loads(line)["t"] for line in answers()])
    picked = [answers()[int(np.argmin(np.abs(told - at_s)))] for at_s in times_s]
    return "\n".join([*picked, answers()[-1]])


def fitted(*times_s: float) -> GuestFit:
    return fit_logs(parse_logs(seldom(*times_s)), draws=24)


def holds(found: GuestFit, seconds: float) -> bool:
    true = PAGES * -np.expm1(-WRITES_PER_S * seconds / PAGES)
    told = [classes.curve()(seconds) for classes in (found.classes, *found.found.draws)]
    return bool(0.97 * min(told) <= true <= 1.03 * max(told))


def first_sync_s() -> float:
    syncs = [json.loads(line)["info"]["ram"]["dirty-sync-count"] for line in answers()]
    return EVERY_S * next(i for i, count in enumerate(syncs, 1) if count > 1)


@pytest.mark.parametrize("after_s", [0.3, 0.8])
def test_a_log_with_one_round_and_the_end_identifies_the_guest(after_s: float) -> None:
    found = fitted(5.0, 10.0, first_sync_s() + after_s)
    assert not found.found.from_below
    assert all(holds(found, seconds) for seconds in (0.5, 2.0, 10.0))
    assert any("between the last answer and the end" in note for note in found.notes)


def test_without_the_end_one_round_tells_too_little() -> None:
    text = seldom(5.0, 10.0, first_sync_s() + 0.3).rsplit("\n", 1)[0]
    with pytest.raises(NotIdentifiedError, match="one round only"):
        fit_logs(parse_logs(text))


def test_a_log_with_rounds_enough_does_without() -> None:
    (log,) = parse_logs("\n".join(answers()[::5]))
    assert all(r.off_share == 0.0 for r in observe(log).rounds)


def test_the_first_of_several_rounds_between_two_answers_has_its_own_length() -> None:
    """The first pass and a short round: their mean is the length of neither."""
    (log,) = parse_logs(seldom(5.0, 10.0, first_sync_s() + 2.5))
    first = observe(log).rounds[0]
    assert first.syncs > 1
    assert first.lengths_s[0] == pytest.approx(first_sync_s(), abs=0.5)
    assert sum(first.lengths_s) == pytest.approx(first.syncs * first.duration_s)


@pytest.mark.parametrize(("first_s", "whole_s", "syncs"), [(2.0, 5.0, 4), (1.0, 1.5, 3), (4.0, 4.6, 5), (0.05, 0.1, 2)])
def test_lengths_fall_by_one_factor_and_have_their_sum(first_s: float, whole_s: float, syncs: int) -> None:
    lengths = _lengths(first_s, whole_s, syncs)
    assert len(lengths) == syncs
    assert sum(lengths) == pytest.approx(whole_s, rel=1e-3)
    assert lengths[0] == pytest.approx(first_s)
    assert all(b <= 1.2 * a for a, b in pairwise(lengths))


@pytest.mark.parametrize(("first_s", "whole_s", "syncs"), [(2.0, 1.0, 3), (1.0, 30.0, 3), (0.0, 1.0, 2), (1.0, 0.0, 1)])
def test_lengths_that_cannot_be_are_none(first_s: float, whole_s: float, syncs: int) -> None:
    assert _lengths(first_s, whole_s, syncs) == ()
