"""All files of a run: the files of its results, the verdict of each migration, the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hostsim.core.installed import extra_command
from hostsim.report.drawing import has_plots
from hostsim.report.kvm_plots import kvm_pictures
from hostsim.report.memory_plots import host_pictures
from hostsim.report.plots import migration_pictures
from hostsim.results.store import write_run
from hostsim.results.tables import numbered

if TYPE_CHECKING:
    from hostsim.results.tables import RunResult

PICTURES = {"migration": migration_pictures, "kvm": kvm_pictures}


def write_folder(result: RunResult, out: Path, verdicts: Sequence[str]) -> list[Path]:
    """Write the folder of ``result``; ``verdicts``: one text a migration. Returns the paths; OutputError."""
    return write_run(result, out, verdict_file(verdicts) | picture_files(result))


def verdict_file(verdicts: Sequence[str]) -> dict[str, bytes]:
    """``verdict.txt``, an empty line between migrations; nothing for a run without one."""
    text = "\n\n".join(verdict.strip("\n") for verdict in verdicts)
    return {"verdict.txt": f"{text}\n".encode()} if verdicts else {}


def picture_files(result: RunResult) -> dict[str, bytes]:
    """``migration.png`` and ``.svg`` of each migration, under KVM ``kvm.*`` too, and those of the host's memory.

    Nothing without matplotlib.
    """
    if not has_plots():
        return {}
    of_host = {} if result.host is None else host_pictures(result.host, result.name)
    return of_host | {
        f"{numbered(stem, index)}.{kind}": content
        for index, migration in enumerate(result.migrations)
        for stem, draw in PICTURES.items()
        for kind, content in draw(migration, result.name).items()
    }


def missing_files() -> str:
    """The files that a missing extra would add, with the command to install it; "" if nothing is missing."""
    from hostsim.results.encode import has_parquet

    left_out = [name for name, there in (("Parquet", has_parquet()), ("plots", has_plots())) if not there]
    command = extra_command("report", "matplotlib", "pyarrow")
    return f"no {' and '.join(left_out)}: {command}" if left_out else ""
