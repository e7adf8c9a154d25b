"""Rows that several files look at, computed once."""

from __future__ import annotations

import pytest

from hostsim.validation import run_suites
from hostsim.validation.rows import Row


@pytest.fixture(scope="session")
def oracle_rows() -> list[Row]:
    """All rows of suite ``oracles``."""
    return run_suites(["oracles"])
