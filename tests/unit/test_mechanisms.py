"""A mechanism of migration that is nothing but four files: keys, refusals, modes, results and words follow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import hostsim

FILES = {
    "qemu": """
from dataclasses import dataclass
from hostsim.qemu.mechanism import Absent, Mechanism, Rule

@dataclass(frozen=True)
class LullParameters:
    lull: bool = False
    lull_level: int = 3

PART = Mechanism(
    "lull", 25, "lull", LullParameters, rules=(Rule("lull", "xbzrle", False, "Lull is not compatible with xbzrle"),),
    newer=(Absent("lull", (9, 0), "made up"),), figures=lambda migration: migration.state.dirty_sync_count,
)
""",
    "scenario": """
from pydantic import Field
from hostsim.core.finding import Finding
from hostsim.scenario.mechanism import Kind, Mechanism
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Flag

class LullKeys(Section):
    lull: Flag = Field(default=False, description="capability lull")
    lull_level: Count = Field(default=3, ge=1, description="its level")

def even(migration):
    if migration.lull_level % 2 == 0:
        yield Finding("migration.lull_level", str(migration.lull_level), "an odd level", "lull_level = 3")

PART = Mechanism(
    "lull", 25, Kind.STREAM, "lull", LullKeys, modelled=("lull",), aliases={"x-calm": "lull"},
    modes={"lull": {"lull": "true"}, "lull-5": {"lull": "true", "lull_level": "5"}}, remedy="lull",
    commands={"qemu": {"lull": "migrate_set_capability lull on"}}, findings=even,
    assumptions=lambda scenario: iter(["the lull is assumed to be deep"]),
)
""",
    "results": """
from hostsim.results.columns import INT, Column
from hostsim.results.mechanism import Mechanism

PART = Mechanism(
    "lull", 25, "Lull", lambda syncs: {"lull": {"syncs": syncs}},
    (Column("lull_syncs", INT, "", "lulls", "lulls so far", lambda row: row.sync.mechanisms["lull"]),),
    lambda machine, migration: {"lull_level": migration.parameters.lull_level},
)
""",
    "verdict": """
from dataclasses import dataclass, replace
from hostsim.verdict.evidence import Seen
from hostsim.verdict.mechanism import Mechanism

@dataclass(frozen=True)
class SeenLull(Seen):
    level: int = 0

def seen(result, migration):
    level = migration.facts.get("lull_level")
    return None if level is None else SeenLull(level)

def line(verdict, evidence):
    if "lull" not in evidence.mechanisms:
        return verdict
    return replace(verdict, notes=(*verdict.notes, f"Lull: of level {evidence.mechanisms['lull'].level}"))

PART = Mechanism("lull", 25, seen, line=line)
""",
}
ASK = """
import json
from hostsim.core.errors import InputError
from hostsim.report.kvm_tables import migration_tables
from hostsim.results.registry import WITH_MECHANISMS
from hostsim.scenario import Migration, Scenario
from hostsim.scenario.profiles import PROFILES
from hostsim.simulation import run
from hostsim.study.compare.modes import MODES, OFF, keys_of
from hostsim.verdict import diagnose, evidence_from_result, render

def scenario(**keys):
    return Scenario.model_validate({"duration": "9s", "vm": {"memory": "1MiB", "vcpus": 1}, "migration": keys})

def error(**keys):
    try:
        scenario(**keys)
    except InputError as found:
        return str(found)

result = run(scenario(lull=True, lull_level=5))
print(json.dumps({
    "keys": list(Migration.model_fields), "modes": list(MODES), "off": dict(OFF), "mode": dict(keys_of("lull-5")),
    "beside xbzrle": error(lull=True, xbzrle=True), "even": error(lull_level=4), "alias": error(x_calm=True),
    "unknown": error(rdma=True), "7.2": error(lull=True, qemu="7.2"), "command": PROFILES["qemu"].command("lull"),
    "run": result.to_dict(), "tables": [grid.title for grid in migration_tables(result.migrations[0])],
    "columns": list(WITH_MECHANISMS), "verdict": render(diagnose(evidence_from_result(result))),
    "assumptions": result.assumptions,
}))
"""


def lay_out(root: Path) -> None:
    """The package by links, with the four files beside those that hostsim has."""
    package, copy = Path(hostsim.__file__).parent, root / "hostsim"
    for folder in ("", *FILES, *(f"{floor}/mechanisms" for floor in FILES)):
        (copy / folder).mkdir()
        for entry in (package / folder).iterdir():
            if entry.name not in (*FILES, "mechanisms"):
                (copy / folder / entry.name).symlink_to(entry)
    for floor, text in FILES.items():
        (copy / floor / "mechanisms" / "lull.py").write_text(text, encoding="utf-8")


@cache
def told() -> dict[str, Any]:
    """What a hostsim with the four files says, in a process of its own: its classes are made as it is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        env = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        ran = subprocess.run([sys.executable, "-c", ASK], check=False, capture_output=True, text=True, env=env, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)  # type: ignore[no-any-return]


def test_its_keys_stand_at_its_place() -> None:
    keys = told()["keys"]
    assert keys[keys.index("retry_after") : keys.index("dirty_limit")] == ["retry_after", "lull", "lull_level"]
    assert told()["run"]["scenario"]["migration"]["lull_level"] == 5


def test_its_refusals_and_checks_are_errors() -> None:
    assert "xbzrle = false beside it (QEMU: Lull is not compatible with xbzrle)" in told()["beside xbzrle"]
    assert "wanted an odd level" in told()["even"]
    assert "qemu" in told()["7.2"]
    assert "'lull', QEMU's name with underscores" in told()["alias"]
    assert "XBZRLE, lull, avail-switchover-bandwidth" in told()["unknown"]


def test_its_modes_can_be_compared_and_all_modes_turn_it_off() -> None:
    modes = told()["modes"]
    assert modes[modes.index("xbzrle") : modes.index("multifd")] == ["xbzrle", "lull", "lull-5"]
    assert told()["off"]["lull"] == "false"
    assert (told()["mode"]["lull"], told()["mode"]["lull_level"], told()["mode"]["xbzrle"]) == ("true", "5", "false")
    assert told()["command"] == "migrate_set_capability lull on"


def test_results_have_its_figures() -> None:
    run = told()["run"]
    assert run["migrations"][0]["lull"] == {"syncs": len(run["rounds"][0])}
    assert run["facts"][0]["lull_level"] == 5
    assert "lull.rounds" in told()["columns"]
    assert "Lull" in told()["tables"]
    assert told()["assumptions"] == ["the lull is assumed to be deep"]


def test_a_verdict_has_its_line() -> None:
    assert "Lull: of level 5" in told()["verdict"]
