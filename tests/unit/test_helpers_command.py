"""Commands in the process of the tests leave it as it was, and answer as the installed script does."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.helpers.command import hostsim, installed, limited

MESSES_UP = """\
import os, signal, sys
import neighbour
os.environ["HOSTSIM_MESS"] = "1"
os.chdir("/")
sys.excepthook = None
sys.path.append("/nowhere")
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(neighbour.WORD, sys.argv[1:], __name__)
"""


def state() -> dict[str, Any]:
    return {
        "environment": dict(os.environ), "folder": Path.cwd(), "arguments": list(sys.argv), "path": list(sys.path),
        "hook": sys.excepthook, "streams": (sys.stdin, sys.stdout, sys.stderr), "main": sys.modules["__main__"],
        "interrupt": signal.getsignal(signal.SIGINT), "structlog": structlog.is_configured(),
    }  # fmt: skip


def script(folder: Path, word: str) -> Path:
    folder.mkdir()
    (folder / "neighbour.py").write_text(f"WORD = {word!r}\n")
    (folder / "mess.py").write_text(MESSES_UP)
    return folder


def test_whatever_a_command_does_the_process_is_as_before(tmp_path: Path) -> None:
    before = state()
    done = hostsim("run", "mess.py", "--", "x", cwd=script(tmp_path / "one", "one"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "one ['x'] __main__\n", "")
    assert state() == before
    assert hostsim("run", "mess.py", cwd=script(tmp_path / "two", "two")).stdout.startswith("two"), "its own neighbour"


def test_trace_events_go_to_the_standard_error_of_their_command(tmp_path: Path) -> None:
    before = state()
    (tmp_path / "quick.toml").write_text('duration = "1s"\n[vm]\nmemory = "1MiB"\n[migration]\nbandwidth = "32MiB/s"\n')
    first, quiet, last = (
        hostsim("run", "quick.toml", "--no-files", *more, cwd=tmp_path) for more in (["--trace"], [], ["--trace"])
    )
    assert first.stderr == last.stderr != quiet.stderr == ""
    assert state() == before


@pytest.mark.long
@pytest.mark.parametrize("arguments", [["walk"], ["run", "gone.toml"], ["run", "-h"], ["--version"], ["run", "bad.py"]])
def test_the_installed_script_answers_alike(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise SystemExit('no luck')\n")
    here, there = (run(*arguments, cwd=tmp_path) for run in (hostsim, installed))
    assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)


def test_a_fork_has_its_own_limits_and_ends_without_going_on_here(tmp_path: Path) -> None:
    def write() -> int:
        (tmp_path / "x").write_text("x" * 100)
        return 3

    assert limited(write, 1000, tmp_path).returncode == 3
    assert limited(write, 10, tmp_path).returncode == 70, "an exception, not a second run of the tests"
