"""`hostsim compare` and `hostsim sweep`, through the installed command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.command import HOPELESS, PATIENCE_S, QUICK, hostsim, limited_hostsim, started, tree
from tests.helpers.plain import run_plain

DRAWN = QUICK.replace('pattern = "sequential"', 'pattern = "uniform"\narrivals = "poisson"').replace("2000/s", "4000/s")
"""Seeds matter."""
BANDWIDTH, LIMIT = "migration.bandwidth=32MiB/s,64MiB/s", "migration.downtime_limit=50ms,300ms"
FILES = {
    "compare.json", "provenance.json", "verdict.txt", "compare.csv", "compare.parquet", "runs.csv", "runs.parquet",
    "compare.png", "compare.svg",
}  # fmt: skip
TOUCHES_128_OR_NOT = """\
duration = "60s"

[vm]
memory = "2MiB"

[[vm.workload]]
pattern = "sequential"
size = "1MiB"
write_rate = "400/s"

[migration]
bandwidth = "1MiB/s"
timeout = "6s"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "drawn.toml").write_text(DRAWN)
    return tmp_path


def compare(
    folder: Path, *arguments: str, file: str = "quick.toml", draws: bool = False
) -> subprocess.CompletedProcess[str]:
    one = () if "--seeds" in arguments else ("--seeds", "1")
    return hostsim("compare", file, *arguments, *one, cwd=folder, draws=draws)


