"""The record of a result: a hash of each of its parts, so that a moved part has a name."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from hostsim import Scenario, run
from hostsim.core.errors import InputError
from hostsim.results.tables import RunResult, Table

DIGITS = 9
"""Significant digits of floats that enter a hash: the last bits of log and exp differ between libraries."""
HEX_DIGITS = 16


def kept_of(case: dict[str, Any]) -> dict[str, str]:
    """Part of the result to its hash; for a case that is refused the keys that are found wrong."""
    try:
        scenario = Scenario.model_validate(case)
    except InputError as error:
        return {"refused": ", ".join(sorted({problem.key for problem in error.problems}))}
    return {name: digest(part) for name, part in parts(run(scenario)).items()}


def parts(result: RunResult) -> dict[str, Any]:
    """run.json but for version and scenario, and each table."""
    whole = {key: value for key, value in result.to_dict().items() if key not in ("version", "scenario", "rounds")}
    found: dict[str, Any] = {"run": whole, "guest": _columns(result.guest)}
    for migration in result.migrations:
        tables = (migration.rounds, migration.series, migration.events)
        found |= {table.name: _columns(table) for table in tables}
    if result.host is not None:
        found |= {name: _columns(table) for name, table in result.host.tables.items()}
    return found


def digest(part: Any) -> str:
    """Hex digits of the SHA-256 of ``part`` as canonical JSON, floats rounded."""
    text = json.dumps(_rounded(part), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HEX_DIGITS]


def _columns(table: Table) -> dict[str, list[Any]]:
    return {name: column.tolist() for name, column in table.columns.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
