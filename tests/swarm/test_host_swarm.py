"""5000 drawn hosts: no page is lost, no vCPU waits for ever, memory that runs out is an outcome."""

from __future__ import annotations

import pytest

from tests.swarm.drive import check_seed

BLOCK = 50
OUTCOMES = {"ended", "completed", "out of memory"}


@pytest.mark.parametrize("first", [*range(100, 200, BLOCK), *range(1000, 6000, BLOCK)])
def test_drawn_hosts_hold_together(first: int) -> None:
    ends = {seed: check_seed(seed) for seed in range(first, first + BLOCK)}
    assert set(ends.values()) <= OUTCOMES, ends
