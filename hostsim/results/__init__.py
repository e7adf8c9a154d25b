"""Results as objects with tables, and the files that hold them."""

from __future__ import annotations

from hostsim.results.qmp import QmpCounters, query_at_cancel, query_migrate
from hostsim.results.rounds import ROUNDS
from hostsim.results.series import EVENTS, SERIES
from hostsim.results.store import prepare_folder, write_run
from hostsim.results.tables import MigrationResult, RunResult, Table

__all__ = [
    "EVENTS",
    "ROUNDS",
    "SERIES",
    "MigrationResult",
    "QmpCounters",
    "RunResult",
    "Table",
    "prepare_folder",
    "query_at_cancel",
    "query_migrate",
    "write_run",
]
