"""``hostsim scenarios``: a list of scenarios and scripts, each with its question."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.core.errors import InputError, Problem
from hostsim.report.console import say, say_raw, show

if TYPE_CHECKING:
    from hostsim.report.columns import Grid
    from hostsim.scenario.catalogue import Entry


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("scenarios", short_help="List the scenarios that come with hostsim, or copy them.")(scenarios)


def scenarios(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON and nothing else.")] = False,
    copy: Annotated[
        Path | None, typer.Option("--copy", metavar="DIR", help="Copy the scenarios of hostsim into DIR.")
    ] = None,
) -> None:
    """List the scenarios of the folder `scenarios`, or those that hostsim has itself, each with the question it asks.

    `hostsim run NAME` runs one of hostsim's own by its name.
    """
    from hostsim.scenario.catalogue import catalogue, copy_scenarios, scenario_folder

    if copy is not None:
        paths = copy_scenarios(copy)
        say_raw(json.dumps([str(path) for path in paths], indent=2) + "\n") if as_json else say(_copied(paths, copy))
        return
    folder = scenario_folder()
    if folder is None:
        raise InputError([Problem("scenarios", "folder", "no such folder", "a folder of scenarios here", "mkdir scenarios")])
    entries = catalogue(folder)
    if as_json:
        say_raw(json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
    else:
        show(scenarios_table(entries))


def _copied(paths: list[Path], folder: Path) -> list[str]:
    first = next((path for path in paths if path.stem == "precopy_convergence"), folder)
    return [f"copied {len(paths)} files to {folder}; try: hostsim run {first}"]


def scenarios_table(entries: list[Entry]) -> Grid:
    """A line a scenario: its question, or why it cannot be read."""
    from hostsim.report.columns import Column, Role, grid_of

    file = Column("path", "file", role=Role.KEY, of=lambda entry: entry.path)
    question = Column("question", "question", prose=True, of=lambda entry: entry.problem or entry.question)
    return grid_of([file, question], entries)
