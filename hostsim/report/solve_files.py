"""Files of a solution: changes, frontier, JSON, the heat map, where it all comes from."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

from hostsim.report.html.pictures import pictures_of
from hostsim.report.html.registry import folder_content
from hostsim.report.solve_words import change_command, run_command
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import config_sha256, git_revision
from hostsim.results.tables import Table
from hostsim.study.compare.identity import versions
from hostsim.study.solve.solution import Cell, Change, Solution
from hostsim.study.statistics import Share

OWN_FILES = re.compile(
    r"(changes|frontier)\.(csv|parquet)|solve(-[\w-]+)?\.(png|svg)|verdict\.txt|report\.html|scenario\.toml"
)
CHANGES = {
    "kind": "str", "today": "str", "value": "str", "runs": "int64", "reached": "int64", "p_low": "float64",
    "p_high": "float64", "obstacle": "str", "command": "str", "run": "str",
}  # fmt: skip
FRONTIER = {
    "bandwidth_bytes_per_s": "float64", "downtime_limit_ms": "float64", "computed": "bool", "total_s": "float64",
    "corner": "bool", "runs": "int64", "reached": "int64", "p": "float64", "p_low": "float64", "p_high": "float64",
    "confirmed": "bool", "run": "str",
}  # fmt: skip


def write_solution(out: Path, found: Solution, content: dict[str, Any], scenario_toml: str = "") -> list[Path]:
    """Write the files of ``found``; returns their paths. OutputError, then ``out`` is as it was.

    scenario_toml: text of the scenario, where no file of the user holds it.
    """
    files = {
        "solve.json": json_bytes(content), "provenance.json": json_bytes(provenance(found)),
        "verdict.txt": "".join(f"{line}\n" for line in content["verdict"]).encode(),
        **table_files("changes", changes_table(found)), **table_files("frontier", frontier_table(found)),
        **pictures_of(folder_content("solve", content, provenance(found)), "solve"),
        **({"scenario.toml": scenario_toml.encode()} if scenario_toml else {}),
    }  # fmt: skip
    return write_files(out, files, stale=OWN_FILES if (out / "solve.json").exists() else None)


def provenance(found: Solution) -> dict[str, Any]:
    """All data to run the search again."""
    return {
        **versions(), "git": git_revision(), "python": platform.python_version(), "seeds": list(found.seeds),
        "target": found.target.text, "scenario": found.scenario, "config_sha256": config_sha256(dict(found.scenario)),
    }  # fmt: skip


def changes_table(found: Solution) -> Table:
    """A row a kind of change."""
    nan = float("nan")
    ran = [Share(0, 0, nan, nan) if one.reached is None else one.reached for one in found.changes]
    both = zip(found.changes, ran, strict=True)
    rows = [
        (one.kind, _text(one.today), _text(one.value), s.n, s.k, s.low, s.high, one.obstacle, *_commands(found, one))
        for one, s in both
    ]
    return Table.of("changes", CHANGES, rows)


def frontier_table(found: Solution) -> Table:
    """A row a pair of link speed and downtime limit."""
    return Table.of("frontier", FRONTIER, [_frontier_row(found, one) for one in found.frontier])


def _frontier_row(found: Solution, cell: Cell) -> tuple[Any, ...]:
    nan = float("nan")
    chances = (cell.share, cell.low, cell.high) if cell.runs else (nan, nan, nan)
    return (
        cell.bandwidth_bytes_per_s, cell.downtime_limit_ms, cell.computed, nan if cell.total_s is None else cell.total_s,
        cell.corner, cell.runs, cell.reached, *chances, cell.confirmed, run_command(found.command, cell.settings or {}),
    )  # fmt: skip


def _commands(found: Solution, change: Change) -> tuple[str, str]:
    """The command of the change's profile, and the command that runs it here; "" where there is none."""
    own = change_command(change, found.scenario) if change.value is not None else ""
    return own, run_command(found.command, change.settings) if change.settings else ""


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
