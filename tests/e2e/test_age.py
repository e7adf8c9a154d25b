"""`hostsim age`, through the installed command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.command import hostsim, tree

SMALL = ("--mem-per-vcpu", "1MiB", "--period", "20ms", "--passes", "2")
FILES = {
    "age.json", "provenance.json", "verdict.txt", "age.csv", "age.parquet", "latencies.csv", "latencies.parquet", "age.png",
    "age.svg",
}  # fmt: skip


def files_in(out: Path) -> set[str]:
    """Names of files but for those of single runs."""
    return {name for name in tree(out) if not name.startswith("runs/")}


def runs_in(out: Path) -> list[str]:
    """Names of the files of single runs."""
    return [name for name in tree(out) if name.startswith("runs/") and name != "runs/"]


def test_it_tells_a_verdict_a_table_and_the_files(tmp_path: Path) -> None:
    options = ("--policy", "mglru,idle", "--no-a-bits", "--rate", "2k/s", "--wide")
    done = hostsim("age", *SMALL, *options, cwd=tmp_path, draws=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "VERDICT: 1 of 2 combinations are off by at most 10 % of the used pages and slow the guest by less than 1 %."
    )
    assert any(line.split()[:1] == ["mglru"] and "counts 100 % of the used pages as idle" in line for line in lines)
    assert files_in(tmp_path / "out" / "age") == FILES | {"age-faults.png", "age-faults.svg"}
    assert (tmp_path / "out" / "age" / "verdict.txt").read_text().splitlines()[0] == lines[0]


def test_json_is_only_json_and_the_same_bytes_with_two_workers(tmp_path: Path) -> None:
    arguments = ("age", *SMALL, "--policy", "idle", "--no-a-bits", "--reps", "2", "--json")
    one, two = (hostsim(*arguments, "--workers", n, "--out", f"o{n}", cwd=tmp_path) for n in "12")
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == two.stdout == (tmp_path / "o1" / "age.json").read_text()
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2")
    figures = json.loads(one.stdout)["rows"][0]["figures"]
    assert figures["faults_per_pass"]["low"] < figures["faults_per_pass"]["mean"] < figures["faults_per_pass"]["high"]


def test_finished_runs_are_not_run_again(tmp_path: Path) -> None:
    """One run of the guest without ageing serves both policies; a third policy adds one."""
    first = hostsim("age", *SMALL, "--policy", "mglru,idle", "--out", "o", cwd=tmp_path)
    assert (first.returncode, len(runs_in(tmp_path / "o"))) == (0, 3)
    again = hostsim("age", *SMALL, "--policy", "mglru,idle,two-list", "--out", "o", cwd=tmp_path)
    assert again.stderr.startswith("3 of 4 runs are finished in o; --force runs them again")
    assert len(runs_in(tmp_path / "o")) == 4
    alone = hostsim("age", *SMALL, "--policy", "mglru,idle,two-list", "--out", "p", "--force", cwd=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert tree(tmp_path / "o") == tree(tmp_path / "p")


def test_a_shown_scenario_runs(tmp_path: Path) -> None:
    shown = hostsim("age", *SMALL, "--policy", "two-list", "--under", "faulting", "--show-scenario", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    (tmp_path / "age.toml").write_text(shown.stdout)
    done = hostsim("run", "age.toml", "--no-files", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ageing"][0]["passes"] >= 1


def test_bad_options_are_told_all_at_once_and_leave_nothing(tmp_path: Path) -> None:
    done = hostsim("age", "--policy", "mgrlu", "--vcpus", "none", "--under", "load", "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["--policy", "--vcpus", "--under"]
    assert lines[0].endswith("example: --policy mglru")
    assert tree(tmp_path) == {}
