"""5000 drawn migrations: no write is lost, and each of them ends or has a verdict that says why it does not."""

from __future__ import annotations

import pytest

from tests.swarm.drive_migrations import check_migration

BLOCK = 50


@pytest.mark.parametrize("first", range(1000, 6000, BLOCK))
def test_drawn_migrations_hold_together(first: int) -> None:
    for seed in range(first, first + BLOCK):
        check_migration(seed)
