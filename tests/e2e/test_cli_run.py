"""`hostsim run`, as its user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.command import HOPELESS, HOSTSIM, PATIENCE_S, QUICK, environment, hostsim, installed, started, tree

FILES = {
    "run.json", "provenance.json", "rounds.csv", "rounds.parquet", "series.csv", "series.parquet", "migration.png",
    "migration.svg", "verdict.txt",
}  # fmt: skip


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return path


@pytest.fixture
def hopeless(tmp_path: Path) -> Path:
    path = tmp_path / "hopeless.toml"
    path.write_text(HOPELESS)
    return path


def script(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(text)
    return path


def test_a_run_tells_the_verdict_the_rounds_and_the_files(quick: Path) -> None:
    done = hostsim("run", quick, cwd=quick.parent, draws=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("VERDICT:")
    assert lines.index("") <= 8
    assert "Rounds" in done.stdout
    assert {line.strip() for line in lines[lines.index("Files:") + 1 :]} == {f"out/quick/{name}" for name in FILES}
    assert set(tree(quick.parent / "out" / "quick")) == FILES
    assert (quick.parent / "out" / "quick" / "verdict.txt").read_text().startswith(lines[0])


def test_the_answer_has_the_names_of_qmp(quick: Path) -> None:
    hostsim("run", quick, "--out", "o", cwd=quick.parent)
    content = json.loads((quick.parent / "o" / "run.json").read_text())
    answer = content["migrations"][0]
    assert set(answer) == {"status", "total-time", "setup-time", "downtime", "ram"}
    assert answer["status"] == "completed"
    assert answer["ram"]["remaining"] == 0
    assert len(content["rounds"][0]) == answer["ram"]["dirty-sync-count"]


def test_json_is_run_json_and_nothing_else(quick: Path) -> None:
    done = hostsim("run", quick, "--json", "--out", "o", cwd=quick.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (quick.parent / "o" / "run.json").read_text()


def test_no_files_writes_none(quick: Path) -> None:
    before = tree(quick.parent)
    done = hostsim("run", quick, "--no-files", cwd=quick.parent)
    assert done.returncode == 0
    assert "Files:" not in done.stdout
    assert tree(quick.parent) == before


@pytest.mark.long
def test_running_again_gives_the_same_bytes(quick: Path) -> None:
    """In another process, too: sets of text have another order there."""
    there = installed("run", quick, "--out", "a", cwd=quick.parent)
    here = hostsim("run", quick, "--out", "b", cwd=quick.parent, draws=True)
    assert (here.returncode, here.stdout.replace(" b/", " a/"), here.stderr) == (0, there.stdout, there.stderr)
    assert tree(quick.parent / "a") == tree(quick.parent / "b")


def test_set_and_seed_are_in_the_result(quick: Path) -> None:
    done = hostsim("run", quick, "--set", "vm.memory=96MiB", "--seed", "7", "--json", "--no-files", cwd=quick.parent)
    content = json.loads(done.stdout)
    assert content["seed"] == 7
    assert content["scenario"]["vm"]["memory"] == "96MiB"


def test_markdown_can_be_pasted(quick: Path) -> None:
    done = hostsim("run", quick, "--format", "markdown", "--no-files", cwd=quick.parent)
    assert done.returncode == 0
    assert "VERDICT" in done.stdout.splitlines()[0]
    assert any(line.startswith("|") for line in done.stdout.splitlines())


def test_a_guest_without_migration_just_runs(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_text('duration = "1s"\n' + QUICK.partition("[migration]")[0])
    done = hostsim("run", "guest.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "guest" in done.stdout
    assert set(tree(tmp_path / "out" / "quick")) == {"run.json", "provenance.json"}


@pytest.mark.parametrize(("flag", "code"), [([], 0), (["--fail-if-not-converged"], 1)])
def test_not_converging_is_an_exit_code_on_demand(hopeless: Path, flag: list[str], code: int) -> None:
    done = hostsim("run", hopeless, "--set", "duration=20s", "--no-files", *flag, cwd=hopeless.parent)
    assert done.returncode == code
    assert done.stdout.startswith("VERDICT:")


def test_converging_passes_on_demand(quick: Path) -> None:
    assert hostsim("run", quick, "--no-files", "--fail-if-not-converged", cwd=quick.parent).returncode == 0


def test_what_cannot_converge_is_not_asked_to(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_text(QUICK.partition("[migration]")[0])
    done = hostsim("run", "guest.toml", "--fail-if-not-converged", cwd=tmp_path)
    assert done.returncode == 2
    assert "guest.toml: migration: got none, wanted a [migration] table" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "quick.toml", "--speed", "9"], ["run", "quick.toml", "--seed", "x"], ["walk"]]
)
def test_a_wrong_command_line_is_2(quick: Path, arguments: list[str]) -> None:
    done = hostsim(*arguments, cwd=quick.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_arguments_after_a_scenario_are_refused(quick: Path) -> None:
    done = hostsim("run", quick, "vm.memory=1GiB", cwd=quick.parent)
    assert done.returncode == 2
    assert "--set KEY=VALUE" in done.stderr


@pytest.mark.long
def test_a_reader_that_stops_reading_is_no_error(quick: Path) -> None:
    command = ["sh", "-c", f"'{HOSTSIM}' run {quick.name} --json --no-files | head -c 1"]
    done = subprocess.run(
        command, cwd=quick.parent, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.stdout, done.stderr) == ("{", "")


def test_the_version_is_told(tmp_path: Path) -> None:
    done = installed("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("hostsim ")


# -- scripts


def test_a_script_runs_as_main_with_its_arguments_and_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("WORD = 'found'\n")
    text = "import sys\nfrom neighbour import WORD\nif __name__ == '__main__':\n    print(WORD, sys.argv[1:])\n"
    done = hostsim("run", script(tmp_path, text), "--", "--fast", "3", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "found ['--fast', '3']\n", "")


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("import sys\nsys.exit(5)", 5, ""),
        ("import sys\nsys.exit('no luck')", 1, "no luck\n"),
        ("import sys\nsys.exit()", 0, ""),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("from hostsim.core.errors import OutputError\nraise OutputError('disk full')", 2, "error: disk full\n"),
        ("from hostsim.core.errors import InvariantError\nraise InvariantError('lost')", 3, "error: lost\n"),
        ("raise MemoryError('17 TiB')", 2, "error: not enough memory on this machine: 17 TiB\n"),
    ],
)
def test_the_end_of_a_script_is_the_end_of_the_command(tmp_path: Path, text: str, code: int, message: str) -> None:
    done = hostsim("run", script(tmp_path, text), cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_script_is_shown_as_python_does(tmp_path: Path) -> None:
    done = installed("run", script(tmp_path, "x = 1 / 0\n"), cwd=tmp_path)
    assert done.returncode == 1
    assert 'script.py", line 1' in done.stderr


def test_options_of_scenarios_are_refused_for_scripts(tmp_path: Path) -> None:
    done = hostsim("run", script(tmp_path, "print('ran')"), "--seed", "3", "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--seed" in done.stderr
    assert "--json" in done.stderr


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    done = hostsim("run", "gone.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "gone.py: file: got No such file or directory" in done.stderr


# -- Ctrl-C


def interrupted(arguments: list[str], cwd: Path, ready: Path | None) -> tuple[int, str, str]:
    """Exit code and output of a command that gets SIGINT once ``ready`` is there, or after it has worked a while."""
    process = started(*arguments, cwd=cwd)
    end_s = time.monotonic() + PATIENCE_S
    while not (ready.exists() if ready else cpu_s(process.pid) > 2.2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end_s
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def cpu_s(pid: int) -> float:
    """Processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
def test_ctrl_c_in_a_script(tmp_path: Path) -> None:
    text = "import pathlib, time\npathlib.Path('ready').touch()\ntime.sleep(600)\n"
    path = script(tmp_path, text)
    code, out, err = interrupted(["run", path.name], tmp_path, tmp_path / "ready")
    assert (code, out) == (130, "")
    assert err.startswith("interrupted")
    assert "Traceback" not in err


@pytest.mark.long
def test_ctrl_c_in_a_run_leaves_finished_files_and_nothing_else(quick: Path, hopeless: Path) -> None:
    assert hostsim("run", quick, "--out", "o", cwd=quick.parent).returncode == 0
    before = tree(quick.parent)
    code, out, err = interrupted(["run", hopeless.name, "--out", "o"], quick.parent, None)
    assert (code, out) == (130, "")
    assert err.startswith("interrupted")
    assert "Traceback" not in err
    assert tree(quick.parent) == before