def varied(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--vary", text)]


def records(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(out).items() if name.startswith("runs/") and name != "runs/"}


def test_it_tells_a_verdict_a_table_and_the_files(folder: Path) -> None:
    done = compare(folder, *varied(BANDWIDTH, LIMIT), draws=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "VERDICT: all 4 combinations converge."
    assert lines[1].startswith("Total time: best ")
    rows = [line.split() for line in lines if line.lstrip().startswith(("32MiB/s", "64MiB/s"))]
    assert [row[:3] for row in rows[:4]] == [[b, d, "yes"] for b in ("32MiB/s", "64MiB/s") for d in ("50ms", "300ms")]
    assert "1x" in rows[0]
    out = folder / "out" / "quick-compare"
    shown = {line.strip() for line in lines[lines.index("Files:") + 1 :]}
    assert shown == {f"out/quick-compare/{name}" for name in FILES} | {"out/quick-compare/runs/<key>.json, one a run"}
    assert set(tree(out)) == FILES | {"plan.json", "runs/"} | set(records(out))
    assert len(records(out)) == 4


def test_a_run_in_it_is_the_run_alone(folder: Path) -> None:
    compare(folder, *varied(BANDWIDTH), "--seed", "3", "--out", "o", file="drawn.toml")
    runs = json.loads((folder / "o" / "compare.json").read_text())["runs"]
    for run, bandwidth in zip(runs, ("32MiB/s", "64MiB/s"), strict=True):
        options = ("--set", f"migration.bandwidth={bandwidth}", "--seed", "3", "--json", "--no-files")
        alone = json.loads(hostsim("run", "drawn.toml", *options, cwd=folder).stdout)
        assert alone.pop("verdicts"), "a comparison judges by figures, and runs no advice again"
        assert json.loads((folder / "o" / "runs" / f"{run['key']}.json").read_text())["run"] == alone
        assert run["figures"]["total_time_ms"] == alone["migrations"][0]["total-time"]
        assert run["figures"]["transferred_bytes"] == alone["migrations"][0]["ram"]["transferred"]


def test_json_is_compare_json_and_nothing_else(folder: Path) -> None:
    done = compare(folder, *varied(LIMIT), "--json", "--out", "o")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (folder / "o" / "compare.json").read_text()
    content = json.loads(done.stdout)
    assert [row["settings"] for row in content["combinations"]] == [
        {"migration.downtime_limit": "50ms"}, {"migration.downtime_limit": "300ms"},
    ]  # fmt: skip
    ratio = content["combinations"][1]["figures"]["downtime_ms"]["against_baseline"]["ratio"]
    downtimes = [run["figures"]["downtime_ms"] for run in content["runs"]]
    assert ratio == pytest.approx(downtimes[1] / downtimes[0])


def test_workers_move_no_byte(folder: Path) -> None:
    for workers in ("1", "3"):
        options = ("--seeds", "2", "--workers", workers, "--out", f"o{workers}")
        assert compare(folder, *varied(BANDWIDTH, LIMIT), *options, file="drawn.toml").returncode == 0
    assert tree(folder / "o1") == tree(folder / "o3")
    assert len(records(folder / "o1")) == 8


def test_small_runs_get_five_seeds_by_themselves(folder: Path) -> None:
    done = hostsim("compare", "drawn.toml", *varied(BANDWIDTH), "--out", "o", "--workers", "2", cwd=folder)
    asked = compare(folder, *varied(BANDWIDTH), "--seeds", "5", "--out", "o5", "--workers", "1", file="drawn.toml")
    assert done.stdout.replace("o/", "o5/") == asked.stdout
    assert tree(folder / "o") == tree(folder / "o5")
    assert "Each row is the mean of 5 runs of hostsim 0.1.0, seeds 1 to 5." in done.stdout


def test_all_combinations_have_the_same_seeds(folder: Path) -> None:
    done = compare(folder, *varied(BANDWIDTH), "--seeds", "3", "--seed", "7", "--json", "--no-files", file="drawn.toml")
    content = json.loads(done.stdout)
    assert content["seeds"] == [7, 8, 9]
    assert [run["seed"] for run in content["runs"]] == [7, 8, 9] * 2
    figure = content["combinations"][0]["figures"]["transferred_bytes"]
    assert figure["low"] < figure["mean"] < figure["high"]
    assert set(tree(folder)) == {"quick.toml", "drawn.toml"}


def test_what_is_finished_is_not_run_again(folder: Path) -> None:
    assert compare(folder, *varied("migration.bandwidth=32MiB/s,48MiB/s"), "--out", "o").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (folder / "o" / "runs").iterdir()}
    again = compare(folder, *varied("migration.bandwidth=16MiB/s,48MiB/s,32MiB/s"), "--out", "o")
    assert again.stderr == "2 of 3 runs are finished in o; --force runs them again\n"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    fresh = compare(folder, *varied("migration.bandwidth=16MiB/s,48MiB/s,32MiB/s"), "--out", "fresh")
    assert again.stdout.replace("o/", "fresh/") == fresh.stdout.replace("o/", "fresh/")
    assert tree(folder / "o") == tree(folder / "fresh")
    forced = compare(folder, *varied("migration.bandwidth=16MiB/s,48MiB/s,32MiB/s"), "--out", "o", "--force", "--quiet")
    assert (forced.returncode, forced.stderr) == (0, "")
    assert tree(folder / "o") == tree(folder / "fresh")
    assert all(path.stat().st_mtime_ns > mtime_ns for path, mtime_ns in before.items())


def test_a_file_that_is_not_whole_is_run_again(folder: Path) -> None:
    assert compare(folder, *varied(LIMIT), "--out", "o").returncode == 0
    whole = tree(folder / "o")
    next((folder / "o" / "runs").iterdir()).write_bytes(b'{"format": "hostsim-compare-run/1"')
    again = compare(folder, *varied(LIMIT), "--out", "o")
    assert again.stderr == "1 of 2 runs are finished in o; --force runs them again\n"
    assert tree(folder / "o") == whole


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (varied("link.bandwith=1Gbit/s,2Gbit/s"), ["--vary: link.bandwith: got an unknown key, wanted 'bandwidth'"]),
        (varied("migration.bandwidth=1Gbit,2", LIMIT), ["got '1Gbit'", "got 2,"]),
        ([*varied(BANDWIDTH), "--set", "migration.bandwidth=1MiB/s"], ["a key that --set has too"]),
        ([*varied(BANDWIDTH), "--seeds", "501"], ["got 1002 runs (2 x 501 seeds), wanted at most 1000 runs"]),
        ([*varied(BANDWIDTH), "--out", "quick.toml"], ["is not a folder"]),
        ([], ["--vary"]),
    ],
)
def test_input_that_cannot_be_right(folder: Path, arguments: list[str], says: list[str]) -> None:
    done = compare(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert [text for text in says if text not in done.stderr] == []
    assert "Traceback" not in done.stderr
    assert set(tree(folder)) == {"quick.toml", "drawn.toml"}


def test_a_scenario_that_is_not_there(folder: Path) -> None:
    done = compare(folder, *varied(BANDWIDTH, LIMIT), file="gone.toml")
    assert done.returncode == 2
    assert done.stderr.count("gone.toml: file: got No such file or directory") == 1


def test_workers_that_do_not_fit_are_refused(folder: Path) -> None:
    memory = ("--set", "vm.memory=64TiB", "--workers", "2", "--no-files")
    done = compare(folder, *varied(LIMIT), *memory)
    assert done.returncode == 2
    assert "error: --workers: got 2, whose simulations take" in done.stderr


def test_a_run_that_fails_leaves_the_others(folder: Path) -> None:
    """The second guest is far too large for any machine; the first runs."""
    done = compare(folder, *varied("vm.memory=64MiB,32TiB"), "--out", "o")
    assert done.returncode == 2
    assert "VERDICT: 1 of 2 combinations converge; not: vm.memory=32TiB (failed)." in done.stdout
    assert "free on this machine" in done.stderr
    assert "replay: hostsim run quick.toml --set vm.memory=32TiB --seed 1" in done.stderr
    assert len(records(folder / "o")) == 1


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_broken_invariant_is_3_and_leaves_the_others(folder: Path, workers: str) -> None:
    (folder / "both.toml").write_text(TOUCHES_128_OR_NOT)
    vary = varied("vm.workload.0.at=0B,1MiB")
    options = ("compare", "both.toml", *vary, "--out", "o", "--workers", workers)
    done = run_plain("tests.helpers.broken", "a page has no record", *options, cwd=folder)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "replay: hostsim run both.toml --set 'vm.workload[0].at=0B' --seed 1" in done.stderr
    content = json.loads((folder / "o" / "compare.json").read_text())
    assert content["combinations"][0]["statuses"] == ["failed"]
    assert content["runs"][1]["figures"] is not None
    assert len(records(folder / "o")) == 1


def test_a_full_disk_leaves_whole_files(folder: Path) -> None:
    assert compare(folder, *varied(LIMIT), "--no-files").returncode == 0  # compiled loops are cached now
    for limit_bytes, files in ((2_000, {"o/"}), (35_000, {"o/", "o/runs/"})):
        arguments = ("compare", "quick.toml", *varied(LIMIT), "--out", "o")
        done = limited_hostsim(*arguments, file_bytes=limit_bytes, cwd=folder)
        assert (done.returncode, done.stdout) == (2, "")
        assert "cannot write: File too large" in done.stderr
        found = set(tree(folder)) - {"quick.toml", "drawn.toml"}
        assert {name for name in found if not name.endswith(".json")} == files
    for content in records(folder / "o").values():
        assert json.loads(content)["figures"]["status"] == "completed"


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_leaves_finished_runs_and_no_process(folder: Path, workers: str) -> None:
    """The first two combinations end at once, the others never."""
    (folder / "hopeless.toml").write_text(HOPELESS)
    vary = varied("vm.workload.0.write_rate=1/s,2/s,1M/s,2M/s,3M/s")
    options = ("--out", "o", "--workers", workers)
    process = started("compare", "hopeless.toml", *vary, *options, cwd=folder, start_new_session=True)
    end_s = time.monotonic() + PATIENCE_S
    while len(list((folder / "o" / "runs").glob("*.json")) if (folder / "o" / "runs").exists() else []) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end_s
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, ""), err
    assert err.splitlines()[0] == "2 runs are finished in o/runs: the same command goes on from there"
    assert "Traceback" not in err
    kept = records(folder / "o")
    assert set(tree(folder / "o")) == {"plan.json", "runs/"} | set(kept)
    assert len(kept) == 2
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    again = compare(folder, *varied("vm.workload.0.write_rate=1/s,2/s"), "--out", "o", file="hopeless.toml")
    assert again.stderr == "2 of 2 runs are finished in o; --force runs them again\n"
    assert records(folder / "o") == kept


