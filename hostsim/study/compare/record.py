"""A finished run as a file: its key, its figures, and for a comparison the whole of run.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes
from hostsim.results.tables import RunResult, plain
from hostsim.study.compare.figures import Figures, figures_of
from hostsim.study.compare.identity import versions

if TYPE_CHECKING:
    from hostsim.scenario.schema import Scenario

FOLDER = "runs"
Heard = Callable[[int, Mapping[str, Any]], None]
"""Called with (simulated ns, figures so far) from time to time."""


@dataclass(frozen=True)
class Measure:
    """How a study measures a run.

    format: name of the measure in the files.
    take: runs a scenario, and returns the content of the file: a table with "figures", whose "status" is the end of the
    run.
    """

    format: str
    take: Callable[[Scenario, Heard], dict[str, Any]]


def content_of(result: RunResult) -> dict[str, Any]:
    """The figures of a comparison, and run.json."""
    return {"figures": plain(figures_of(result)), "run": result.to_dict()}


def _run_whole(scenario: Scenario, heard: Heard) -> dict[str, Any]:
    from hostsim.simulation import run

    return content_of(run(scenario, progress=heard))


WHOLE_RUN = Measure("hostsim-compare-run/1", _run_whole)
"""The measure of a comparison of scenarios: figures, and run.json."""


def record_bytes(key: str, content: Mapping[str, Any], measure: Measure = WHOLE_RUN) -> bytes:
    """The content of the file of run ``key``; equal keys give equal bytes.

    content: the figures, as JSON has them. measure: what the run was measured by, which names the format.
    """
    return json_bytes({"format": measure.format, "key": key, "versions": versions(), **content})


def figures_in(content: bytes) -> Figures:
    """The figures of a record just made."""
    figures: Figures = json.loads(content)["figures"]
    return figures


def record_name(key: str) -> str:
    """Path of a record below the folder of a comparison."""
    return f"{FOLDER}/{key}.json"


def write_record(out: Path, key: str, content: bytes) -> None:
    """Write ``content`` to the file of run ``key`` below ``out``: whole, or OutputError and no file."""
    write_files(out / FOLDER, {f"{key}.json": content})


def read_record(out: Path, key: str, measure: Measure = WHOLE_RUN) -> Figures | None:
    """Figures of run ``key`` from its file below ``out``; None if there is no whole file, or by another ``measure``."""
    try:
        content: Any = json.loads((out / record_name(key)).read_bytes())
        is_own = content["format"] == measure.format and content["key"] == key
        whole = is_own and isinstance(content["figures"]["status"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return content["figures"] if whole else None
