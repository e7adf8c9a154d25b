"""The rows of replacement and ageing fail where a policy, a guest or a queue is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import pytest

from hostsim.memory.policies.idle import IdlePages
from hostsim.memory.swap_service import Constant, Exponential
from hostsim.theory.replacement import POLICIES
from hostsim.validation import oracles_ageing, oracles_replacement
from hostsim.validation.oracles_ageing import working_set_rows
from hostsim.validation.oracles_replacement import replacement_rows
from hostsim.validation.oracles_swap import swap_rows
from hostsim.validation.published_memory import hit_ratio_rows
from hostsim.validation.rows import Row


def failed(rows: Iterable[Row], start: str) -> int:
    return sum(not row.passed for row in rows if row.id.startswith(start))


def fails_twice(rows: Iterable[Row], start: str) -> bool:
    """Whether two of ``rows`` fail; those behind them are not computed."""
    off = (row for row in rows if row.id.startswith(start) and not row.passed)
    return len(list(islice(off, 2))) == 2


def test_published_hit_ratios_pass() -> None:
    rows = list(hit_ratio_rows())
    assert [row.id for row in rows] == ["S1/fifo", "S1/clock", "S1/lru"]
    assert all(row.passed and row.scored for row in rows)


@pytest.mark.parametrize(("broken", "by"), [("lru", "fifo"), ("clock", "fifo"), ("fifo", "clock"), ("min", "lru")])
def test_one_policy_in_place_of_another_is_seen(monkeypatch: pytest.MonkeyPatch, broken: str, by: str) -> None:
    monkeypatch.setattr(oracles_replacement, "POLICIES", {**POLICIES, broken: POLICIES[by]})
    rows = list(replacement_rows())
    assert failed(rows, "O") >= 2
    assert failed(rows, "O17-run/uniform") == 0


def test_a_frame_too_many_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    larger = {name: lambda frames, pages, make=make: make(frames + 1, pages) for name, make in POLICIES.items()}
    monkeypatch.setattr(oracles_replacement, "POLICIES", larger)
    assert failed(list(replacement_rows()), "O15b-run") == 4


class Forgetful(IdlePages):
    """Loses the accessed bits of one page in ten."""

    def age(self, young: np.ndarray) -> object:
        young[::10] = 0
        return super().age(young)


def test_lost_accessed_bits_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles_ageing, "IdlePages", Forgetful)
    rows = list(working_set_rows())
    assert failed(rows, "O12-run/idle") >= 3
    assert failed(rows, "O13-run") >= 1
    assert failed(rows, "O12-run/young") == 0


@pytest.mark.parametrize("service", [Constant, Exponential])
def test_a_service_tenth_too_slow_is_seen(monkeypatch: pytest.MonkeyPatch, service: type) -> None:
    at_ns = service.at_ns
    monkeypatch.setattr(service, "at_ns", lambda self, uniform: at_ns(self, uniform) * 1.1)
    assert fails_twice(swap_rows(), "O19-run/swap")
