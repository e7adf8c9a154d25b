"""The comparison has teeth: each broken engine is caught within a bounded number of drawn machines."""

from __future__ import annotations

import pytest

from tests.twins.mutate import DRAWN_ONLY, MUTATIONS
from tests.twins.mutation_seeds import first_seed_that_shows


@pytest.mark.parametrize("name", [name for name in MUTATIONS if name not in {"none", DRAWN_ONLY}])
def test_a_broken_engine_is_caught(name: str) -> None:
    assert first_seed_that_shows("mutate", name) >= 0


def test_the_right_engine_passes_in_plain_python() -> None:
    assert first_seed_that_shows("mutate", "none", 20) == -1
