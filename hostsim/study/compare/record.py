"""A finished run as a file: its key, its figures, and the whole of run.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes
from hostsim.results.tables import RunResult, plain
from hostsim.study.compare.figures import Figures, figures_of
from hostsim.study.compare.identity import versions

FORMAT = "hostsim-compare-run/1"
FOLDER = "runs"


def record_bytes(key: str, result: RunResult) -> bytes:
    """The content of a run's file; the same for the same key."""
    figures = plain(figures_of(result))
    return json_bytes({"format": FORMAT, "key": key, "versions": versions(), "figures": figures, "run": result.to_dict()})


def figures_in(content: bytes) -> Figures:
    """The figures of a record just made."""
    figures: Figures = json.loads(content)["figures"]
    return figures


def record_name(key: str) -> str:
    """Where a record stands below the folder of a comparison."""
    return f"{FOLDER}/{key}.json"


def write_record(out: Path, key: str, content: bytes) -> None:
    """Write it whole, or OutputError."""
    write_files(out / FOLDER, {f"{key}.json": content})


def read_record(out: Path, key: str) -> Figures | None:
    """Figures of the run ``key`` if it is finished and its file is whole; else it is to be run."""
    try:
        content: Any = json.loads((out / record_name(key)).read_bytes())
        whole = content["format"] == FORMAT and content["key"] == key and isinstance(content["figures"]["status"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return content["figures"] if whole else None
