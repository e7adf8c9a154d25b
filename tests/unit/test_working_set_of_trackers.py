"""The working set that a verdict names is what the guest writes, whatever finds its dirty pages."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from hostsim import simulation
from hostsim.machine.trackers import TRACKERS
from hostsim.report.verdict_texts import verdict_texts
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario

SWEPT_PAGES = 2048
SWEEP = {"pattern": "sequential", "size": "8MiB", "write_rate": "20k/s"}
HOT = {"pattern": "hotcold", "size": "8MiB", "hot_size": "1MiB", "hot_share": 0.9, "write_rate": "20k/s"}


@cache
def ran(tracker: str, pattern: str, **mmu: Any) -> RunResult:
    """A guest of 64 MiB writes to 8 of them, faster than the link sends."""
    load = SWEEP if pattern == "sequential" else HOT
    vm = {"memory": "64MiB", "dirty_tracking": tracker, "workload": [load]} | ({"mmu": mmu} if mmu else {})
    return simulation.run(Scenario.model_validate({
        "vm": vm, "migration": {"bandwidth": "unlimited", "timeout": "3s", "downtime_limit": "10ms"},
        "link": {"bandwidth": "300Mbit/s"},
    }))  # fmt: skip


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_sweep_is_its_own_working_set(tracker: str) -> None:
    found = ran(tracker, "sequential")
    assert found.migrations[0].status != "completed"
    assert found.migrations[0].facts["working_set_pages"] == SWEPT_PAGES
    (why,) = [line for line in "\n".join(verdict_texts(found, "text")).splitlines() if line.startswith("Why: ")]
    assert "working set of 8.39 MB" in why


@pytest.mark.parametrize("eager_split", [True, False])
def test_large_pages_that_a_log_splits_are_not_written(eager_split: bool) -> None:
    found = ran("initially-all-set", "sequential", page_size="2MiB", eager_split=eager_split)
    assert found.migrations[0].facts["working_set_pages"] == SWEPT_PAGES


def test_drawn_writes_have_the_same_working_set_under_each_tracker() -> None:
    sets = {tracker: ran(tracker, "hotcold").migrations[0].facts["working_set_pages"] for tracker in TRACKERS}
    assert max(sets.values()) <= SWEPT_PAGES
    assert min(sets.values()) > 0.98 * max(sets.values()), sets
