"""`hostsim reclaim`, through the installed command."""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers.command import hostsim, tree

SMALL = (
    "--memory", "1MiB", "--rate", "1k/s", "--vcpus", "1", "--ages", "100ms,300ms", "--measure", "600ms", "--policy", "idle",
)  # fmt: skip
MIGRATION = ("--during-migration", "--bandwidth", "16Mbit/s", "--timeout", "4s")
FILES = {
    "reclaim.json", "provenance.json", "verdict.txt", "reclaim.csv", "reclaim.parquet", "latencies.csv", "latencies.parquet",
    "reclaim.png", "reclaim.svg",
}  # fmt: skip


def test_it_tells_a_verdict_tables_and_the_files(tmp_path: Path) -> None:
    done = hostsim("reclaim", *SMALL, *MIGRATION, "--wide", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("VERDICT: policy idle, swap nvme: ")
    assert lines[1].startswith("policy idle, swap nvme, while the VM migrates: ")
    rows = [line.split()[:2] for line in lines if line.split()[:1] in (["no"], ["yes"])]
    assert rows == [["no", "100ms"], ["no", "300ms"], ["yes", "100ms"], ["yes", "300ms"]]
    assert any(line.startswith("Migrations") for line in lines)
    assert set(tree(tmp_path / "out" / "reclaim")) == FILES


def test_json_is_only_json_and_the_same_bytes_with_two_workers(tmp_path: Path) -> None:
    arguments = ("reclaim", *SMALL, "--reps", "2", "--json")
    one, two = (hostsim(*arguments, "--workers", n, "--out", f"o{n}", cwd=tmp_path) for n in "12")
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == two.stdout == (tmp_path / "o1" / "reclaim.json").read_text()
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2")
    rows = json.loads(one.stdout)["rows"]
    assert [row["settings"]["age"] for row in rows] == ["100ms", "300ms"]
    assert rows[0]["figures"]["refaults_per_s"]["n"] == 2


def test_bad_options_are_told_all_at_once_and_leave_nothing(tmp_path: Path) -> None:
    done = hostsim("reclaim", "--swap", "nvm", "--budget", "p99=fast", "--ages", "soon", "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["--swap", "--budget", "--ages"]
    assert lines[0].endswith("example: --swap nvme")
    assert tree(tmp_path) == {}
