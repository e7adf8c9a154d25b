"""``hostsim sweep``: a study file, run as ``hostsim compare`` runs its options, or a sweep that has a name."""

from __future__ import annotations

from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hostsim.cli.compare_cmd import ForceOption, MaxOption, NoFilesOption, SeedOption, SeedsOption, SetOption
from hostsim.cli.forms import FormOption, form_of
from hostsim.cli.options import CiOption, HtmlOption, JsonFlag, PlotOption, QuietFlag, WideFlag
from hostsim.cli.report_files import ReportFiles
from hostsim.cli.study_options import ClusterOption, WorkersOption, keyword
from hostsim.core.errors import InputError, Problem
from hostsim.study.sweeps import SWEEPS

if TYPE_CHECKING:
    from hostsim.cli.run_plan import Options
    from hostsim.study.compare.plan import Request

HELP = """Run a study: a file that names a scenario, the keys that vary, and how many seeds.

Prints and writes the same results as `compare`. Runs that the folder holds already are not run again.

`hostsim sweep auto-converge --vm FILE` tunes auto-converge for a guest: it draws a heat map of total time and lost work."""

StudyArgument = Annotated[
    Path, typer.Argument(help="A study (.toml), or the sweep named auto-converge.", show_default=False)
]
VmOption = Annotated[
    Path | None, typer.Option("--vm", metavar="FILE", help="With auto-converge: the scenario.", show_default=False)
]
OutOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the files.", show_default="out/<study>")]


def register(app: typer.Typer) -> None:
    """Add the command ``sweep``, with the options of all sweeps that have a name."""
    common = [
        keyword("vm", VmOption, None), keyword("overrides", SetOption, None), keyword("seed", SeedOption, None),
        keyword("seeds", SeedsOption, None), keyword("workers", WorkersOption, None),
        keyword("cluster", ClusterOption, ""),
        keyword("as_json", JsonFlag, default=False), keyword("style", FormOption, "text"),
        keyword("out", OutOption, None), keyword("no_files", NoFilesOption, default=False),
        keyword("force", ForceOption, default=False), keyword("max_runs", MaxOption, 1000),
        keyword("html", HtmlOption, None), keyword("plot", PlotOption, None), keyword("until_ci", CiOption, ""),
        keyword("wide", WideFlag, default=False), keyword("quiet", QuietFlag, default=False),
    ]  # fmt: skip
    study = Parameter("study", Parameter.KEYWORD_ONLY, annotation=StudyArgument)

    def command(**given: Any) -> None:
        sweep_command(**given)

    # typer reads the parameters of a function: these stand in the registry of sweeps.
    parameters = [study, *_varied(), *common]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    app.command("sweep", help=HELP, short_help="Run a study: keys that vary, seeds; or tune auto-converge.")(command)


def sweep_command(study: Path, vm: Path | None, workers: int | None, **given: Any) -> None:
    """Run the study file ``study``, or the sweep of that name, on the scenario ``vm``.

    vm: only with a sweep that has a name. workers: None: as many as there are cores.
    given: the other options of ``register``, by parameter. InputError, OutputError, RunsFailedError.
    """
    from hostsim.cli.run_plan import Options
    from hostsim.study.option_text import read_share

    options = Options(
        workers, form_of(given.pop("style"), as_json=given.pop("as_json")), given.pop("out"), not given.pop("no_files"),
        given.pop("force"),
        given.pop("quiet"), given.pop("wide"), given.pop("cluster"),
        ReportFiles(given.pop("html"), given.pop("plot")), read_share(given.pop("until_ci")),
    )  # fmt: skip
    if str(study) in SWEEPS:
        _run_named(str(study), vm, options, **given)
    else:
        _run_file(study, vm, options, **given)


def _run_file(study: Path, vm: Path | None, options: Options, **given: Any) -> None:
    from dataclasses import replace

    from hostsim.cli.run_plan import run_and_tell
    from hostsim.cli.run_scenario import folder_name
    from hostsim.study.compare.plan import make_plan
    from hostsim.study.compare.study_file import load_study

    asked = {"--vm": vm, **{f"--{name}": given[name] for name in _names()}, "--set": given["overrides"],
             "--seed": given["seed"], "--seeds": given["seeds"]}  # fmt: skip
    if unused := [name for name, value in asked.items() if value]:
        wanted = f"only with a sweep that has a name ({', '.join(SWEEPS)}); a study file has its own"
        raise InputError([Problem(str(study), "", ", ".join(unused), wanted, "hostsim sweep auto-converge --vm vm.toml")])
    plan = make_plan(load_study(study, given["max_runs"]))
    run_and_tell(plan, replace(options, out=options.out or Path("out") / folder_name(study.stem)))


def _run_named(name: str, vm: Path | None, options: Options, **given: Any) -> None:
    from hostsim.cli.run_plan import run_all_seeds
    from hostsim.cli.study_options import show_study
    from hostsim.report.compare_report import combinations_table
    from hostsim.report.sweep_reports import caption, content_of, sweep_table, write_sweep
    from hostsim.results.store import prepare_folder
    from hostsim.study.compare.runner import failed_error
    from hostsim.study.compare.summary import summarise
    from hostsim.study.throttle_sweep import sweep_plan

    options.reports.check()
    sweep = SWEEPS[name]
    values = {option: given[option] or varied.values for option, varied in sweep.varies.items()}
    plan = sweep_plan(sweep, _request(name, vm, given), values)
    out = (options.out or Path("out") / name) if options.write_files else None
    if out is not None:
        prepare_folder(out)
    plan, outcome = run_all_seeds(plan, options, out)
    summary = summarise(plan, outcome.figures)
    content = content_of(plan, outcome, summary)
    paths = [] if out is None else write_sweep(out, content, plan, outcome, summary)
    paths += options.reports.of_study(name, content, {})
    table, data = sweep_table(summary), combinations_table(summary)
    show_study(options.form, content, [table], caption(plan), data, paths, wide=options.wide)
    if (failed := failed_error(plan, outcome)) is not None:
        raise failed


def _request(name: str, vm: Path | None, given: dict[str, Any]) -> Request:
    from hostsim.scenario.catalogue import found_file
    from hostsim.study.compare.plan import Request

    if vm is None:
        raise InputError([Problem("--vm", "", "nothing", "the scenario of the guest", f"hostsim sweep {name} --vm vm.toml")])
    overrides = tuple(given["overrides"] or ())
    seeds = given["seeds"]
    return Request(
        found_file(vm), (), overrides, given["seed"], seeds or 1, given["max_runs"], name, by_work=seeds is None,
    )  # fmt: skip


def _names() -> list[str]:
    return [name for sweep in SWEEPS.values() for name in sweep.varies]


def _varied() -> list[Parameter]:
    """The options of all sweeps, each once."""
    found = {}
    for sweep_name, sweep in SWEEPS.items():
        for name, varied in sweep.varies.items():
            text = f"{sweep_name}: {varied.text}"
            option = typer.Option(f"--{name}", metavar="N,...", help=text, show_default=varied.values)
            found[name] = keyword(name, Annotated[str | None, option], None)
    return list(found.values())
