"""The runner itself: the outputs that it accepts, and those that it refuses. The command is a small stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import runner
from tests.docs.blocks import Block

STAND_IN = '#!/bin/sh\necho "ran $1"\n[ "$1" = good ]\n'


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runner.PageRunner:
    command = tmp_path / "hostsim"
    command.write_text(STAND_IN)
    command.chmod(0o755)
    (tmp_path / "root" / "scenarios").mkdir(parents=True)
    monkeypatch.setattr(runner, "HOSTSIM", str(command))
    monkeypatch.setattr(runner, "INSTALLED", ("hostsim good", "hostsim bad"))
    monkeypatch.setattr(runner, "ROOT", tmp_path / "root")
    return runner.PageRunner(tmp_path)


@pytest.mark.parametrize(
    ("text", "exits"),
    [("$ hostsim good\n", 0), ("$ hostsim good\nran good\n", 0), ("$ hostsim bad\nran ...\n", 1)],
)
def test_what_is_as_shown_passes(page: runner.PageRunner, text: str, exits: int) -> None:
    block = Block("page.md", 1, "console", text, exits=exits)
    page.run(block)
    assert (page.folder / "scenarios").is_dir()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$ hostsim bad\n", "exit 1"),
        ("$ hostsim good\nran bad\n", "printed"),
        ("$ rm -r somewhere\n", "only hostsim and make"),
        ("no command\n", "no line opens"),
    ],
)
def test_what_is_not_as_shown_fails(page: runner.PageRunner, text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        page.run(Block("page.md", 7, "console", text))


def test_python_blocks_of_a_page_share_names(page: runner.PageRunner) -> None:
    page.run(Block("page.md", 1, "python", "x = 1\n"))
    page.run(Block("page.md", 5, "python", "x += 1\n"))
    assert page.names["x"] == 2
    with pytest.raises(NameError):
        page.run(Block("page.md", 9, "python", "missing\n"))


def test_a_block_that_is_not_run_can_still_be_saved(page: runner.PageRunner) -> None:
    page.run(Block("page.md", 1, "toml", "[vm]\n", not_run="broken", saved_as="broken.toml"))
    assert (page.folder / "broken.toml").read_text() == "[vm]\n"
