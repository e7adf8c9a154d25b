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


def test_it_tells_a_verdict_a_table_and_the_files(tmp_path: Path) -> None:
    done = hostsim("age", *SMALL, "--policy", "mglru,idle", "--no-a-bits", "--rate", "2k/s", "--wide", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "VERDICT: 1 of 2 combinations are off by at most 10 % of the pages in use and slow the guest by less than 1 %."
    )
    assert any(line.split()[:1] == ["mglru"] and "takes 100 % of the pages in use for idle" in line for line in lines)
    assert set(tree(tmp_path / "out" / "age")) == FILES
    assert (tmp_path / "out" / "age" / "verdict.txt").read_text().splitlines()[0] == lines[0]


def test_json_is_only_json_and_the_same_bytes_with_two_workers(tmp_path: Path) -> None:
    arguments = ("age", *SMALL, "--policy", "idle", "--no-a-bits", "--reps", "2", "--json")
    one, two = (hostsim(*arguments, "--workers", n, "--out", f"o{n}", cwd=tmp_path) for n in "12")
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == two.stdout == (tmp_path / "o1" / "age.json").read_text()
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2")
    figures = json.loads(one.stdout)["rows"][0]["figures"]
    assert figures["faults_per_pass"]["low"] < figures["faults_per_pass"]["mean"] < figures["faults_per_pass"]["high"]


def test_bad_options_are_told_all_at_once_and_leave_nothing(tmp_path: Path) -> None:
    done = hostsim("age", "--policy", "mgrlu", "--vcpus", "none", "--under", "load", "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["--policy", "--vcpus", "--under"]
    assert lines[0].endswith("example: --policy mglru")
    assert tree(tmp_path) == {}
