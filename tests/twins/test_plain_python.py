"""Without the JIT the same source gives the same integers, drawn touches included."""

from __future__ import annotations

from tests.helpers.plain import plain_output
from tests.twins.digest import digests

SEEDS = (0, 30)


def test_compiled_equals_plain_python() -> None:
    assert plain_output("tests.twins.digest", *map(str, SEEDS)).splitlines() == digests(*SEEDS)
