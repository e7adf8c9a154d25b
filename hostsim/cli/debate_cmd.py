"""``hostsim debate``: the argument of July 2010 about the index of sptes, claim by claim."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hostsim.cli.errors_cli import exit_code_of
from hostsim.cli.forms import DATA, FormOption, form_of
from hostsim.cli.options import LOOK, AsRootFlag, HtmlOption, JsonFlag, PlotOption, QuietFlag, StrictApp, WideFlag
from hostsim.cli.report_files import ReportFiles
from hostsim.cli.study_options import NoFilesOption, SheetOption, show_study

HELP = """Run the argument of July 2010: which index should find the shadow PTEs of a page?

Prints twelve claims, each with a verdict and the point at which the verdict changes. The figures are measured on the data
structures; a closed form stands beside each."""

RealFlag = Annotated[
    bool,
    typer.Option(
        "--real", help="Measure only this host's KVM: the cost of each spte of a page, beside model and closed form."
    ),
]
BusyFlag = Annotated[bool, typer.Option("--busy", help="With --real: accept a machine on which other processes work.")]
DEFAULT_SHEET, REAL_SHEET = "nehalem-2010", "zen4-pvm"
"""The sheet of --real without --sheet: of a host that was measured through /dev/kvm."""
REAL_FILE = "real-chains"
"""Name of the files of --real: they may stand beside those of the debate."""
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")]


@dataclass(frozen=True)
class DebateOptions:
    """Options of the debate. sheet: name of the cost sheet that prices the claims."""

    sheet: str


def register(app: typer.Typer) -> None:
    """Add the command ``debate``."""
    app.command("debate", help=HELP, short_help="Run the argument of 2010 about the index of sptes.")(debate_command)


def main() -> None:
    """The command by itself, for scenarios/rmap_debate.py."""
    app = StrictApp(**LOOK)
    app.command(help=HELP)(debate_command)
    raise SystemExit(exit_code_of(app))


def debate_command(
    *,
    sheet: SheetOption = DEFAULT_SHEET,
    real: RealFlag = False,
    busy: BusyFlag = False,
    as_root: AsRootFlag = False,
    style: FormOption = "text",
    as_json: JsonFlag = False,
    out: OutOption = Path("out/debate"),
    no_files: NoFilesOption = False,
    html: HtmlOption = None,
    plot: PlotOption = None,
    wide: WideFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the debate, write its files and print its claims."""
    reports = ReportFiles(html, plot)
    reports.check()
    if as_root:
        _check_root(real=real)
    if real:
        chosen, folder = REAL_SHEET if sheet == DEFAULT_SHEET else sheet, None if no_files else out
        _real(chosen, busy=busy, as_root=as_root, as_json=as_json, wide=wide, out=folder, reports=reports)
        return
    from hostsim.report.debate_report import (
        claims_data,
        condition_lines,
        debate_content,
        debate_tables,
        debate_tables_of,
        write_debate,
    )
    from hostsim.report.progress import steps_progress
    from hostsim.results.store import prepare_folder
    from hostsim.study.rmap_debate.debate import N_CLAIMS, machine_words, run_claims
    from hostsim.study.rmap_debate.runs import use_sheet

    form = form_of(style, as_json=as_json)
    use_sheet(sheet)
    if not no_files:
        prepare_folder(out)
    with steps_progress(N_CLAIMS, quiet=quiet or form in DATA) as step:
        claims = run_claims(step)
    content = debate_content(DebateOptions(sheet), claims)
    paths = [] if no_files else write_debate(out, content, claims)
    paths += reports.of_study("debate", content, debate_tables_of(claims))
    caption = "\n".join([machine_words(), "", *condition_lines(claims)])
    show_study(form, content, debate_tables(claims), caption, claims_data(claims), paths, wide=wide)


def _check_root(*, real: bool) -> None:
    """InputError or KvmError before anything runs."""
    from hostsim.core.errors import InputError, Problem
    from hostsim.measure.privileged.putting_back import check_root

    if not real:
        raise InputError([Problem("", "--as-root", "no --real", "both: only this host's KVM is aged", "--real --as-root")])
    check_root()


def _real(
    sheet: str, *, busy: bool, as_root: bool, as_json: bool, wide: bool, out: Path | None, reports: ReportFiles
) -> None:
    """Chains of sptes on this host, beside the modelled rmap and the closed form."""
    from hostsim.costs.costs import load_costs
    from hostsim.measure.kvm.chain_costs import chain_costs
    from hostsim.measure.kvm.device import Kvm
    from hostsim.report.beside import write_real
    from hostsim.report.console import say, say_raw, say_wrapped, show
    from hostsim.report.tables import plain_table
    from hostsim.results.aside import check_folder

    costs = load_costs(sheet)
    if out:
        check_folder(out)
    with Kvm.open() as device:
        found = chain_costs(device, costs, busy=busy, as_root=as_root)
    table = found.table()
    told = {"host": found.host.words, "sheet": sheet, "rows": list(table.rows())}
    paths = write_real(out, "chains", REAL_FILE, told) if out else []
    paths += reports.of_object("chains", told | {"lines": list(found.lines())})
    if as_json:
        say_raw(json.dumps(told, indent=2) + "\n")
        return
    say_wrapped([f"real: {found.host.words}", f"modelled: the rmap since 6.4, sheet {sheet}", *found.lines(), ""])
    show(plain_table(table, most=len(table)), wide=wide)
    say(f"wrote {path}" for path in paths)
