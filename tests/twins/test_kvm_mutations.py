"""The comparison of guests under KVM has teeth: each broken engine or host thread is caught within few drawn cases."""

from __future__ import annotations

from typing import Any

import pytest

from tests.twins.kvm_mutate import MUTATIONS
from tests.twins.mutation_seeds import first_seed_that_shows

LATE = {
    "a vCPU that has made a host page sends all others away", "who holds the lock alone does not read again",
    "a shootdown takes the translations of vCPUs", "what is aged after a flush is stale",
    "a turn of a GET ends within a word",
}  # fmt: skip
"""Caught after many drawn cases, which take seconds in plain Python: run by make long."""


def named(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.long) if name in LATE else name


@pytest.mark.parametrize("name", [named(name) for name in MUTATIONS if name != "none"])
def test_a_broken_engine_is_caught(name: str) -> None:
    assert first_seed_that_shows("kvm_mutate", name) >= 0


def test_the_right_engine_passes_in_plain_python() -> None:
    assert first_seed_that_shows("kvm_mutate", "none", 30) == -1
