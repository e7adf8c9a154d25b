"""The folder of a run: its files and the content of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hostsim.results.aside import check_folder, write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import provenance
from hostsim.results.tables import RunResult, numbered

OTHERS = ("migration", "kvm", "mmu-lock", "mmu-lock-waits", "verdict", "stall")
"""Stems of files that a run may have besides run.json, provenance.json and its tables: pictures, and the verdict."""


def prepare_folder(out: Path) -> None:
    """OutputError if nothing can be written to ``out``; asked before a long run, it leaves no trace."""
    check_folder(out)


def write_run(result: RunResult, out: Path, also: Mapping[str, bytes] | None = None) -> list[Path]:
    """Write run.json, provenance.json, the tables of each migration, and ``also`` (name to content).

    Returns the paths. Files of an earlier run that this one does not have are removed. OutputError if a file
    cannot be written whole; then ``out`` is as it was. Without pyarrow no Parquet is written.
    """
    stale = _own_files() if (out / "run.json").exists() else None
    return write_files(out, run_files(result) | dict(also or {}), stale=stale)


def run_files(result: RunResult) -> dict[str, bytes]:
    """Name and content of each file that results alone make."""
    files = {"run.json": json_bytes(result.to_dict()), "provenance.json": json_bytes(provenance(result))}
    for index, migration in enumerate(result.migrations):
        files |= table_files(numbered("rounds", index), migration.rounds)
        files |= table_files(numbered("series", index), migration.series)
        for name, own in migration.own.items():
            files |= table_files(numbered(name, index), own.table)
    for name, table in ({} if result.host is None else result.host.tables).items():
        files |= table_files(name, table)
    return files


def _own_files() -> re.Pattern[str]:
    """Names that a run may give to files besides run.json and provenance.json."""
    from hostsim.results.registry import OF_HOST, OF_MIGRATIONS  # the registry is heavy to import

    stems = "|".join((*OF_MIGRATIONS, *OF_HOST, *OTHERS))
    return re.compile(rf"({stems})(-\d+)?\.(csv|parquet|png|svg|txt)|report\.html")
