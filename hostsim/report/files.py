"""All files of a run: the files of its results, the verdict of each migration, the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hostsim.core.installed import extra_command
from hostsim.report.drawing import has_plots
from hostsim.report.html.registry import pictures_of, run_content
from hostsim.report.verdict_texts import verdict_file
from hostsim.results.store import write_run

if TYPE_CHECKING:
    from hostsim.results.tables import RunResult

def write_folder(result: RunResult, out: Path, verdicts: Sequence[str]) -> list[Path]:
    """Write the folder of ``result``; ``verdicts``: one text a migration. Returns the paths; OutputError."""
    return write_run(result, out, verdict_file(verdicts) | pictures_of(run_content(result, verdicts)))


def missing_files() -> str:
    """The files that a missing extra would add, with the command to install it; "" if nothing is missing."""
    from hostsim.results.encode import has_parquet

    left_out = [name for name, there in (("Parquet", has_parquet()), ("plots", has_plots())) if not there]
    return f"no {' and '.join(left_out)}: {extra_command('report', 'matplotlib', 'pyarrow')}" if left_out else ""
