"""A mechanism of migration that is nothing but four files: keys, refusals, modes, steps, results and words follow."""

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
from hostsim.qemu.mechanism import Absent, Mechanism, Rule, Stream, Switch

@dataclass(frozen=True)
class LullParameters:
    lull: bool = False
    lull_level: int = 3

@dataclass(frozen=True)
class Calm:
    n_vcpus: int

def made(env, vm, tracker, sheet, link, knobs, parameters, content, log_capacity):
    from hostsim.qemu.ram import RamState

    return RamState(env, vm, tracker, sheet, link, knobs, log_capacity, parameters)

def begin(migration):
    migration.set_status("lulling")
    yield migration.env.timeout(1000)
    migration.finish("lulled")

def run(migration):
    raise AssertionError("the guest has not moved")

PART = Mechanism(
    "lull", 25, "lull", LullParameters, rules=(Rule("lull", "xbzrle", False, "Lull is not compatible with xbzrle"),),
    newer=(Absent("lull", (9, 0), "made up"),),
    figures=lambda migration: (migration.state.dirty_sync_count, migration.inputs["lull"]),
    stream=Stream(made, lambda keys: keys.lull_level, lambda keys, content: 4100, lambda sheet, keys, content: 1 << 33),
    acts=lambda machine: Calm(len(machine.vm.vcpus)) if machine.spec.inputs["lull"]["seed"] else None,
    ram=lambda migration: {"lull-bytes": migration.acting["lull"].n_vcpus}, moved=("lulling",),
    switch=Switch(lambda migration: migration.ram.remaining_bytes == 0, lambda migration: True, begin, run),
)
""",
    "scenario": """
from pydantic import Field
from hostsim.core.errors import Finding
from hostsim.scenario.mechanism import Kind, Mechanism
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Flag

class LullKeys(Section):
    lull: Flag = Field(default=False, description="capability lull")
    lull_level: Count = Field(default=3, ge=1, description="its level")

def even(migration):
    if migration.lull_level % 2 == 0:
        yield Finding("migration.lull_level", str(migration.lull_level), "an odd level", "lull_level = 3")

def alone(scenario):
    if scenario.vm.vcpus == 3:
        yield Finding("vm.vcpus", "3", "a lull has no middle vCPU", "vcpus = 2")

PART = Mechanism(
    "lull", 25, Kind.STREAM, "lull", LullKeys, modelled=("lull",), aliases={"x-calm": "lull"},
    modes={"lull": {"lull": "true"}, "lull-5": {"lull": "true", "lull_level": "5"}}, remedy="lull",
    commands={"qemu": {"lull": "migrate_set_capability lull on"}}, findings=even,
    assumptions=lambda scenario: iter(["the lull is assumed to be deep"]),
    inputs=lambda scenario: {"seed": scenario.seed}, beside=alone, warnings=lambda scenario: iter(["no host is so calm"]),
    sure_streams=lambda keys: keys["lull_level"], always_ends=lambda migration: migration.lull_level > 3,
)
""",
    "results": """
from hostsim.results.columns import INT, Column
from hostsim.results.mechanism import End, Mechanism

PART = Mechanism(
    "lull", 25, "Lull", lambda figures: {"lull": {"syncs": figures[0], **figures[1]}},
    (Column("lull_syncs", INT, "", "lulls", "lulls so far", lambda row: row.sync.mechanisms["lull"][0]),),
    lambda machine, migration: {"lull_level": migration.parameters.lull_level},
    ram=("lull-bytes",), ends=(End("lulled", "lulled to its end", converged=True),), spans={"lulling": "grey"},
    compared=lambda migration: {"lull_depth": migration.facts["lull_level"]} if "lull_level" in migration.facts else {},
)
""",
    "verdict": """
from dataclasses import dataclass, replace
from hostsim.verdict.evidence import Seen
from hostsim.verdict.mechanism import Mechanism, OwnOutcome
from hostsim.verdict.model import Own, Remedy, Verdict

LULLED = Own("lulled")

@dataclass(frozen=True)
class SeenLull(Seen):
    level: int = 0

    @property
    def guest_moved(self):
        return True

def seen(result, migration):
    level = migration.facts.get("lull_level")
    return None if level is None else SeenLull(level)

def line(verdict, evidence):
    if "lull" not in evidence.mechanisms:
        return verdict
    return replace(verdict, notes=(*verdict.notes, f"Lull: of level {evidence.mechanisms['lull'].level}"))

def ended(evidence):
    return Verdict(LULLED, "lulled") if evidence.status == "lulled" else None

def under_way(log, evidence):
    return Verdict(LULLED, "a lull is under way") if log.total_bytes[0] == 7 << 30 else None

PART = Mechanism(
    "lull", 25, seen, line=line, outcomes=(OwnOutcome(LULLED, "good", converged=True),), under_way=(under_way,),
    ended=(ended,), in_words="a lull",
    always_ends=lambda evidence, seconds, word: Remedy("lull", f"a lull ends it {word} {seconds:g} s later"),
)
""",
}
LOOPS = "qemu/lull_send.py"
"""A file of compiled loops beside them; its name says what it is."""
ASK = """
import json
from hostsim.compiled.code_store import PACKAGE, compiled_files
from hostsim.core.errors import InputError
from hostsim.logs import parse_logs
from hostsim.qemu.ram_stream import connections_of
from hostsim.report.charts.migration import SPANS, headline
from hostsim.report.html.kinds.parts import verdict_card
from hostsim.report.tables import migration_tables
from hostsim.results.registry import WITH_MECHANISMS
from hostsim.scenario import Migration, Scenario
from hostsim.scenario.mechanism import always_ends
from hostsim.scenario.plausible import surely_sent_bytes_per_s
from hostsim.scenario.profiles import PROFILES
from hostsim.simulation import run
from hostsim.study.compare.figures import figures_of
from hostsim.study.compare.modes import MODES, OFF, keys_of
from hostsim.verdict import diagnose, evidence_from_result, explain_log, render
from hostsim.verdict.mechanism import sure_ends
from hostsim.verdict.remedies import always_end_within

