"""What a run of ``hostsim measure-dirty`` leaves: its measurements, or the migration that is forecast from them."""

from __future__ import annotations

from typing import Any

from hostsim.results.tables import MigrationResult, RunResult
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.record import Heard, Measure

MEASURED = ("dirty_rate", "written_rate", "lost_share", "calc_time_ms")
"""Columns of ``calc_dirty_rate`` that are kept, a list each."""
FACTS = (
    "downtime_limit_ms", "page_wire_bytes", "filled_pages", "zero_pages", "max_bandwidth_bytes_per_s",
    "link_bandwidth_bytes_per_s", "host_bandwidth_bytes_per_s",
)  # fmt: skip
"""Facts of a migration that a forecast takes from its scenario."""


def _take(scenario: Scenario, heard: Heard) -> dict[str, Any]:
    from hostsim.simulation import run

    result = run(scenario, progress=heard)
    return {"figures": _migration(result.migrations[-1]) if result.migrations else _measured(result)}


MEASURED_RUN = Measure("hostsim-measure-dirty-run/1", _take)
"""The measure of a run."""


def _measured(result: RunResult) -> dict[str, Any]:
    return {"status": "ran", **{name: [row[name] for row in result.dirty_rates] for name in MEASURED}}


def _migration(migration: MigrationResult) -> dict[str, Any]:
    return {
        "status": migration.status, "total_time_ms": migration.total_time_ms,
        **{name: migration.facts[name] for name in FACTS},
    }  # fmt: skip
