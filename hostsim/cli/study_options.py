"""Commands of studies: options from the fields of an object, options that all studies share, and printing of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from hostsim.cli.forms import DATA, FormOption, form_of, say_data
from hostsim.cli.options import HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag
from hostsim.cli.report_files import NO_REPORT, ReportFiles

if TYPE_CHECKING:
    from hostsim.results.tables import Table
    from hostsim.study.compare.plan import Plan, Run
    from hostsim.study.sizing import Size

WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "--jobs",
        metavar="N",
        min=1,
        help="Worker processes; no result depends on N.",
        show_default="one a core",
    ),
]
ClusterOption = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Run on the workers of this Dask scheduler; results stay equal.", show_default=False
    ),
]
SheetOption = Annotated[str, typer.Option("--sheet", help="Cost sheet: a file, or the name of a sheet of hostsim.")]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")]
NoFilesOption = Annotated[bool, typer.Option("--no-files", help="Write no files.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Run every run again, also those that the folder holds already.")]
ShowOption = Annotated[bool, typer.Option("--show-scenario", help="Print the scenario of each row, and run nothing.")]


@dataclass(frozen=True)
class Printing:
    """Options that all studies share: how a study runs and prints.

    out: folder of the files; no_files: none.
    cluster: address of a Dask scheduler; "": processes of this machine.
    """

    out: Path
    workers: int | None = None
    style: str = "text"
    as_json: bool = False
    no_files: bool = False
    wide: bool = False
    quiet: bool = False
    force: bool = False
    show_scenario: bool = False
    cluster: str = ""
    reports: ReportFiles = NO_REPORT

    @property
    def form(self) -> str:
        """text, markdown, json, csv or parquet. InputError, MissingExtraError."""
        return form_of(self.style, as_json=self.as_json)

    @property
    def silent(self) -> bool:
        """Whether the command prints nothing on standard error."""
        return self.quiet or self.form in DATA

    @property
    def folder(self) -> Path | None:
        """The folder of the files; None if no files are written."""
        return None if self.no_files else self.out


def add_study(
    app: typer.Typer, name: str, options: type, run: Callable[[Any, Printing], None], text: str, short: str
) -> None:  # fmt: skip
    """Add the command ``name``.

    options: a dataclass of hostsim.study.asking.
    run: called with an instance and a ``Printing``.
    """
    asked = [_parameter(options, one) for one in fields(options)]
    common = [
        keyword("workers", WorkersOption, None), keyword("cluster", ClusterOption, ""),
        keyword("style", FormOption, "text"),
        keyword("as_json", JsonFlag, default=False), keyword("out", OutOption, Path("out") / name),
        keyword("no_files", NoFilesOption, default=False), keyword("wide", WideFlag, default=False),
        keyword("quiet", QuietFlag, default=False), keyword("force", ForceOption, default=False),
        keyword("show_scenario", ShowOption, default=False), keyword("html", HtmlOption, None),
        keyword("plot", PlotOption, None),
    ]  # fmt: skip

    def command(**given: Any) -> None:
        chosen = options(**{one.name: given.pop(one.name) for one in asked})
        reports = ReportFiles(given.pop("html"), given.pop("plot"))
        reports.check()
        run(chosen, Printing(**given, reports=reports))

    # typer reads the parameters of a function: these stand in the fields of ``options``.
    parameters = [*asked, *common]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    app.command(name, help=text, short_help=short)(command)


def _parameter(options: type, one: Any) -> Parameter:
    """The option of a field."""
    more = dict(one.metadata)
    flag, text, is_argument = more.pop("flag", None), more.pop("text"), more.pop("argument", False)
    option = typer.Argument(help=text, **more) if is_argument else typer.Option(*([flag] if flag else []), help=text, **more)
    return keyword(one.name, Annotated[get_type_hints(options)[one.name], option], one.default)


def keyword(name: str, annotation: Any, default: Any) -> Parameter:
    """The parameter ``name`` that typer reads as an option or an argument.

    annotation: its type with typer's Option or Argument, as in ``Annotated``. default: used where the user gives no value.
    """
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def say_scenarios(tables: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Each scenario as a file has it, under a comment with the setting of its row."""
    from hostsim.report import console
    from hostsim.scenario.toml_text import scenario_text

    console.say_raw("\n".join(f"# {label}\n{scenario_text(table)}" for label, table in tables))


def run_rows(plan: Plan, size: Callable[[Sequence[Run], int | None], Size], printing: Printing) -> Mapping[str, Any]:
    """Run the runs of ``plan`` that are not finished in the folder; returns the figures of all by their keys.

    size: of runs, by the number of workers. RunsFailedError if a run gives no result: the others are kept.
    """
    from hostsim.cli.run_plan import Options, run_what_is_left
    from hostsim.report.progress import say_size
    from hostsim.results.store import prepare_folder
    from hostsim.study.compare.runner import failed_error

    out = printing.folder
    if out is not None:
        prepare_folder(out)
    say_size(size(plan.runs, printing.workers), quiet=printing.silent)
    asked = Options(printing.workers, force=printing.force, quiet=printing.silent, cluster=printing.cluster)
    outcome = run_what_is_left(plan, asked, out)
    if (failed := failed_error(plan, outcome)) is not None:
        raise failed
    return outcome.figures


def show_study(
    style: str, content: dict[str, Any], tables: Sequence[Any], caption: str, data: Table, paths: Sequence[Path], *,
    wide: bool = False,
) -> None:  # fmt: skip
    """Print ``data`` and nothing else as CSV or Parquet, or ``content`` as JSON; else verdict, tables, caption, files.

    style: of ``form_of``. content: of the study's JSON, with the lines of its "verdict". tables: grids.
    caption: below the tables; may have several lines. paths: of the files that were written. wide: print all columns.
    """
    from hostsim.report import console, files

    if say_data(style, content, lambda: data):
        return
    console.say_verdict([*content["verdict"], ""], markdown=style == "markdown")
    for table in tables:
        console.show(table, markdown=style == "markdown", wide=wide)
    console.say_wrapped(caption.split("\n"))
    if paths:
        console.say(["", "Files:", *(f"  {path}" for path in paths)])
        if left_out := files.missing_files():
            console.note(left_out)
