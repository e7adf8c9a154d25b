"""The scenarios at hand: those of the current folder, or of the checkout."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from hostsim.errors import InputError
from hostsim.scenario.load import load_scenario

FOLDER = "scenarios"


@dataclass(frozen=True)
class Entry:
    """A scenario or script: its name, where it is, what it asks, and what is wrong with it, if anything."""

    name: str
    path: str
    question: str
    problem: str = ""


def scenario_folder() -> Path | None:
    """The folder ``scenarios`` here, else that of the checkout hostsim runs from; None if there is neither."""
    places = (Path(FOLDER), Path(__file__).resolve().parents[2] / FOLDER)
    return next((place for place in places if place.is_dir()), None)


def catalogue(folder: Path) -> list[Entry]:
    """Every scenario and script in ``folder``, by name."""
    files = sorted(path for path in folder.iterdir() if path.suffix in {".toml", ".py"} and path.is_file())
    return [_script(path) if path.suffix == ".py" else _scenario(path) for path in files]


def _scenario(path: Path) -> Entry:
    try:
        scenario = load_scenario(path)
    except InputError as error:
        return Entry(path.stem, str(path), "", str(error.problems[0]))
    return Entry(str(scenario.name), str(path), scenario.question)


def _script(path: Path) -> Entry:
    try:
        docstring = ast.get_docstring(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError) as error:
        return Entry(path.stem, str(path), "", f"{path}: {error}")
    return Entry(path.stem, str(path), (docstring or "").split("\n\n", 1)[0].replace("\n", " "))
