"""Running a search for a change from the command line: runs with a bar, files, text."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from hostsim.cli.forms import say_data
from hostsim.cli.predict_run import Options, bench_for, folder_of
from hostsim.report import console, files
from hostsim.report.solve_report import (
    changes_table,
    command_lines,
    commands_of,
    frontier_caption,
    frontier_grid,
    provenance,
    runs_grid,
    solution_lines,
    write_solution,
)
from hostsim.scenario.toml_text import scenario_text
from hostsim.study.option_text import listed
from hostsim.study.predict.given import Given
from hostsim.study.predict.predict import require_migration
from hostsim.study.solve.solution import Solution
from hostsim.study.solve.solve import checked_kinds, solve_whole
from hostsim.study.solve.target import read_target


def solve_and_tell(given: Given, target: str, vary: str, options: Options) -> None:
    """Search for changes that let the migration of ``given`` reach ``target``, confirm them by runs, write files, print.

    target: text of --target. vary: kinds of changes, separated by commas. options: of predict and solve.
    InputError, OutputError, MissingExtraError, RunsFailedError.
    """
    wanted, kinds = read_target(target), checked_kinds(listed(vary))
    scenario = given.scenario()
    require_migration(scenario)
    options.reports.check()
    out = folder_of(scenario, options, "solve")
    with ExitStack() as stack:
        bench = bench_for(scenario, given, options, out, stack)
        found = solve_whole(scenario, wanted, kinds, options.reps, bench)
    saved = "SCENARIO.toml" if out is None else str(out / "scenario.toml")
    assumptions = (*given.assumptions(), *found.assumptions)
    found = replace(found, assumptions=assumptions, command=given.command(saved))
    content = {"verdict": solution_lines(found), "commands": commands_of(found)} | found.to_dict()
    scenario_toml = scenario_text(given.table()) if given.file is None else ""
    paths = [] if out is None else write_solution(out, found, content, scenario_toml)
    paths += options.reports.of_folder("solve", content, provenance(found))
    _print_result(options, found, content, paths)


def _print_result(options: Options, found: Solution, content: dict[str, Any], paths: list[Path]) -> None:
    if say_data(options.form, content, lambda: changes_table(found)):
        return
    console.say_verdict(content["verdict"], markdown=options.form == "markdown")
    console.say([""])
    if found.frontier:
        for grid in (frontier_grid(found), runs_grid(found)):
            console.show(grid, markdown=options.form == "markdown", wide=options.wide)
        console.say_wrapped([frontier_caption(found)])
        console.say([""])
    console.say(command_lines(content["commands"]))
    if paths:
        console.say(["Files:", *(f"  {path}" for path in paths)])
        if left_out := files.missing_files():
            console.note(left_out)
