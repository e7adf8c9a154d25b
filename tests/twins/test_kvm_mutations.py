"""The comparison of guests under KVM has teeth: each broken engine or host thread is caught within few drawn cases."""

from __future__ import annotations

import pytest

from tests.twins.kvm_mutate import MUTATIONS
from tests.twins.mutation_seeds import first_seed_that_shows


@pytest.mark.parametrize("name", [name for name in MUTATIONS if name != "none"])
def test_a_broken_engine_is_caught(name: str) -> None:
    assert first_seed_that_shows("kvm_mutate", name) >= 0


def test_the_right_engine_passes_in_plain_python() -> None:
    assert first_seed_that_shows("kvm_mutate", "none", 60) == -1
