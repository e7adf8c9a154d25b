"""Rows that several files look at, computed once."""

from __future__ import annotations

import pytest

from hostsim.validation import run_suites
from hostsim.validation.rows import Row
from tests.helpers.shared import once


@pytest.fixture(scope="session")
def oracle_rows() -> list[Row]:
    """All rows of suite ``oracles``."""
    return once("rows of oracles", lambda: run_suites(["oracles"]))
