"""`hostsim validate`, through the installed command."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hostsim.cli import validate_cmd
from hostsim.validation.rows import Row
from tests.helpers.command import ROOT, hostsim

KEYS = ["suite", "id", "quantity", "expected", "got", "error", "tolerance", "passed"]


FEW = ("idle_zero", "small4_fit", "rand_050", "v10_seq_050")
"""Cases of a suite in small: docs/reference/cli.md, whose commands are run, has the whole of it."""


@pytest.fixture
def few(tmp_path: Path) -> str:
    kept = ROOT / "hostsim" / "data" / "qemu" / "cases.jsonl.gz"
    lines = gzip.decompress(kept.read_bytes()).decode().splitlines()
    chosen = [line for line in lines if json.loads(line)["id"].startswith(FEW)]
    assert len(chosen) >= len(FEW)
    (tmp_path / "few.jsonl").write_text("".join(f"{line}\n" for line in chosen))
    return "few.jsonl"


def test_json_is_a_list_of_rows(few: str, tmp_path: Path) -> None:
    done = hostsim("validate", "--suite", "qemu", "--cases", few, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert len(rows) > 10
    assert all(list(row)[: len(KEYS)] == KEYS for row in rows)
    assert {row["suite"] for row in rows} == {"qemu"}


def test_a_person_gets_rows_and_a_summary(few: str, tmp_path: Path) -> None:
    done = hostsim("validate", "--suite", "qemu", "--cases", few, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Summary" in done.stdout
    assert any(line.endswith(" ok") for line in done.stdout.splitlines())


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    done = hostsim("validate", "--suite", "dreams", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "got dreams, wanted one of qemu, published, kvm, oracles" in done.stderr


def test_cases_come_from_a_file(tmp_path: Path) -> None:
    kept = ROOT / "hostsim" / "data" / "qemu" / "cases.jsonl.gz"
    line = next(line for line in gzip.decompress(kept.read_bytes()).decode().splitlines() if '"id": "idle_zero' in line)
    (tmp_path / "mine.jsonl").write_text(line + "\n")
    done = hostsim("validate", "--suite", "qemu", "--cases", "mine.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert {row["id"] for row in json.loads(done.stdout)} == {json.loads(line)["id"]}


def test_a_case_with_a_mechanism_that_is_not_simulated_is_named(few: str, tmp_path: Path) -> None:
    case = json.loads((tmp_path / few).read_text().splitlines()[0])
    case["inputs"]["capabilities"].append("mapped-ram")
    (tmp_path / "mine.jsonl").write_text(json.dumps(case) + "\n")
    done = hostsim("validate", "--suite", "qemu", "--cases", "mine.jsonl", "--json", cwd=tmp_path)
    (row,) = json.loads(done.stdout)
    assert (row["id"], row["got"], row["scored"], row["note"]) == (case["id"], "not simulated", False, "without mapped-ram")


def test_a_broken_case_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("{}\n")
    done = hostsim("validate", "--suite", "qemu", "--cases", "mine.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "mine.jsonl:1" in done.stderr


PASSED = Row("qemu", "a", "n", 1, 1, 0.0, 0.0, passed=True)
FAILED = Row("qemu", "b", "n", 1, 2, 1.0, 0.0, passed=False)
SHOWN_ONLY = FAILED.unscored("times the host")


@pytest.mark.parametrize(
    ("rows", "flags", "code"),
    [
        ([PASSED, FAILED], [], 0),
        ([PASSED, FAILED], ["--fail"], 1),
        ([PASSED, SHOWN_ONLY], ["--fail"], 0),
        ([FAILED], ["--json"], 0),
    ],
)
def test_failing_rows_are_an_exit_code_on_demand(
    monkeypatch: pytest.MonkeyPatch, rows: Sequence[Row], flags: list[str], code: int
) -> None:
    monkeypatch.setattr("hostsim.validation.run_suites", lambda *_, **__: list(rows))
    app = typer.Typer()
    validate_cmd.register(app)
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == code
    assert "qemu" in done.stdout
