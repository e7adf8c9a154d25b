"""Help comes at once: nothing heavy is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.command import QUICK, environment, hostsim, installed
from tests.helpers.loaded import HEAVY, LOADED

LIMIT_S = 0.5
RAN = """\
import contextlib, io, sys
from hostsim.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main()
print("VERDICT" in out.getvalue(), "matplotlib" in sys.modules)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["compare", "--help"], ["validate", "--help"], ["explain", "-h"]]
)
def test_help_loads_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-c", LOADED, *arguments]
    loaded = set(json.loads(subprocess.check_output(command, cwd=tmp_path, env=environment(), text=True)))
    assert "hostsim" in loaded
    assert loaded & HEAVY == set()
    assert arguments != ["--help"] or "pydantic" not in loaded  # typer itself reads a command's options with it


def test_a_run_without_a_picture_does_not_load_matplotlib(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    command = [sys.executable, "-c", RAN, "run", "quick.toml", "--no-files", "--quiet", "--no-confirm"]
    assert subprocess.check_output(command, cwd=tmp_path, env=environment(), text=True).split() == ["True", "False"]


def test_help_is_there_within_half_a_second(tmp_path: Path) -> None:
    best_s = min(help_s(tmp_path) for _ in range(5))
    assert best_s <= LIMIT_S


def help_s(cwd: Path) -> float:
    began_s = time.perf_counter()
    assert installed("--help", cwd=cwd).returncode == 0
    return time.perf_counter() - began_s


def test_help_names_every_command(tmp_path: Path) -> None:
    text = hostsim("--help", cwd=tmp_path).stdout
    missing = [name for name in ("run", "explain", "validate", "scenarios", "schema") if f" {name} " not in text]
    assert missing == []
