"""``hostsim compare``: a scenario with other values for some keys, each held against the first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.cli.options import Format, HtmlOption, JsonFlag, QuietFlag, WideFlag
from hostsim.cli.strict import refuse_same_keys
from hostsim.core.errors import InputError, Problem

if TYPE_CHECKING:
    from hostsim.cli.run_plan import Options
    from hostsim.study.compare.plan import Request

HELP = """Run a scenario for every combination of some values, and hold each against the first.

Prints a verdict, a table with ratios, and the files it wrote. Finished runs in the folder are not run again."""

VaryOption = Annotated[
    list[str] | None,
    typer.Option("--vary", metavar="KEY=VALUE,VALUE...", help="A key and its values; repeatable: all combinations are run."),
]
ModesOption = Annotated[
    str | None,
    typer.Option(
        metavar="all|MODE,MODE...", show_default=False,
        help="Mechanisms of migration side by side, in place of --vary: precopy, auto-converge, dirty-limit, xbzrle, "
        "multifd, multifd-zlib, multifd-zstd, zero-copy, postcopy, postcopy-preempt; postcopy@2 switches after two rounds.",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a key for all of them; repeatable.")
]
SeedOption = Annotated[int | None, typer.Option(help="First seed, in place of the scenario's.", show_default=False)]
SeedsOption = Annotated[int, typer.Option(metavar="K", min=1, help="Seeds each combination runs with, the same for all.")]
WorkersOption = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Processes; moves no result.", show_default="one a core")
]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the files go.", show_default="out/<name>-compare")
]
NoFilesOption = Annotated[bool, typer.Option("--no-files", help="Write no files, read none of an earlier comparison.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Run again what is finished in the folder.")]
MaxOption = Annotated[int, typer.Option(metavar="N", min=1, help="Refuse more runs than this.")]


def register(app: typer.Typer) -> None:
    """Add the command ``compare``."""
    app.command("compare", help=HELP, short_help="Run a scenario for several values, compare.")(compare_command)


def compare_command(
    file: Annotated[Path, typer.Argument(help="A scenario (.toml).", show_default=False)],
    *,
    vary: VaryOption = None,
    modes: ModesOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = 1,
    workers: WorkersOption = None,
    as_json: JsonFlag = False,
    style: Format = "text",
    out: OutOption = None,
    no_files: NoFilesOption = False,
    force: ForceOption = False,
    max_runs: MaxOption = 1000,
    html: HtmlOption = None,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Compare."""
    from hostsim.cli.run_plan import Options, run_and_tell
    from hostsim.scenario.catalogue import found_file
    from hostsim.study.compare.axes import read_axes
    from hostsim.study.compare.plan import Request, make_plan

    texts = tuple(overrides or ())
    options = Options(workers, as_json, style, out, not no_files, force, quiet, wide, html)
    _check_one_of(vary, modes)
    if modes is not None:
        _compare_modes(Request(found_file(file), (), texts, seed, seeds, max_runs), modes, options)
        return
    axes = read_axes(vary or (), texts)
    refuse_same_keys(texts, seed, [axis.key for axis in axes])
    run_and_tell(make_plan(Request(found_file(file), axes, texts, seed, seeds, max_runs)), options)


def _check_one_of(vary: list[str] | None, modes: str | None) -> None:
    """InputError unless the command says what is compared, in one way."""
    if bool(vary) == (modes is not None):
        got = "both" if vary else "neither"
        wanted = "either --vary KEY=VALUE,VALUE... or --modes"
        raise InputError([Problem("--vary, --modes", "", got, wanted, "--modes all")])


def _compare_modes(request: Request, modes: str, options: Options) -> None:
    from hostsim.cli.run_plan import run_and_tell
    from hostsim.report import console
    from hostsim.study.compare.modes import modes_plan

    found = modes_plan(request, modes)
    run_and_tell(found.plan, options)
    if not options.as_json:
        console.say([f"Not run: {name}, because {why}." for name, why in found.left_out.items()])
