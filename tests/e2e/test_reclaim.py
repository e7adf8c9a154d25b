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
    "reclaim.png", "reclaim.svg", "reclaim-stalls.png", "reclaim-stalls.svg",
}  # fmt: skip


def files_in(out: Path) -> set[str]:
    """Names of files but for those of single runs."""
    return {name for name in tree(out) if not name.startswith("runs/")}


def runs_in(out: Path) -> list[str]:
    """Names of the files of single runs."""
    return [name for name in tree(out) if name.startswith("runs/") and name != "runs/"]


def test_it_tells_a_verdict_tables_and_the_files(tmp_path: Path) -> None:
    done = hostsim("reclaim", *SMALL, *MIGRATION, "--wide", cwd=tmp_path, draws=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("VERDICT: policy idle, swap nvme: ")
    assert lines[1].startswith("policy idle, swap nvme, while the VM migrates: ")
    rows = [line.split()[:2] for line in lines if line.split()[:1] in (["no"], ["yes"])]
    assert rows == [["no", "100ms"], ["no", "300ms"], ["yes", "100ms"], ["yes", "300ms"]]
    assert any(line.startswith("Migrations") for line in lines)
    assert files_in(tmp_path / "out" / "reclaim") == FILES


def test_json_is_only_json_and_the_same_bytes_with_two_workers(tmp_path: Path) -> None:
    arguments = ("reclaim", *SMALL, "--reps", "2", "--json")
    one, two = (hostsim(*arguments, "--workers", n, "--out", f"o{n}", cwd=tmp_path) for n in "12")
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == two.stdout == (tmp_path / "o1" / "reclaim.json").read_text()
    assert tree(tmp_path / "o1") == tree(tmp_path / "o2")
    rows = json.loads(one.stdout)["rows"]
    assert [row["settings"]["age"] for row in rows] == ["100ms", "300ms"]
    assert rows[0]["figures"]["refaults_per_s"]["n"] == 2


def test_finished_runs_are_not_run_again(tmp_path: Path) -> None:
    """One run of the guest without reclaim serves both policies; runs that are measured for longer are other runs."""
    first = hostsim("reclaim", *SMALL, "--out", "o", cwd=tmp_path)
    assert (first.returncode, first.stderr, len(runs_in(tmp_path / "o"))) == (0, "", 4)
    again = hostsim("reclaim", *SMALL[:-1], "idle,damon", "--out", "o", cwd=tmp_path)
    assert again.stderr.startswith("4 of 6 runs are finished in o; --force runs them again")
    assert len(runs_in(tmp_path / "o")) == 6
    alone = hostsim("reclaim", *SMALL[:-1], "idle,damon", "--out", "p", "--force", cwd=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert tree(tmp_path / "o") == tree(tmp_path / "p")
    longer = hostsim("reclaim", *("700ms" if one == "600ms" else one for one in SMALL), "--out", "o", cwd=tmp_path)
    assert (longer.returncode, longer.stderr, len(runs_in(tmp_path / "o"))) == (0, "", 10)


def test_a_shown_scenario_runs_and_is_compared(tmp_path: Path) -> None:
    once = ("--memory", "1MiB", "--rate", "1k/s", "--ages", "100ms", "--policy", "idle")
    shown = hostsim("reclaim", *once, "--show-scenario", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    (tmp_path / "reclaim.toml").write_text(shown.stdout)
    done = hostsim("run", "reclaim.toml", "--no-files", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["memory"]["vms"][0]["swapped_pages"] > 0
    told = hostsim("run", "reclaim.toml", "--no-files", cwd=tmp_path)
    assert "Memory: vm ended with" in told.stdout
    key = "host.memory.reclaim.age=100ms,200ms"
    both = hostsim("compare", "reclaim.toml", "--vary", key, "--no-files", cwd=tmp_path)
    assert (both.returncode, both.stderr) == (0, "")
    assert "swapped" in both.stdout


def test_what_the_scenario_refuses_is_told_of_the_option(tmp_path: Path) -> None:
    done = hostsim("reclaim", "--era", "E0", "--out", "o", cwd=tmp_path)
    assert done.returncode == 2
    told = "error: --era: got 'clear-dirty-log' with era E0 (kernel 2.6.35), wanted an era that has it"
    assert done.stderr.startswith(told)
    assert tree(tmp_path) == {}


def test_bad_options_are_told_all_at_once_and_leave_nothing(tmp_path: Path) -> None:
    done = hostsim("reclaim", "--swap", "nvm", "--budget", "p99=fast", "--ages", "soon", "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["--swap", "--budget", "--ages"]
    assert lines[0].endswith("example: --swap nvme")
    assert tree(tmp_path) == {}
