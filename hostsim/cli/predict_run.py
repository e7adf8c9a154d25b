"""Running a prediction from the command line: scenario, runs with a bar, files, text."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hostsim.cli.forms import say_data
from hostsim.cli.run_options import RunOptions
from hostsim.cli.run_scenario import folder_name
from hostsim.cli.warm_up_cmd import prepare
from hostsim.report import console, files
from hostsim.report.predict_report import estimates_table, figures_grid, prediction_lines, provenance, write_prediction
from hostsim.report.progress import compare_progress
from hostsim.results.aside import write_files
from hostsim.results.store import prepare_folder
from hostsim.scenario.schema import Scenario
from hostsim.scenario.toml_text import scenario_text
from hostsim.study.compare.together import check_where
from hostsim.study.option_text import read_share
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.given import Given
from hostsim.study.predict.predict import predict_whole, require_migration
from hostsim.study.predict.prediction import Prediction
from hostsim.study.predict.replications import Wanted


@dataclass(frozen=True)
class Options(RunOptions):
    """Options of ``hostsim predict`` and ``solve``; reps None: as many runs as their work allows."""

    reps: int | None = None
    until_ci: str = ""
    margins: bool = True


def save(given: Given, path: Path) -> None:
    """Write the scenario of ``given`` to the file ``path``; print the command that predicts it. InputError, OutputError."""
    text = scenario_text(given.table())
    write_files(path.parent, {path.name: text.encode()})
    console.say([f"wrote {path}: hostsim predict {path}"])


def predict_and_tell(given: Given, options: Options) -> None:
    """Predict the migration of ``given``, write the files that ``options`` ask for, print the verdict.

    InputError, OutputError, MissingExtraError, RunsFailedError.
    """
    scenario = given.scenario()
    require_migration(scenario)
    wanted = Wanted(options.reps, read_share(options.until_ci))
    options.reports.check()
    out = folder_of(scenario, options)
    with ExitStack() as stack:
        bench = bench_for(scenario, given, options, out, stack)
        found = predict_whole(scenario, wanted, bench, margins=options.margins)
    found = replace(found, assumptions=(*given.assumptions(), *found.assumptions))
    content = {"verdict": prediction_lines(found)} | found.to_dict()
    paths = [] if out is None else write_prediction(out, found, content)
    paths += options.reports.of_folder("predict", content, provenance(found))
    _print_result(options, found, content, paths)


def folder_of(scenario: Scenario, options: Options, study: str = "predict") -> Path | None:
    """The folder of the files, made if it is missing; None if ``options`` ask for no files. OutputError.

    scenario, study: name the folder out/<scenario>-<study> where ``options`` name none.
    """
    if not options.write_files:
        return None
    out = options.out or Path("out") / f"{folder_name(scenario.name or 'vm')}-{study}"
    prepare_folder(out)
    return out


def bench_for(scenario: Scenario, given: Given, options: Options, out: Path | None, stack: ExitStack) -> Bench:
    """A bench for runs of ``scenario``, with a bar on standard error; loops are compiled first, unless a cluster runs them.

    given: its file is named in commands that replay a run.
    options: workers, cluster, force, quiet. InputError or MissingExtraError if runs cannot go to the cluster.
    out: folder of finished runs, None: no files. stack: closes the bar.
    """
    from hostsim.simulation import kinds_of

    check_where(options.workers, options.cluster)
    silent = options.silent
    if not options.cluster:
        prepare(kinds_of(scenario), quiet=silent)
    show = stack.enter_context(compare_progress(quiet=silent))
    return Bench(options.workers, out, show, options.force, given.said, cluster=options.cluster)


def _print_result(options: Options, found: Prediction, content: dict[str, Any], paths: list[Path]) -> None:
    if say_data(options.form, content, lambda: estimates_table(found)):
        return
    console.say_verdict(content["verdict"], markdown=options.form == "markdown")
    console.say([""])
    console.show(figures_grid(found.estimates), markdown=options.form == "markdown", wide=options.wide)
    if paths:
        console.say(["Files:", *(f"  {path}" for path in paths)])
        if left_out := files.missing_files():
            console.note(left_out)
