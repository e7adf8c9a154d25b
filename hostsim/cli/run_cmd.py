"""``hostsim run``: simulate a scenario file, or run a Python script over hostsim's API as ``python FILE`` would."""

from __future__ import annotations

import gc
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hostsim.cli.options import Format, HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag, refuse_same_keys
from hostsim.cli.report_files import ReportFiles
from hostsim.core.ending import note_guest
from hostsim.core.errors import InputError, Problem
from hostsim.core.user_files import SCRIPT, read_bytes

HELP = """Simulate a scenario (.toml), or run a script (.py) that uses the Python API.

Prints a verdict, the rounds, and the names of the files. Exits with 0 for every verdict."""

FileArgument = Annotated[
    Path,
    typer.Argument(
        help="A scenario (.toml) or a script (.py), or the name of one that comes with hostsim.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command ``run``."""
    app.command("run", help=HELP, short_help="Simulate a scenario, or run a script.")(run_command)


def run_command(
    file: FileArgument,
    arguments: Annotated[list[str] | None, typer.Argument(help="Arguments for the script.", show_default=False)] = None,
    *,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the scenario; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all draws; default: the scenario's.", show_default=False)] = None,
    as_json: JsonFlag = False,
    style: Format = "text",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the files.", show_default="out/<name>")] = None,
    no_files: Annotated[bool, typer.Option("--no-files", help="Write no files.")] = False,
    fail_if_not_converged: Annotated[
        bool, typer.Option("--fail-if-not-converged", help="Exit with 1 unless every migration completed.")
    ] = False,
    confirm: Annotated[
        bool | None,
        typer.Option(
            "--confirm/--no-confirm",
            help="Confirm each change that the verdict advises by a run, or never.",
            show_default="confirm if the runs take seconds",
        ),
    ] = None,
    guestperf: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a report in the format of QEMU's guestperf, for its plots.", show_default=False
        ),
    ] = None,
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
    perfetto: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a timeline of the run for ui.perfetto.dev.", show_default=False),
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Print trace events as JSON lines on standard error, with QEMU's names.")
    ] = False,
) -> None:
    """Run a scenario or a script."""
    if trace:
        from hostsim.core.trace import enable

        enable()
    with importing():
        from hostsim.cli import run_scenario

    scenario_only = {
        "--set": bool(overrides), "--seed": seed is not None, "--json": as_json, "--format": style != "text",
        "--out": out is not None, "--no-files": no_files, "--fail-if-not-converged": fail_if_not_converged,
        "--guestperf": guestperf is not None, "--wide": wide, "--quiet": quiet, "--confirm": confirm is not None,
        "--perfetto": perfetto is not None, "--html": html is not None, "--plot": plot is not None,
    }  # fmt: skip
    from hostsim.scenario.catalogue import found_file

    file = found_file(file)
    if file.suffix == ".py":
        run_script(file, arguments or [], [name for name, given in scenario_only.items() if given])
        return
    refuse_arguments(arguments or [])
    refuse_same_keys(overrides or (), seed)
    options = run_scenario.Options(
        file, tuple(overrides or ()), seed, as_json, style, out, not no_files, fail_if_not_converged, quiet or trace,
        confirm, wide, perfetto, guestperf, ReportFiles(html, plot),
    )  # fmt: skip
    raise typer.Exit(run_scenario.run_scenario(options))


@contextmanager
def importing() -> Iterator[None]:
    """The garbage collector never searches objects made inside for cycles: 0.06 s of the CPU time of a warm run."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def run_script(file: Path, arguments: Sequence[str], options: Sequence[str]) -> None:
    """Run ``file`` as __main__. InputError if it cannot be read or if ``options`` of scenarios were given."""
    problems = [*_unreadable(file), *(_misplaced(option) for option in options)]
    if problems:
        raise InputError(problems)
    note_guest(str(file))
    with _as_main(file, arguments):
        runpy.run_path(str(file), run_name="__main__")


def refuse_arguments(arguments: Sequence[str]) -> None:
    """InputError if ``arguments``, which only a script takes, follow a scenario."""
    wanted = "no further arguments after a scenario file"
    if arguments:
        raise InputError([Problem("command line", "arguments", a, wanted, "--set KEY=VALUE") for a in arguments])


def _unreadable(file: Path) -> list[Problem]:
    try:
        read_bytes(file, SCRIPT)
    except InputError as error:
        return error.problems
    return []


def _misplaced(option: str) -> Problem:
    wanted = "a scenario file (.toml): a script has options of its own, if any, behind --"
    return Problem("command line", option, "a script", wanted, f"hostsim run FILE.py -- {option}")


@contextmanager
def _as_main(file: Path, arguments: Sequence[str]) -> Iterator[None]:
    argv, path = sys.argv, list(sys.path)
    sys.argv = [str(file), *arguments]
    sys.path.insert(0, str(file.resolve().parent))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
