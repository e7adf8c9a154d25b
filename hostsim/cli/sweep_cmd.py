"""``hostsim sweep``: a study file, run as ``hostsim compare`` runs its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hostsim.cli.compare_cmd import ForceOption, MaxOption, NoFilesOption, WorkersOption
from hostsim.cli.options import CiOption, Format, JsonFlag, QuietFlag, WideFlag

HELP = """Run a study: a file that names a scenario, the keys that vary, and how many seeds.

Prints and writes what `compare` does. Finished runs in the folder are not run again."""

OutOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the files go.", show_default="out/<study>")]


def register(app: typer.Typer) -> None:
    """Add the command ``sweep``."""
    app.command("sweep", help=HELP, short_help="Run a study file: keys that vary, seeds.")(sweep_command)


def sweep_command(
    study: Annotated[Path, typer.Argument(help="A study (.toml).", show_default=False)],
    *,
    until_ci: CiOption = "",
    workers: WorkersOption = None,
    as_json: JsonFlag = False,
    style: Format = "text",
    out: OutOption = None,
    no_files: NoFilesOption = False,
    force: ForceOption = False,
    max_runs: MaxOption = 1000,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the study."""
    from hostsim.cli.run_plan import Options, run_and_tell
    from hostsim.cli.run_scenario import folder_name
    from hostsim.study.compare.plan import make_plan
    from hostsim.study.compare.study_file import load_study
    from hostsim.study.option_text import read_share

    plan = make_plan(load_study(study, max_runs))
    folder = out or Path("out") / folder_name(study.stem)
    within = read_share(until_ci)
    run_and_tell(plan, Options(workers, as_json, style, folder, not no_files, force, quiet, wide, within))
