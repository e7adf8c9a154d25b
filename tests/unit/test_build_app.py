"""The command line loads the command that is asked for, and shows what it shows with all of them loaded."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hostsim.cli.main import COMMANDS, build_app

NAMES = [name.removesuffix("_cmd").replace("_", "-") for name in COMMANDS]


def registered(asked: str) -> int:
    app = build_app(asked)
    return len(app.registered_commands) + len(app.registered_groups)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_comes_alone(name: str) -> None:
    assert registered(name) == 1
    alone, among_all = (CliRunner().invoke(build_app(asked), [name, "--help"]) for asked in (name, ""))
    assert alone.output == among_all.output
    assert alone.exit_code == 0


@pytest.mark.parametrize("asked", ["", "--help", "rum", "run.toml", "strict"])
def test_any_other_word_loads_all_commands(asked: str) -> None:
    assert registered(asked) == len(COMMANDS)