ANSWER = {"status": "active", "total-time": 9000, "ram": {"total": 7 << 30, "remaining": 1 << 30, "transferred": 1 << 30}}

def scenario(vcpus=1, **keys):
    return Scenario.model_validate({"duration": "9s", "vm": {"memory": "1MiB", "vcpus": vcpus}, "migration": keys})

def error(**keys):
    try:
        scenario(**keys)
    except InputError as found:
        return str(found)

result = run(scenario(lull=True, lull_level=5))
migration, evidence = result.migrations[0], evidence_from_result(result)
verdict = diagnose(evidence)
print(json.dumps({
    "keys": list(Migration.model_fields), "modes": list(MODES), "off": dict(OFF), "mode": dict(keys_of("lull-5")),
    "beside xbzrle": error(lull=True, xbzrle=True), "even": error(lull_level=4), "alias": error(x_calm=True),
    "unknown": error(rdma=True), "7.2": error(lull=True, qemu="7.2"), "command": PROFILES["qemu"].command("lull"),
    "run": result.to_dict(), "tables": [grid.title for grid in migration_tables(migration)],
    "columns": list(WITH_MECHANISMS), "verdict": render(verdict), "assumptions": result.assumptions,
    "three vCPUs": error(lull=True, vcpus=3), "warnings": result.warnings, "plain": run(scenario()).to_dict(),
    "connections": connections_of(scenario(lull=True, lull_level=5).migration.parameters()),
    "sure": [surely_sent_bytes_per_s(scenario(lull=lull).resolved()) for lull in (False, True)],
    "ends": [always_ends(scenario(lull=True, lull_level=level).migration) for level in (3, 5)],
    "status": [migration.status, migration.converged, headline(migration)], "spans": SPANS["lulling"],
    "figures": figures_of(result), "card": verdict_card(verdict.to_dict()).tone,
    "outcome": [verdict.outcome, verdict.converged],
    "moved": evidence.guest_moved, "sure ends": sure_ends(),
    "remedies": [remedy.text for remedy in always_end_within(evidence, 2.5)],
    "log": explain_log(parse_logs(json.dumps({"return": ANSWER}))[0]).headline,
    "loops": [path.relative_to(PACKAGE).as_posix() for path in compiled_files()],
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
    (copy / LOOPS).write_text('"""Loops of the lull."""\n', encoding="utf-8")


@cache
def told() -> dict[str, Any]:
    """The output of a hostsim with the four files, in a process of its own: its classes are made as it is loaded."""
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
    assert "a lull has no middle vCPU" in told()["three vCPUs"]
    assert told()["warnings"] == ["no host is so calm"]


def test_its_modes_can_be_compared_and_all_modes_turn_it_off() -> None:
    modes = told()["modes"]
    assert modes[modes.index("xbzrle") : modes.index("multifd")] == ["xbzrle", "lull", "lull-5"]
    assert told()["off"]["lull"] == "false"
    assert (told()["mode"]["lull"], told()["mode"]["lull_level"], told()["mode"]["xbzrle"]) == ("true", "5", "false")
    assert told()["command"] == "migrate_set_capability lull on"


def test_results_have_its_figures() -> None:
    run = told()["run"]
    assert run["migrations"][0]["lull"] == {"syncs": len(run["rounds"][0]), "seed": run["seed"]}
    assert [one["migrations"][0]["ram"]["lull-bytes"] for one in (run, told()["plain"])] == [1, 0]
    assert run["facts"][0]["lull_level"] == 5
    assert "lull.rounds" in told()["columns"]
    assert "Lull" in told()["tables"]
    assert told()["assumptions"] == ["the lull is assumed to be deep"]


def test_a_verdict_has_its_line() -> None:
    assert "Lull: of level 5" in told()["verdict"]


def test_the_migration_thread_takes_its_steps() -> None:
    events = [one["event"] for one in told()["run"]["events"][0]]
    assert events[-2:] == ["migrate_set_state lulling", "migrate_set_state lulled"]
    assert "migration_completion_vm_stop" not in events


def test_its_end_is_known_where_results_are_told() -> None:
    status, converged, headline = told()["status"]
    assert (status, converged) == ("lulled", True)
    assert headline.startswith("lulled to its end after ")
    assert (told()["figures"]["mode.ended"], told()["figures"]["mode.lull_depth"]) == ("lulled to its end", 5)
    assert told()["spans"] == "grey"


def test_its_outcome_has_a_tone_and_its_remedy_ends_any_migration() -> None:
    assert told()["outcome"] == ["lulled", True]
    assert told()["card"] == "good"
    assert told()["moved"]
    assert told()["sure ends"] == ["a lull", "post-copy"]
    assert told()["remedies"][0] == "a lull ends it about 2.5 s later"
    assert told()["log"] == "a lull is under way"


def test_its_stream_is_that_of_the_run() -> None:
    facts = told()["run"]["facts"][0]
    assert (facts["page_wire_bytes"], facts["host_bandwidth_bytes_per_s"]) == (4100, 1 << 33)
    assert told()["connections"] == 5
    assert told()["sure"][1] == 3 * told()["sure"][0] > 0


def test_a_forecast_knows_whether_it_ends_any_migration() -> None:
    assert told()["ends"] == [False, True]


def test_its_loops_are_found_by_their_name() -> None:
    assert LOOPS in told()["loops"]