def test_a_guest_without_migration_is_compared_too(folder: Path) -> None:
    (folder / "guest.toml").write_text('duration = "1s"\n' + QUICK.partition("[migration]")[0])
    done = compare(folder, *varied("vm.vcpus=1,2"), "--no-files", file="guest.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERDICT: 2 of 2 combinations ran to their end; the scenario has no migration.")


def test_markdown_can_be_pasted(folder: Path) -> None:
    done = compare(folder, *varied(LIMIT), "--no-files", "--format", "markdown")
    assert any(line.startswith("| downtime_limit |") for line in done.stdout.splitlines())


def test_a_sweep_is_the_comparison_of_its_file(folder: Path) -> None:
    study = 'scenario = "drawn.toml"\nreplications = 2\n[vary]\nmigration.bandwidth = ["32MiB/s", "64MiB/s"]\n'
    (folder / "limits.toml").write_text(study)
    done = hostsim("sweep", "limits.toml", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads(done.stdout)
    same = json.loads(compare(folder, *varied(BANDWIDTH), "--seeds", "2", "--json", "--no-files", file="drawn.toml").stdout)
    assert content["runs"] == same["runs"]
    assert content["combinations"] == same["combinations"]
    assert (folder / "out" / "limits" / "compare.json").read_text() == done.stdout
    again = hostsim("sweep", "limits.toml", "--quiet", cwd=folder)
    assert again.stderr == "4 of 4 runs are finished in out/limits; --force runs them again\n"


def test_a_study_that_is_wrong_is_2(folder: Path) -> None:
    (folder / "bad.toml").write_text('scenario = "drawn.toml"\nreplications = 0\n[vary]\nmigration.bandwith = ["1MiB/s"]\n')
    done = hostsim("sweep", "bad.toml", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "bad.toml: replications: got 0" in done.stderr
