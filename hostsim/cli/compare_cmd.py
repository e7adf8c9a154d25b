"""``hostsim compare``: a scenario with other values for some keys, each compared with the first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.cli.forms import DATA, FormOption, form_of
from hostsim.cli.options import EVERY_MODE, HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag, refuse_same_keys
from hostsim.cli.report_files import ReportFiles
from hostsim.cli.study_options import ClusterOption, WorkersOption
from hostsim.core.errors import InputError, Problem

if TYPE_CHECKING:
    from hostsim.cli.run_plan import Options
    from hostsim.study.compare.plan import Request

GUESTPERF = "guestperf:"
HELP = """Run a scenario for every combination of some values, and compare each with the first.

Prints a verdict, a table with ratios, and the names of the files. Runs that the folder holds already are not run again."""

VaryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--vary", metavar="KEY=VALUE,VALUE...", help="A key and its values. Repeatable: hostsim runs all combinations."
    ),
]
ModesOption = Annotated[
    str | None,
    typer.Option(
        metavar="all|MODE,MODE...",
        show_default=False,
        help=f"Mechanisms of migration to compare, in place of --vary: {EVERY_MODE}.",
    ),
]
VmOption = Annotated[
    Path | None,
    typer.Option(
        "--vm",
        metavar="FILE",
        help="The scenario, in place of the argument; [migration] may be missing.",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a key in every combination; repeatable.")
]
SeedOption = Annotated[int | None, typer.Option(help="First seed, in place of the scenario's.", show_default=False)]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        "--reps",
        metavar="K",
        min=1,
        help="Number of seeds of each combination; all combinations run the same seeds.",
        show_default="5, fewer if large",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder for the files.", show_default="out/<name>-compare")
]
NoFilesOption = Annotated[
    bool, typer.Option("--no-files", help="Write no files, and read no files of an earlier comparison.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Run every run again, also those that the folder holds already.")]
MaxOption = Annotated[int, typer.Option(metavar="N", min=1, help="Refuse to start more runs than this.")]


def register(app: typer.Typer) -> None:
    """Add the command ``compare``."""
    app.command("compare", help=HELP, short_help="Run a scenario with several values, and compare.")(compare_command)


def compare_command(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A scenario (.toml), or QEMU's own comparisons: guestperf:all, guestperf:NAME.", show_default=False
        ),
    ] = None,
    *,
    vm: VmOption = None,
    vary: VaryOption = None,
    modes: ModesOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = "",
    as_json: JsonFlag = False,
    style: FormOption = "text",
    out: OutOption = None,
    no_files: NoFilesOption = False,
    force: ForceOption = False,
    max_runs: MaxOption = 1000,
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run a scenario with several values or modes, write the files of the comparison, print its verdict and table."""
    from hostsim.cli.run_plan import Options, run_and_tell
    from hostsim.scenario.catalogue import found_file
    from hostsim.study.compare.axes import read_axes
    from hostsim.study.compare.plan import Request, make_plan

    texts = tuple(overrides or ())
    reports = ReportFiles(html, plot)
    options = Options(workers, form_of(style, as_json=as_json), out, not no_files, force, quiet, wide, cluster, reports)
    guestperf = "" if file is None or not str(file).startswith(GUESTPERF) else str(file)
    path = found_file(_scenario_of(file, vm, guestperf))
    _check_one_of(vary, modes, guestperf)
    if not vary:
        request = Request(path, (), texts, seed, seeds or 1, max_runs, by_work=seeds is None)
        _compare_modes(request, guestperf, modes or "", options, needs_table=vm is None)
        return
    axes = read_axes(vary, texts)
    refuse_same_keys(texts, seed, [axis.key for axis in axes])
    run_and_tell(make_plan(Request(path, axes, texts, seed, seeds or 1, max_runs, by_work=seeds is None)), options)


def _scenario_of(file: Path | None, vm: Path | None, guestperf: str) -> Path:
    """The scenario that has the guest: ``file`` or ``vm``. InputError unless exactly one of them is given.

    guestperf: ``file`` if it names QEMU's own comparisons, else "". Those have a guest of their own if ``vm`` is missing.
    """
    if guestperf:
        return vm or Path("guestperf")
    if (file is None) == (vm is None):
        got = "neither a scenario nor --vm" if vm is None else f"{file} and --vm {vm}"
        raise InputError([Problem("compare", "", got, "one scenario", "hostsim compare --vm vm.toml --modes all")])
    return file or vm or Path()


def _check_one_of(vary: list[str] | None, modes: str | None, guestperf: str) -> None:
    """InputError unless exactly one of --vary, --modes and a FILE with QEMU's own comparisons says which runs to compare."""
    given = [name for name, there in (("--vary", vary), ("--modes", modes is not None), (guestperf, guestperf)) if there]
    if len(given) != 1:
        got = " and ".join(given) or "neither"
        wanted = "either --vary KEY=VALUE,VALUE... or --modes"
        raise InputError([Problem("--vary, --modes", "", got, wanted, "--modes all")])


def _compare_modes(request: Request, guestperf: str, modes: str, options: Options, *, needs_table: bool) -> None:
    from hostsim.cli.run_plan import run_and_tell
    from hostsim.report import console
    from hostsim.study.compare.guestperf import guestperf_plan
    from hostsim.study.compare.modes import modes_plan

    found = guestperf_plan(request, guestperf) if guestperf else modes_plan(request, modes, needs_table=needs_table)
    run_and_tell(found.plan, options)
    if options.form not in DATA:
        console.say_wrapped([f"Not run: {name}, because {why}." for name, why in found.left_out.items()])
        if found.with_rings:
            console.say_wrapped([f"With dirty rings, which the mode requires: {', '.join(found.with_rings)}."])
