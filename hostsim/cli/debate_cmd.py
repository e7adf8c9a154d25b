"""``hostsim debate``: the argument of July 2010 about the index of sptes, claim by claim."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hostsim.cli.errors_cli import exit_code_of
from hostsim.cli.options import LOOK, JsonFlag, QuietFlag, WideFlag
from hostsim.cli.strict import StrictApp
from hostsim.cli.study_options import FormatOption, NoFilesOption, SheetOption, tell

HELP = """Run the argument of July 2010: which index should find the shadow PTEs of a page?

Twelve claims, each with a verdict and the point where it turns, measured by running the structures. Beside it stands a
closed form."""

OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")]


@dataclass(frozen=True)
class DebateOptions:
    """What the claims depend on besides the structures."""

    sheet: str


def register(app: typer.Typer) -> None:
    """Add the command ``debate``."""
    app.command("debate", help=HELP, short_help="The argument of 2010 about the index of sptes, run.")(debate_command)


def main() -> None:
    """The command by itself: what scenarios/rmap_debate.py runs."""
    app = StrictApp(**LOOK)
    app.command(help=HELP)(debate_command)
    raise SystemExit(exit_code_of(app))


def debate_command(
    *,
    sheet: SheetOption = "nehalem-2010",
    style: FormatOption = "text",
    as_json: JsonFlag = False,
    out: OutOption = Path("out/debate"),
    no_files: NoFilesOption = False,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run and tell."""
    from hostsim.report.debate_report import claims_csv, condition_lines, debate_content, debate_tables, write_debate
    from hostsim.report.steps_progress import steps_progress
    from hostsim.results.store import prepare_folder
    from hostsim.study.rmap_debate.debate import N_CLAIMS, machine_words, run_claims
    from hostsim.study.rmap_debate.runs import use_sheet

    told_as = "json" if as_json else style
    use_sheet(sheet)
    if not no_files:
        prepare_folder(out)
    with steps_progress(N_CLAIMS, quiet=quiet or told_as in {"json", "csv"}) as step:
        claims = run_claims(step)
    content = debate_content(DebateOptions(sheet), claims)
    paths = [] if no_files else write_debate(out, content, claims)
    caption = "\n".join([machine_words(), "", *condition_lines(claims)])
    tell(told_as, content, debate_tables(claims), caption, claims_csv(claims), paths, wide=wide)
