"""Standard output that takes nothing: a message or silence, exit code 2, never a traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.command import HOSTSIM, PATIENCE_S, QUICK, environment, hostsim

pytestmark = pytest.mark.long

LOG = '{"status": "setup"}\n'
COMMANDS = {
    "run": ["run", "quick.toml", "--no-files"],
    "run --json": ["run", "quick.toml", "--no-files", "--json"],
    "explain": ["explain", "log.jsonl"],
    "schema": ["schema"],
}


def run_into(redirection: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """``arguments`` with standard output as a shell's ``redirection`` says; its status is the command's."""
    (folder / "quick.toml").write_text(QUICK)
    (folder / "log.jsonl").write_text(LOG)
    line = f'set -o pipefail; "$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", line, "bash", HOSTSIM, *arguments], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["run", "schema", *(pytest.param(name, marks=pytest.mark.swarm) for name in ("run --json", "explain"))]
)
def test_a_full_one_is_said(name: str, tmp_path: Path) -> None:
    done = run_into("> /dev/full", COMMANDS[name], tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: standard output: cannot write: No space left on device\n"


@pytest.mark.parametrize(
    ("name", "redirection"),  # lines and tables, and text for programs
    [
        ("run", "| sleep 0"), ("schema", ">&-"),
        *(pytest.param(*pair, marks=pytest.mark.swarm) for pair in (("run", ">&-"), ("schema", "| sleep 0"))),
    ],
)  # fmt: skip
def test_one_that_nobody_reads_ends_the_command_without_a_word(name: str, redirection: str, tmp_path: Path) -> None:
    done = run_into(redirection, COMMANDS[name], tmp_path)
    assert (done.returncode, done.stderr) == (2, "")


def test_names_of_emoji_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / ":bug:.toml").write_text(QUICK)
    done = hostsim("run", ":bug:.toml", "--no-files", "--set", "vm.bug=:bug:", cwd=tmp_path)
    assert done.stderr.startswith("error: --set: vm.bug: got")
    done = hostsim("run", ":bug:.tom", cwd=tmp_path)
    assert done.stderr.startswith("error: :bug:.tom:")
