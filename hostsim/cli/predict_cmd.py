"""``hostsim predict``: will this VM migrate, how long does it take, and how far is the answer from flipping?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hostsim.cli.forms import FormOption, form_of
from hostsim.cli.options import EVERY_MODE, CiOption, HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag
from hostsim.cli.report_files import ReportFiles
from hostsim.cli.study_options import ClusterOption, WorkersOption
from hostsim.kvm.interfaces import INTERFACES

HELP = """Say whether a VM will migrate, how long it takes, and at which values the answer changes.

Give a scenario file, or describe the VM: --ram 64GiB --bandwidth 10Gbit --dirty-rate 6.5Gbit --working-set 8GiB.
Runs the migration with many seeds and prints intervals. Runs that the folder holds already are not run again."""

FileArgument = Annotated[
    Path | None, typer.Argument(help="A scenario (.toml), or the name of a scenario of hostsim.", show_default=False)
]
RamOption = Annotated[str, typer.Option("--ram", metavar="SIZE", help="Memory of the VM: 64GiB.", show_default=False)]
BandwidthOption = Annotated[
    str, typer.Option("--bandwidth", metavar="RATE", help="Bandwidth of the link: 10Gbit, 1.2GB/s.", show_default=False)
]
DirtyOption = Annotated[
    str,
    typer.Option(
        "--dirty-rate", metavar="RATE", show_default=False,
        help="Rate at which the VM writes pages, at random in its working set: 6.5Gbit, 4GB/s, 200k pages/s.",
    ),
]  # fmt: skip
WorkingSetOption = Annotated[
    str,
    typer.Option("--working-set", metavar="SIZE", help="Memory that the VM writes: 8GiB.", show_default="all memory"),
]
LimitOption = Annotated[
    str, typer.Option("--downtime-limit", metavar="TIME", help="The downtime-limit of QEMU.", show_default="300ms")
]
VcpusOption = Annotated[
    int | None, typer.Option("--vcpus", metavar="N", min=1, help="Number of vCPUs; all of them write.", show_default="4")
]
ProfileOption = Annotated[
    Literal["", "qemu", "libvirt", "nova", "kubevirt", "proxmox"],
    typer.Option("--profile", metavar="NAME", help="Management layer: qemu, libvirt, nova, kubevirt, proxmox.",
                 show_default="libvirt"),
]  # fmt: skip
ModeOption = Annotated[
    str,
    typer.Option("--mode", metavar="MODE", show_default="precopy, or as the file says",
                 help=f"Mechanism, as in compare --modes: {EVERY_MODE}."),
]  # fmt: skip
TrackingOption = Annotated[
    str,
    typer.Option("--tracking", metavar="NAME",
                 show_default="tcg, without the cost of logging; initially-all-set with auto-converge",
                 help=f"vm.dirty_tracking: {', '.join(INTERFACES)}."),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the scenario; repeatable.")
]
SeedOption = Annotated[int | None, typer.Option(help="First seed.", show_default="1, or the file's")]
RepsOption = Annotated[
    int | None,
    typer.Option(
        "--reps", metavar="K", min=1, help="Number of runs; each has the next seed.", show_default="30, fewer if large"
    ),
]
MarginsOption = Annotated[
    bool, typer.Option("--margins/--no-margins", help="Find the values at which the answer changes; needs more runs.")
]
OutOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder for the files.", show_default="out/<name>-predict")
]
SaveOption = Annotated[
    Path | None,
    typer.Option("--write-scenario", "-o", metavar="FILE", help="Write the VM as a scenario, and run nothing.",
                 show_default=False),
]  # fmt: skip
NoFilesOption = Annotated[
    bool, typer.Option("--no-files", help="Write no files, and read no files of an earlier prediction.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Run every run again, also those that the folder holds already.")]


def register(app: typer.Typer) -> None:
    """Add the command ``predict``."""
    app.command("predict", help=HELP, short_help="Say whether a VM will migrate, and how long it takes.")(predict_command)


def predict_command(
    file: FileArgument = None,
    *,
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
    until_ci: CiOption = "",
    margins: MarginsOption = True,
    workers: WorkersOption = None,
    cluster: ClusterOption = "",
    as_json: JsonFlag = False,
    style: FormOption = "text",
    out: OutOption = None,
    write_scenario: SaveOption = None,
    no_files: NoFilesOption = False,
    force: ForceOption = False,
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Predict the migration of a scenario or of a guest given by options, or write that guest as a scenario."""
    from hostsim.cli.options import refuse_same_keys
    from hostsim.cli.predict_run import Options, predict_and_tell, save
    from hostsim.study.predict.given import Given
    from hostsim.study.predict.guest import Guest

    refuse_same_keys(overrides or (), seed)
    guest = Guest(ram, bandwidth, dirty_rate, working_set, downtime_limit, vcpus, profile, tracking, mode)
    given = Given(file, guest, tuple(overrides or ()), seed)
    if write_scenario is not None:
        save(given, write_scenario)
        return
    options = Options(
        workers, form_of(style, as_json=as_json), out, not no_files, force, quiet, wide, cluster, ReportFiles(html, plot),
        reps, until_ci, margins,
    )  # fmt: skip
    predict_and_tell(given, options)
