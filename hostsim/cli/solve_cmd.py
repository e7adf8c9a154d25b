"""``hostsim solve``: the least change with which a migration reaches a target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hostsim.cli.forms import FormOption, form_of
from hostsim.cli.options import HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag
from hostsim.cli.predict_cmd import (
    BandwidthOption,
    DirtyOption,
    FileArgument,
    ForceOption,
    LimitOption,
    ModeOption,
    ProfileOption,
    RamOption,
    SeedOption,
    SetOption,
    TrackingOption,
    VcpusOption,
    WorkingSetOption,
)
from hostsim.cli.report_files import ReportFiles
from hostsim.cli.study_options import ClusterOption, WorkersOption
from hostsim.core.errors import InputError, Problem

HELP = """Find changes with which a VM migrates, and confirm them by runs.

Give a scenario file, or describe the VM as for `hostsim predict`. Tries a longer downtime limit, a faster link,
auto-converge and other mechanisms, one at a time. Prints the smallest sufficient change of each kind, and sufficient pairs
of bandwidth and downtime limit."""

GivenOption = Annotated[
    Path | None, typer.Option("--given", metavar="FILE", help="The scenario, in place of the argument.", show_default=False)
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="Share of runs that converge, and limits: converge=0.95,downtime<=500ms,total<=10min.",
    ),
]
VaryOption = Annotated[
    str,
    typer.Option("--vary", metavar="KIND,...", help="Kinds of changes to try: bandwidth, downtime-limit, throttle, mode."),
]
RepsOption = Annotated[
    int | None,
    typer.Option(
        "--reps", metavar="K", min=1, help="Number of runs that confirm each change.", show_default="30, fewer if large"
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder for the files.", show_default="out/<name>-solve")
]
NoFilesOption = Annotated[bool, typer.Option("--no-files", help="Write no files, and read no files of an earlier search.")]


def register(app: typer.Typer) -> None:
    """Add the command ``solve``."""
    app.command("solve", help=HELP, short_help="Find changes with which a VM migrates.")(solve_command)


def solve_command(
    file: FileArgument = None,
    *,
    given: GivenOption = None,
    target: TargetOption = "converge=0.95",
    vary: VaryOption = "bandwidth,downtime-limit,throttle,mode",
    ram: RamOption = "",
    bandwidth: BandwidthOption = "",
    dirty_rate: DirtyOption = "",
    working_set: WorkingSetOption = "",
    downtime_limit: LimitOption = "",
    vcpus: VcpusOption = None,
    profile: ProfileOption = "",
    mode: ModeOption = "",
    tracking: TrackingOption = "",
    overrides: SetOption = None,
    seed: SeedOption = None,
    reps: RepsOption = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = "",
    as_json: JsonFlag = False,
    style: FormOption = "text",
    out: OutOption = None,
    no_files: NoFilesOption = False,
    force: ForceOption = False,
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Search for changes with which the migration of a scenario, or of a guest given by options, reaches the target."""
    from hostsim.cli.options import refuse_same_keys
    from hostsim.cli.predict_run import Options
    from hostsim.cli.solve_run import solve_and_tell
    from hostsim.study.predict.given import Given
    from hostsim.study.predict.guest import Guest

    if file is not None and given is not None:
        raise InputError([Problem("--given", "", f"{given} beside {file}", "one scenario", f"--given {given}")])
    refuse_same_keys(overrides or (), seed)
    guest = Guest(ram, bandwidth, dirty_rate, working_set, downtime_limit, vcpus, profile, tracking, mode)
    options = Options(
        workers, form_of(style, as_json=as_json), out, not no_files, force, quiet, wide, cluster, ReportFiles(html, plot),
        reps,
    )  # fmt: skip
    solve_and_tell(Given(file or given, guest, tuple(overrides or ()), seed), target, vary, options)
