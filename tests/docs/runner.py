"""Runs the blocks of one page in order, in a folder of its own with the scenarios beside it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from tests.docs.blocks import ROOT, Block, Command, commands, shows
from tests.helpers.command import HOSTSIM, PAGE_COLUMNS, PATIENCE_S, merged
from tests.helpers.remembered import remembered
from tests.helpers.shared import once

PLAIN = {"NO_COLOR": "1", "COLUMNS": PAGE_COLUMNS, "TERM": "dumb", "MPLBACKEND": "Agg"}
INSTALLED = ("hostsim run scenarios/precopy_convergence.toml --out first", "hostsim scenarios")
"""Commands that run through the installed script; the others call its entry point in this process."""

WITH_ROWS = {"hostsim validate --suite qemu": "rows of qemu", "hostsim validate --suite kvm --quiet": "rows of kvm"}
"""Commands that show rows of a whole suite, which tests of the suite compute, too."""


class PageRunner:
    """State that the blocks of a page share: the folder, and the names of its Python blocks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        shutil.copytree(ROOT / "scenarios", folder / "scenarios", dirs_exist_ok=True)

    def run(self, block: Block) -> None:
        """Run ``block``, or fail saying where it stands."""
        if block.saved_as:
            (self.folder / block.saved_as).write_text(block.text)
        if block.saved_as == "pyproject.toml":
            install(self.folder, block.text)
        if block.not_run:
            return
        runners = {"console": self._console, "python": self._python, "toml": self._toml}
        if block.language in runners:
            with plugged(self.folder):
                runners[block.language](block)

    def _console(self, block: Block) -> None:
        found = commands(block)
        assert found, f"{block.place}: no line opens with '$ '"
        for command in found:
            self._command(block, command)

    def _command(self, block: Block, command: Command) -> None:
        program, *arguments = shlex.split(command.line)
        if program == "make":
            check_make_targets(block, arguments)
            return
        assert program == "hostsim", f"{block.place}: only hostsim and make run here: {command.line}"
        run = as_process if command.line in INSTALLED else merged
        rows = computed_once(command.line) if command.line in WITH_ROWS else nullcontext()
        runs = nullcontext() if "--trace" in arguments else remembered()
        with rows, runs:
            code, printed = run(arguments, self.folder, os.environ | PLAIN)
        what = f"{block.place}: $ {command.line}\n"
        assert code == block.exits, f"{what}exit {code}\n{printed}"
        assert not command.shown or shows(command.shown, printed), f"{what}printed\n{printed}"

    def _python(self, block: Block) -> None:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            exec(compile(block.text, block.place, "exec"), self.names)  # noqa: S102  what the page shows is run
        finally:
            os.chdir(before)

    def _toml(self, block: Block) -> None:
        from hostsim.scenario import load_scenario

        if "[vm]" not in block.text:
            return
        path = self.folder / "scenarios" / f"block-{block.line}.toml"
        path.write_text(block.text)
        scenario = load_scenario(path)
        assert scenario.vm.memory > 0, block.place


def install(folder: Path, text: str) -> None:
    """Write into ``folder`` the metadata of a pyproject.toml that ``pip install .`` leaves for importlib.metadata."""
    project = tomllib.loads(text)["project"]
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, points in groups for line in (f"[{group}]", *(f"{name} = {at}" for name, at in points.items()))]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


@contextmanager
def plugged(folder: Path) -> Iterator[None]:
    """Distributions of ``folder`` are found, if it has any."""
    path = [str(folder), *sys.path] if any(folder.glob("*.dist-info")) else list(sys.path)
    with mock.patch.object(sys, "path", path):
        yield


@contextmanager
def computed_once(line: str) -> Iterator[None]:
    """The rows that ``line`` asks for are those of the tests of the suite."""
    from hostsim import validation

    run_suites = validation.run_suites

    def shared(names: Sequence[str], **options: Any) -> list[Any]:
        assert (list(names), options["cases"]) == (line.split()[3:4], None)
        return once(WITH_ROWS[line], lambda: run_suites(names, jobs=2))

    with mock.patch.object(validation, "run_suites", shared):
        yield


def as_process(arguments: list[str], cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code, and standard output and error in one text, of the installed command."""
    done = subprocess.run(
        [HOSTSIM, *arguments], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def check_make_targets(block: Block, arguments: list[str]) -> None:
    """Every target a page names exists (running them is what `make test` itself does)."""
    makefile = (ROOT / "Makefile").read_text()
    for target in (a for a in arguments if "=" not in a):
        assert f"\n{target}:" in makefile, f"{block.place}: the Makefile has no target {target}"
