"""Running the plan of a comparison from the command line: read finished runs, run the rest, write, print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostsim.cli.forms import say_data
from hostsim.cli.run_options import RunOptions
from hostsim.cli.run_scenario import folder_name
from hostsim.cli.warm_up_cmd import prepare
from hostsim.report import console, files
from hostsim.report.compare_report import (
    as_content,
    caption,
    combinations_table,
    compare_tables,
    provenance,
    write_comparison,
)
from hostsim.report.html.page import Content
from hostsim.report.progress import compare_progress
from hostsim.results.store import prepare_folder
from hostsim.results.tables import plain
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.grown import first_plan, grown, grown_words
from hostsim.study.compare.plan import Plan, Run
from hostsim.study.compare.plan_file import write_plan
from hostsim.study.compare.record import FOLDER
from hostsim.study.compare.runner import Outcome, failed_error, finished_runs, run_plan, runs_to_do
from hostsim.study.compare.summary import Summary, summarise
from hostsim.study.compare.together import check_where, choose_workers
from hostsim.study.statistics import require_intervals


@dataclass(frozen=True)
class Options(RunOptions):
    """Options of ``hostsim compare`` and ``sweep``.

    until_ci: seeds are added until half of each interval of the total time is at most this share of the mean.
    """

    until_ci: float | None = None


def run_and_tell(plan: Plan, options: Options) -> None:
    """Run the runs of ``plan`` that are not finished, write the files that ``options`` ask for, print the verdict.

    InputError, OutputError; RunsFailedError after the files are written.
    """
    out = (options.out or Path("out") / f"{folder_name(plan.name)}-compare") if options.write_files else None
    options.reports.check()
    if out is not None:
        prepare_folder(out)
    plan, outcome = run_all_seeds(plan, options, out, is_watched=True)
    summary = summarise(plan, outcome.figures)
    notes = [] if options.until_ci is None else [grown_words(summary, options.until_ci)]
    content = as_content(plan, outcome, summary, notes)
    paths = write_comparison(out, plan, outcome, summary, content) if out is not None else []
    paths += options.reports.write(lambda: Content("compare", content, origin=plain(provenance(plan, outcome))))
    _print_result(options, summary, content, paths)
    failed = failed_error(plan, outcome)
    if failed is not None:
        raise failed


def run_all_seeds(
    plan: Plan, options: Options, out: Path | None, *, is_watched: bool = False
) -> tuple[Plan, Outcome]:  # fmt: skip
    """The plan with all its seeds, and its outcome. is_watched: the folder has the plan, for ``hostsim watch``."""
    if options.until_ci is not None:
        require_intervals()
        plan = first_plan(plan)
    known: dict[str, Figures] = {}
    more: Plan | None = plan
    while more is not None:
        if out is not None and is_watched:
            write_plan(out, more)
        plan, outcome = more, run_what_is_left(more, options, out, known)
        known |= {key: figures for key, figures in outcome.figures.items() if figures is not None}
        more = grown(plan, outcome, options.until_ci)
    return plan, outcome


def run_what_is_left(
    plan: Plan, options: Options, out: Path | None, known: Mapping[str, Figures] | None = None
) -> Outcome:  # fmt: skip
    """Run the runs that are not finished in ``out``. InputError if memory is too small for the workers asked for.

    known: figures of runs that this command has run before.
    """
    check_where(options.workers, options.cluster)
    finished = ({} if options.force else finished_runs(plan, out)) | dict(known or {})
    to_do = runs_to_do(plan, finished)
    workers = 0 if options.cluster else choose_workers(to_do, options.workers)
    if finished and not known:
        console.note(f"{len(finished)} of {len(to_do) + len(finished)} runs are finished in {out}; --force runs them again")
    if not options.cluster:
        _compile(to_do, quiet=options.silent)
    try:
        with compare_progress(quiet=options.silent) as show:
            return run_plan(to_do, finished, workers, out, show, plan.request.measure, options.cluster)
    except KeyboardInterrupt:
        if out is not None:
            kept = len(to_do) + len(finished) - len(runs_to_do(plan, finished_runs(plan, out)))
            console.note(f"{kept} runs are finished in {out / FOLDER}: the same command goes on from there")
        raise


def _compile(runs: Sequence[Run], *, quiet: bool) -> None:
    from hostsim.simulation import kinds_of

    prepare([kind for run in runs for kind in kinds_of(run.scenario)], quiet=quiet)


def _print_result(options: Options, summary: Summary, content: dict[str, Any], paths: Sequence[Path]) -> None:
    if say_data(options.form, content, lambda: combinations_table(summary)):
        return
    console.say_verdict([*content["verdict"], ""], markdown=options.form == "markdown")
    for table in compare_tables(summary):
        console.show(table, markdown=options.form == "markdown", wide=options.wide)
    console.say_wrapped([caption(summary)])
    console.say([""])
    if paths:
        folder = [f"  {paths[0].parent / FOLDER}/<key>.json, one a run"] if options.write_files else []
        console.say(["Files:", *(f"  {path}" for path in paths), *folder])
        if left_out := files.missing_files():
            console.note(left_out)
