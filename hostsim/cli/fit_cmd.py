"""``hostsim fit``: the guest of a migration's log, as a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostsim.cli.explain_cmd import BandwidthOption, LimitOption, LinkOption, TagOption
from hostsim.cli.forms import FormOption, form_of, say_data
from hostsim.cli.options import HtmlOption, JsonFlag, PlotOption, WideFlag
from hostsim.cli.report_files import ReportFiles

if TYPE_CHECKING:
    from hostsim.fitting.fitted import GuestFit

HELP = """Fit a guest to the log of its migration, and write it as a scenario.

       Reads all logs that hostsim explain reads, dirty curves (.csv, .toml) and readings of calc-dirty-rate. Several logs,
       and all migrations in a log, are fitted together as one guest. Exits with 2 and the reason if the logs do not
       determine the guest."""

LogsArgument = Annotated[
    list[str], typer.Argument(metavar="LOG...", help="Logs of one guest; - reads standard input.", show_default=False)
]
WriteOption = Annotated[
    Path | None,
    typer.Option("--write", "-o", metavar="FILE", help="Write the guest as a scenario (.toml).", show_default=False),
]
MigrationOption = Annotated[
    int | None,
    typer.Option(
        "--migration",
        metavar="N",
        min=1,
        help="Read only migration N of each log, in the order of `hostsim explain`.",
        show_default="all of one guest, together",
    ),
]
SeedOption = Annotated[int, typer.Option(help="Seed of the guests that are drawn for the intervals.")]
FolderOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for JSON, tables, pictures.", show_default="no files"),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Memory of the guest; needed with a dirty curve or readings.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the command ``fit``."""
    app.command("fit", help=HELP, short_help="Fit a guest to the log of its migration.")(fit_command)


def fit_command(
    logs: LogsArgument,
    *,
    tag: TagOption = None,
    migration: MigrationOption = None,
    downtime_limit: LimitOption = None,
    bandwidth: BandwidthOption = None,
    link: LinkOption = None,
    memory: MemoryOption = None,
    seed: SeedOption = 1,
    write: WriteOption = None,
    html: HtmlOption = None,
    plot: PlotOption = None,
    out: FolderOption = None,
    as_json: JsonFlag = False,
    style: FormOption = "text",
    wide: WideFlag = False,
) -> None:
    """Fit a guest to the log of its migration, write its files, print the fit."""
    from hostsim.fitting.fitted import fit
    from hostsim.report import console
    from hostsim.report.fit_report import curve_table, fit_lines, fit_report, rounds_grid, write_fit
    from hostsim.report.html.kinds.parts import given_command

    reports, form = ReportFiles(html, plot), form_of(style, as_json=as_json)
    reports.check()
    check_out(out)
    known = known_figures(downtime_limit, bandwidth, link)
    fitted = fit(*logs, tag=tag, migration=migration, seed=seed, memory=memory, **known)
    written, told = _write(fitted, write), {"lines": fit_lines(fitted), **fitted.to_dict()}
    options = {"tag": tag, "migration": migration, "downtime-limit": downtime_limit, "bandwidth": bandwidth, "link": link,
               "memory": memory, "seed": seed if seed != 1 else None}  # fmt: skip
    about = {"command": given_command("fit", logs, options)}
    content = fit_report("fit", fitted, told | about, seed)
    written += [] if out is None else write_fit(out, content, told["lines"], curve_table(fitted))
    written += reports.write(lambda: content)
    if say_data(form, told, lambda: curve_table(fitted)):
        return
    console.say_verdict(told["lines"], markdown=form == "markdown")
    if fitted.found.points:
        console.say([""])
        console.show(rounds_grid(fitted), markdown=form == "markdown", wide=wide)
    console.say([f"wrote {path}" for path in written])
    if write is not None:
        console.say([f"hostsim run {write} simulates the migration of the log; hostsim predict {write} gives intervals."])


def check_out(out: Path | None) -> None:
    """OutputError before a long run, where ``out`` cannot be written."""
    if out is not None:
        from hostsim.results.store import prepare_folder

        prepare_folder(out)


def known_figures(limit: str | None, bandwidth: str | None, link: str | None) -> dict[str, Any]:
    """Fields of Evidence that the options give, in ms and bytes a second; an option that is None gives no field.

    limit: text of --downtime-limit. bandwidth, link: texts of --bandwidth and --link. InputError names all that are wrong.
    """
    from hostsim.cli.explain_cmd import _known

    return _known(limit, bandwidth, link)


def _write(fitted: GuestFit, write: Path | None) -> list[Path]:
    from hostsim.fitting.guest_text import guest_text
    from hostsim.results.aside import write_files

    return [] if write is None else write_files(write.parent, {write.name: guest_text(fitted).encode()})
