"""Law 3: whatever way a write is lost, the run ends with a message, exit code 3 and no files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hostsim.core.errors import InvariantError
from hostsim.guest.vcpu import Vcpu
from hostsim.machine.machine import Machine
from hostsim.scenario import load_scenario
from hostsim.scenario.build import build
from tests.helpers.broken import LOSSES, MULTIFD_LOSSES
from tests.helpers.command import tree
from tests.helpers.plain import run_plain

BOTH = """\
duration = "60s"

[vm]
memory = "2MiB"

[[vm.fill]]
size = "1MiB"

[[vm.workload]]
pattern = "sequential"
size = "1MiB"
write_rate = "400/s"

[[vm.workload]]
pattern = "uniform"
at = "256KiB"
size = "1MiB"
write_rate = "400/s"

[migration]
bandwidth = "1MiB/s"
timeout = "6s"
"""
"""Two regions that overlap, one swept and one drawn, the latter with zero pages; some syncs before it ends."""


@pytest.fixture
def both(tmp_path: Path) -> Path:
    path = tmp_path / "both.toml"
    path.write_text(BOTH)
    return path


def run_broken(name: str, scenario: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run_plain("tests.helpers.broken", name, "run", str(scenario), "--out", "out", *options, cwd=scenario.parent)


@pytest.mark.parametrize("name", MULTIFD_LOSSES)
def test_a_write_lost_by_channels_ends_the_run(name: str, both: Path) -> None:
    done = run_broken(name, both, "--set", "migration.multifd=true")
    assert (done.returncode, done.stdout) == (3, "")
    assert "gfn" in done.stderr or "pages" in done.stderr
    assert tree(both.parent) == {"both.toml": BOTH.encode()}


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_write_ends_the_run(name: str, both: Path) -> None:
    done = run_broken(name, both)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert set(tree(both.parent)) == {"both.toml"}


def test_writes_after_the_last_sync_end_the_run(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Vcpu, "pause", lambda vcpu: vcpu._env.event().succeed())
    machine = Machine(build(load_scenario(both, ["vm.workload.0.write_rate=100k/s", "migration.downtime_limit=2s"])))
    with pytest.raises(InvariantError, match="written after the last sync"):
        machine.run()


def test_the_engine_as_it_is_loses_nothing(both: Path) -> None:
    machine = Machine(build(load_scenario(both, ["migration.downtime_limit=2s"])))
    machine.run()
    assert machine.migration.state.status == "completed"
