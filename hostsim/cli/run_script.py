"""Running a Python script as ``python FILE ARGUMENTS`` would, with errors and Ctrl-C as for a scenario."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hostsim.core.ending import note_guest
from hostsim.core.errors import InputError, Problem
from hostsim.core.user_files import SCRIPT, read_bytes


def run_script(file: Path, arguments: Sequence[str], options: Sequence[str]) -> None:
    """Run ``file`` as __main__. InputError if it cannot be read or if ``options`` of scenarios were given."""
    problems = [*_unreadable(file), *(_misplaced(option) for option in options)]
    if problems:
        raise InputError(problems)
    note_guest(str(file))
    with _as_main(file, arguments):
        runpy.run_path(str(file), run_name="__main__")


def refuse_arguments(arguments: Sequence[str]) -> None:
    """InputError if ``arguments``, which only a script takes, follow a scenario."""
    wanted = "no further arguments after a scenario file"
    if arguments:
        raise InputError([Problem("command line", "arguments", a, wanted, "--set KEY=VALUE") for a in arguments])


def _unreadable(file: Path) -> list[Problem]:
    try:
        read_bytes(file, SCRIPT)
    except InputError as error:
        return error.problems
    return []


def _misplaced(option: str) -> Problem:
    wanted = "a scenario file (.toml): a script has options of its own, if any, behind --"
    return Problem("command line", option, "a script", wanted, f"hostsim run FILE.py -- {option}")


@contextmanager
def _as_main(file: Path, arguments: Sequence[str]) -> Iterator[None]:
    argv, path = sys.argv, list(sys.path)
    sys.argv = [str(file), *arguments]
    sys.path.insert(0, str(file.resolve().parent))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
