"""A compiled connection gives the integers of its twin, and each broken one is found out."""

from __future__ import annotations

import pytest

from tests.tidy.source import report
from tests.twins.connections import MUTATIONS, first_difference, plain

SEEDS = 100
SHOWS = {"a restart forgets the threshold": 92, "half a window is remembered": 28, "the first RTO halves": 11}
"""Seeds that showed a mutation after many that do not: they are tried first, and if they show it no more all others are."""


def test_a_connection_equals_its_twin() -> None:
    report([text for seed in range(SEEDS) if (text := first_difference(seed))])


@pytest.mark.swarm
def test_many_connections_equal_their_twins() -> None:
    report([text for seed in range(10_000, 14_000) if (text := first_difference(seed))])


def test_a_connection_in_plain_python_equals_its_twin() -> None:
    report([text for seed in range(10) if (text := first_difference(seed, plain(*MUTATIONS["nothing"])))])


@pytest.mark.parametrize("name", [name for name in MUTATIONS if name != "nothing"])
def test_a_broken_connection_is_caught(name: str) -> None:
    broken = plain(*MUTATIONS[name])
    assert any(first_difference(seed, broken) for seed in (SHOWS.get(name, 0), *range(SEEDS)))
