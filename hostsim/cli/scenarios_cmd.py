"""``hostsim scenarios``: what there is to run, each with its question."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.errors import InputError, Problem
from hostsim.report.console import say_raw, show

if TYPE_CHECKING:
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
        _show(entries)


def _show(entries: list[Entry]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("file", no_wrap=True, overflow="ignore", min_width=max((len(e.path) for e in entries), default=1))
    table.add_column("question")
    for entry in entries:
        table.add_row(Text(entry.path), Text(entry.problem or entry.question, style="red" if entry.problem else ""))
    show(table)
