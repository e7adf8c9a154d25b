"""The scenarios at hand: in the current folder, else in the checkout, else in the installed package."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from pathlib import Path

from hostsim.core.errors import InputError, OutputError, Problem
from hostsim.core.user_files import SCRIPT, read_bytes
from hostsim.scenario.load import load_scenario

FOLDER = "scenarios"
SUFFIXES = (".toml", ".py", ".csv")
"""Scenarios, scripts, and the traces that scenarios name."""
PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Entry:
    """A scenario or script.

    name: of the scenario, else the stem of the file; path: as ``hostsim run`` takes it; question: the one it asks.
    problem: why the file cannot be loaded, "" if it can.
    """

    name: str
    path: str
    question: str
    problem: str = ""


def own_folder() -> Path | None:
    """The folder of hostsim's own scenarios: in its checkout, else in the installed wheel; None if neither has it."""
    places = (PACKAGE.parent / FOLDER, PACKAGE / "data" / FOLDER)
    return next((place for place in places if place.is_dir()), None)


def scenario_folder() -> Path | None:
    """The folder ``scenarios`` of the current folder, else hostsim's own; None if there is neither."""
    here = Path(FOLDER)
    return here if here.is_dir() else own_folder()


def catalogue(folder: Path) -> list[Entry]:
    """Every scenario and script in ``folder``, by name; for hostsim's own files ``path`` is the name that ``run`` takes."""
    files = sorted(path for path in folder.iterdir() if path.suffix in {".toml", ".py"} and path.is_file())
    found = [_script(path) if path.suffix == ".py" else _scenario(path) for path in files]
    return found if folder != own_folder() else [replace(one, path=Path(one.path).name) for one in found]


def found_file(path: Path) -> Path:
    """``path``, or the scenario of hostsim itself with that name. InputError where neither is there.

    A name is ``precopy_convergence``, with or without its suffix.
    """
    folder = own_folder()
    if folder is None or path.exists() or path.is_symlink() or path.suffix not in {"", ".toml", ".py"}:
        return path
    if len(path.parts) == 1:
        named = [folder / path, folder / f"{path}.toml", folder / f"{path}.py"]
        return next((one for one in named if one.is_file()), path)
    if path.parent.name == FOLDER and (folder / path.name).is_file():
        wanted = f"a file that is there; hostsim has one of that name: hostsim run {path.name}"
        example = f"hostsim scenarios --copy {path.parent}"
        raise InputError([Problem(str(path), "file", "No such file or directory", wanted, example)])
    return path


def copy_scenarios(folder: Path) -> list[Path]:
    """Copy the scenarios of hostsim itself into ``folder``. OutputError rather than change a file that is there."""
    own = own_folder()
    if own is None:
        raise InputError([Problem("--copy", "", str(folder), "an installation that has its scenarios")])
    contents = {path.name: path.read_bytes() for path in sorted(own.iterdir()) if path.suffix in SUFFIXES}
    try:
        for name, content in contents.items():
            there = folder / name
            if there.exists() and there.read_bytes() != content:
                raise OutputError(f"{there}: cannot write: there is another file of that name")
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write: {error.strerror or 'no reason given'}") from error
    return [folder / name for name in contents]


def _scenario(path: Path) -> Entry:
    try:
        scenario = load_scenario(path)
    except InputError as error:
        return Entry(path.stem, str(path), "", str(error.problems[0]))
    return Entry(str(scenario.name), str(path), scenario.question)


def _script(path: Path) -> Entry:
    try:
        docstring = ast.get_docstring(ast.parse(read_bytes(path, SCRIPT)))
    except InputError as error:
        return Entry(path.stem, str(path), "", str(error.problems[0]))
    except (SyntaxError, ValueError, RecursionError):
        return Entry(path.stem, str(path), "", f"{path}: file: got no Python, wanted {SCRIPT.wanted}")
    return Entry(path.stem, str(path), (docstring or "").split("\n\n", 1)[0].replace("\n", " "))
