"""Which tier runs a drawn case."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def quick_and_long(cases: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """All ``cases`` as parameters of a test; those that are not in ``quick`` for `make long` only."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.long) for case in cases]
