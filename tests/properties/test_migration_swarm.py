"""200 drawn migrations of the swarm: mechanisms, workloads, links, faults, memory that runs short."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.swarm.drive_migrations import check_migration
from tests.swarm.migrations import drawn_migration

BLOCK = 20
FOUND = {
    2388: "a tcg log that was started again armed pages whose hits were still marked, and sought for ever an armed one",
    4125: "a run that ended before the first sync had the verdict on a log with one answer",
    5045: "a migration that was cancelled as its checkpoints began ended a second time when the host failed",
    106: "an attempt that had not begun at the end of the run was told as a migration",
    8473: "post-copy ran ahead of a read from swap whose end hung on another guest, and waited for the past",
    97: "the delta of a page was computed for a write of all its bytes that had not happened",
}
"""Seeds that failed once, and why."""


@pytest.mark.parametrize("first", range(100, 300, BLOCK))
def test_drawn_migrations_hold_together(first: int) -> None:
    ends = Counter(check_migration(seed) for seed in range(first, first + BLOCK))
    assert ends["completed"], "some of any twenty complete"


@pytest.mark.parametrize("seed", FOUND)
def test_what_the_swarm_found_holds_together(seed: int) -> None:
    check_migration(seed)


def test_the_draws_cover_what_there_is() -> None:
    tables = [drawn_migration(seed).resolved() for seed in range(100, 300)]
    keys = ("auto_converge", "dirty_limit", "xbzrle", "multifd", "zero_copy_send", "postcopy_ram", "postcopy_preempt")
    assert all(any(table["migration"][key] for table in tables) for key in keys)
    assert {table["checkpoints"]["policy"] for table in tables if "checkpoints" in table} == {"remus", "kemari"}
    assert {table["migration"]["qemu"] for table in tables} == {"7.2", "10.0", "10.2"}
    assert {table["vm"]["dirty_tracking"] for table in tables} >= {"tcg", "get-dirty-log", "clear-dirty-log", "dirty-ring"}
    assert any(table["link"]["outage"] for table in tables)
    assert any(table["link"]["loss"] for table in tables)
    assert any(table["migration"]["retries"] for table in tables)
    assert any(table["host"].get("memory") for table in tables)
    assert any(table["migration"]["postcopy_link_fails"] != "never" for table in tables)
