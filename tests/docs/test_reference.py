"""The reference names everything there is: options, result columns, events."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.blocks import ROOT
from tests.helpers.command import hostsim

REFERENCE = ROOT / "docs" / "reference"
COMMANDS = (
    "run", "compare", "sweep", "explain", "record", "watch", "validate", "calibrate", "scenarios", "schema", "age",
    "reclaim", "debate",
)  # fmt: skip
OF_TYPER = {"--help", "--install-completion", "--show-completion"}
OF_OTHERS = {"--verbose"}
"""Of commands that help texts name: virsh migrate --verbose."""
SMALL = {
    "vm": {"memory": "16MiB", "workload": [{"pattern": "uniform", "size": "4MiB", "write_rate": "500/s"}]},
    "migration": {"bandwidth": "32MiB/s"},
}


def options_of(command: str) -> set[str]:
    shown = hostsim(command, "--help", cwd=ROOT, COLUMNS="200")
    assert shown.returncode == 0
    return set(re.findall(r"--[a-z][a-z-]+", shown.stdout)) - OF_TYPER - OF_OTHERS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described(command: str) -> None:
    page = (REFERENCE / "cli.md").read_text()
    described = set(re.findall(r"--[a-z][a-z-]+", page))
    assert f"hostsim {command}" in page
    assert options_of(command) - described == set()


def test_every_column_is_described() -> None:
    from hostsim import Scenario, run

    page = (REFERENCE / "results.md").read_text()
    migration = run(Scenario.model_validate(SMALL)).migrations[0]
    columns = [*migration.rounds.columns, *migration.series.columns]
    assert columns
    assert [name for name in columns if f"`{name}`" not in page] == []


@cache
def traced_events() -> frozenset[str]:
    """First words of the strings that hostsim marks or traces."""
    texts = [path.read_text() for path in (ROOT / "hostsim").rglob("*.py")]
    trees = [ast.parse(text) for text in texts if re.search(r"\.(mark|trace|debug)\(", text)]
    calls = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call)]
    named = [
        c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in {"mark", "trace", "debug"}
    ]
    constants = [a for c in named for arg in c.args for a in ast.walk(arg) if isinstance(a, ast.Constant)]
    return frozenset(str(a.value).split()[0] for a in constants if isinstance(a.value, str) and a.value.strip())


def test_every_event_is_described() -> None:
    page = (REFERENCE / "events.md").read_text()
    assert "migrate_transferred" in traced_events()
    assert {event for event in traced_events() if f"`{event}" not in page} == set()
