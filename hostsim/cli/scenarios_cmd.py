"""``hostsim scenarios``: what there is to run, each with its question."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.errors import InputError, Problem
from hostsim.report.console import say_raw, show

if TYPE_CHECKING:
    from hostsim.report.columns import Grid
    from hostsim.scenario.catalogue import Entry


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("scenarios")(scenarios)


def scenarios(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON and nothing else.")] = False,
) -> None:
    """List the scenarios of the folder `scenarios`, each with the question it asks."""
    from hostsim.scenario.catalogue import catalogue, scenario_folder

    folder = scenario_folder()
    if folder is None:
        wanted = "a folder 'scenarios' here or in the checkout of hostsim"
        raise InputError([Problem("scenarios", "folder", "no such folder", wanted, "cd hostsim && hostsim scenarios")])
    entries = catalogue(folder)
    if as_json:
        say_raw(json.dumps([asdict(entry) for entry in entries], indent=2) + "\n")
    else:
        show(scenarios_table(entries))


def scenarios_table(entries: list[Entry]) -> Grid:
    """A line a scenario: its question, or why it cannot be read."""
    from hostsim.report.columns import Column, Role, grid_of

    file = Column("path", "file", role=Role.KEY, of=lambda entry: entry.path)
    question = Column("question", "question", prose=True, of=lambda entry: entry.problem or entry.question)
    return grid_of([file, question], entries)
