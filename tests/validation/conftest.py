"""Rows that several files look at, computed once."""

from __future__ import annotations

import pytest

from hostsim.validation import oracles_lock, oracles_run, oracles_swap, run_suites
from hostsim.validation.rows import Row
from tests.helpers.shared import once

SHARES = [pytest.param(3, marks=pytest.mark.long), pytest.param(1, marks=pytest.mark.swarm)]


@pytest.fixture(scope="session", params=SHARES, ids="1/{}".format)
def oracle_rows(request: pytest.FixtureRequest) -> list[Row]:
    """All rows of suite ``oracles``; those that take longest of so many times fewer replications or batches by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracles_lock, "REPLICATIONS", oracles_lock.REPLICATIONS // request.param)
        patch.setattr(oracles_run, "COUPON_REPLICATIONS", oracles_run.COUPON_REPLICATIONS // request.param)
        patch.setattr(oracles_swap, "BATCHES", oracles_swap.BATCHES // min(2, request.param))
        return once(f"rows of oracles, 1 of {request.param}", lambda: run_suites(["oracles"]))
