"""``hostsim validate``: every target with the expected figure, the simulated one, and the error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostsim.cli.measure_migrations import MeasureOptions
from hostsim.cli.options import HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag
from hostsim.cli.report_files import ReportFiles

if TYPE_CHECKING:
    from hostsim.validation.rows import Row

KEYS = ("suite", "id", "quantity", "expected", "got", "error", "tolerance", "passed")
"""The first keys of each object of --json, in this order."""
HELP = """Compare hostsim with real migrations, published tables and closed forms; print every error.

With --suite kvm --measure, the QEMU on this host first runs real migrations under this host's KVM. Exits with 0 for all
errors; with --fail, exits with 1 if a scored row failed."""
DEFAULT_OUT = Path("out/kvm-measured")


def register(app: typer.Typer) -> None:
    """Add the command ``validate``."""
    app.command("validate", help=HELP, short_help="Compare hostsim with real migrations and closed forms.")(validate_command)


def validate_command(
    *,
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", metavar="qemu|published|kvm|oracles|fit", help="Suite to run; repeatable. Default: all."),
    ] = None,
    as_json: JsonFlag = False,
    cases: Annotated[Path | None, typer.Option(metavar="FILE", help="File of other real migrations (.jsonl).")] = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Worker processes.")] = 1,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 if a scored row failed.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="With --suite kvm: run real migrations on this host.")] = False,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, max=20, help="With --measure: runs of each migration.")] = 3,
    sheet: Annotated[
        str, typer.Option(metavar="SHEET", help="With --measure: cost sheet of this host. Default: hostsim measures one.")
    ] = "",
    out: Annotated[Path, typer.Option(metavar="DIR", help="With --measure: folder for the files.")] = DEFAULT_OUT,
    busy: Annotated[
        bool, typer.Option("--busy", help="With --measure: accept a machine on which other processes work.")
    ] = False,
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run suites and print their rows."""
    reports = ReportFiles(html, plot)
    reports.check()
    if measure:
        options = MeasureOptions(sheet, repeats, out, busy, quiet or as_json, reports)
        rows = _measure(suites or [], options, as_json=as_json, wide=wide)
    else:
        rows = _run(suites or (), cases, jobs, as_json=as_json, wide=wide, quiet=quiet)
        _report(reports, suites or (), rows)
    if fail and not all(row.passed for row in rows if row.scored):
        raise typer.Exit(1)


def _report(reports: ReportFiles, suites: Sequence[str], rows: Sequence[Row]) -> None:
    """Write the report that is asked for, and say so on standard error: standard output may be JSON."""
    from hostsim.report.console import note

    command = " ".join(["hostsim validate", *(f"--suite {suite}" for suite in suites)])
    for path in reports.of_object("validate", {"rows": [as_object(row) for row in rows], "command": command}):
        note(f"wrote {path}")


def _run(suites: Sequence[str], cases: Path | None, jobs: int, *, as_json: bool, wide: bool, quiet: bool) -> Sequence[Row]:
    """The rows of suites, printed."""
    from hostsim.report.progress import suite_progress
    from hostsim.validation import run_suites

    with suite_progress(quiet=quiet or as_json) as progress:
        rows = run_suites(suites, cases=cases, jobs=jobs, progress=progress)
    show_rows(rows, as_json=as_json, wide=wide)
    return rows


def _measure(suites: list[str], options: MeasureOptions, *, as_json: bool, wide: bool) -> Sequence[Row]:
    """Measure and simulate, printed."""
    from hostsim.cli.measure_migrations import measure_and_simulate, show_rows
    from hostsim.core.errors import InputError, Problem

    if suites != ["kvm"]:
        got = f"--suite {', '.join(suites)}" if suites else "no --suite"
        raise InputError([Problem("", "--measure", got, "--suite kvm alone", "hostsim validate --suite kvm --measure")])
    found, rows, sheet = measure_and_simulate(options)
    show_rows(options, found, rows, sheet, as_json=as_json, wide=wide)
    return rows


def show_rows(rows: Sequence[Row], *, as_json: bool, wide: bool = False) -> None:
    """Print ``rows`` as JSON if ``as_json``, else as tables of each suite and a summary. wide: print all columns."""
    from hostsim.report import console, tables

    if as_json:
        console.say_raw(json.dumps([as_object(row) for row in rows], indent=2) + "\n")
        return
    for table in (*tables.validation_tables(rows), tables.summary_table(rows)):
        console.show(table, wide=wide)


def as_object(row: Row) -> dict[str, Any]:
    """A row as a dict: ``KEYS`` first, then its other fields."""
    fields = row.to_dict()
    return {key: fields[key] for key in KEYS} | {key: value for key, value in fields.items() if key not in KEYS}
