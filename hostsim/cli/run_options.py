"""Options of commands that run many simulations and print their result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hostsim.cli.forms import DATA
from hostsim.cli.report_files import NO_REPORT, ReportFiles


@dataclass(frozen=True)
class RunOptions:
    """How runs are made and their result is printed.

    workers: processes; None: as many as suit the runs.
    form: text, markdown, or a name of DATA.
    out: folder of the files; None: a folder under out/ that is named after the question.
    cluster: address of a Dask scheduler; "": processes of this machine.
    """

    workers: int | None = None
    form: str = "text"
    out: Path | None = None
    write_files: bool = True
    force: bool = False
    quiet: bool = False
    wide: bool = False
    cluster: str = ""
    reports: ReportFiles = NO_REPORT

    @property
    def silent(self) -> bool:
        """Whether nothing is printed on standard error."""
        return self.quiet or self.form in DATA
