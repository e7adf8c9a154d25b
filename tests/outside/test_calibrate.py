"""`hostsim calibrate`, through the installed command. The tests compare its numbers by order only, never by time."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from hostsim.cli.calibrate_cmd import calibrate_command
from hostsim.cli.errors_cli import exit_code_of
from hostsim.costs.costs import load_costs
from hostsim.measure.calibrate import calibration
from tests.helpers.command import HOSTSIM, PATIENCE_S, environment, hostsim, limited, started, tree
from tests.helpers.loaded import HEAVY, LOADED
from tests.unit.test_calibrate_sheet import made

QUICK = ("calibrate", "--quick")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a quick calibration has been made with --json."""
    folder = tmp_path_factory.mktemp("calibrated")
    done = hostsim(*QUICK, "--json", "--out", "deep/mine.toml", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "told.json").write_text(done.stdout)
    return folder


def test_the_sheet_loads_and_its_levels_are_in_order(measured: Path) -> None:
    assert set(tree(measured)) == {"deep/", "deep/mine.toml", "told.json"}
    told, sheet = json.loads((measured / "told.json").read_text()), load_costs(str(measured / "deep" / "mine.toml"))
    assert {number["name"]: number["value"] for number in told["numbers"]}.items() <= {
        name: number.value for name, number in sheet.numbers.items()
    }.items()
    assert {"line_stream_ns", "random_store_ns", "clear_page_ns", "populate_ns", "get_page_ns"} <= {
        number["name"] for number in told["numbers"] if number["source"].startswith("measured on ")
    }
    assert sheet.dram_ns >= sheet.l1_ns
    assert sheet.numbers["exit_ns"].source.startswith("assumed: as cascade-lake")
    assert all(point["load_ns"] > 0 for point in told["curve"])


def test_a_selftest_takes_it(measured: Path) -> None:
    test = ("kvm-selftest", "dirty_log_perf_test", "-b", "4M", "--json", "--sheet")
    done = hostsim(*test, "deep/mine.toml", cwd=measured)
    assert (done.returncode, done.stderr) == (0, "")
    sheets = {"mine": load_costs(str(measured / "deep" / "mine.toml")), "base": load_costs("cascade-lake")}
    populated = {name: json.loads(hostsim(*test, path, cwd=measured).stdout)["phases"][0]["duration_ns"]
                 for name, path in (("mine", "deep/mine.toml"), ("base", "cascade-lake"))}  # fmt: skip
    more_ns = round(sheets["mine"].populate_ns + sheets["mine"].exit_ns) - round(
        sheets["base"].populate_ns + sheets["base"].exit_ns
    )
    assert populated["mine"] - populated["base"] == 1024 * more_ns


def test_a_table_and_the_file(tmp_path: Path) -> None:
    done = hostsim(*QUICK, "--base", "haswell", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "wrote out/costs.toml; its other numbers are assumed: those of haswell"
    assert any(line.split()[:1] == ["populate_ns"] for line in lines)
    assert 'otherwise = "haswell"' in (tmp_path / "out" / "costs.toml").read_text()


@pytest.mark.parametrize(
    ("options", "key", "example"),
    [
        (("--base", "haswel"), "--base", "haswell"),
        (("--base", "mine.toml"), "--base", "arm64-jing"),
        (("--out", "mine.txt"), "--out", "--out my-host.toml"),
    ],
)
def test_bad_options_are_told_before_anything_is_measured(
    options: tuple[str, ...], key: str, example: str, tmp_path: Path
) -> None:
    done = hostsim(*QUICK, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {key}: got ")
    assert done.stderr.endswith(f"example: {example}\n")
    assert list(tmp_path.iterdir()) == []


def test_plain_python_measures_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [HOSTSIM, *QUICK], cwd=tmp_path, env=environment(NUMBA_DISABLE_JIT="1"), capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "NUMBA_DISABLE_JIT" in done.stderr


@pytest.mark.parametrize(
    ("out", "reason"),
    [("file/x.toml", "is not a folder"), ("/proc/x.toml", "No such file or directory"), ("folder.toml", "a folder stands"),
     ("/sys/kernel/x.toml", "")],
)  # fmt: skip
def test_nowhere_to_write_is_said_first(out: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.toml").mkdir()
    done = hostsim(*QUICK, "--out", out, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot write" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == {"file": b"mine", "folder.toml/": b""}


@pytest.mark.parametrize("before", [b"old", None])
def test_a_full_disk_leaves_what_was_there(before: bytes | None, tmp_path: Path) -> None:
    """Room for a few bytes only: the file that is there stays as it is."""
    if before:
        (tmp_path / "mine.toml").write_bytes(before)
    done = limited(lambda: write(tmp_path), 64, tmp_path)
    assert done.returncode == 2
    assert "mine.toml: cannot write: File too large" in done.stderr
    assert tree(tmp_path) == ({"mine.toml": before} if before else {})


def write(folder: Path) -> int:
    """Exit code of writing a made-up calibration: the same code without the measuring."""
    found = made(calibration.MachineFacts("x", False, (), None, None), ())
    with mock.patch.object(calibration, "calibrate", return_value=found):
        return exit_code_of(lambda: calibrate_command(out=folder / "mine.toml"))


def test_the_made_up_calibration_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (write(tmp_path), capsys.readouterr().err) == (0, "")
    assert load_costs(str(tmp_path / "mine.toml")).machine == "x"


def test_ctrl_c_leaves_no_file(tmp_path: Path) -> None:
    running = started("calibrate", cwd=tmp_path)
    time.sleep(3)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, out) == (130, "")
    assert err.startswith("interrupted")
    assert tree(tmp_path) == {}


def on_a_terminal(command: list[str], cwd: Path, enough: Callable[[bytes], bool]) -> bytes:
    """The output of ``command`` to standard error on a terminal, until it is ``enough``."""
    ours, theirs = pty.openpty()
    running = subprocess.Popen(command, cwd=cwd, env=environment(TERM="xterm"), stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while not enough(seen) and (more := os.read(ours, 4096)):
            seen += more
    except OSError:  # the terminal closes with the command
        pass
    running.kill()
    running.wait()
    os.close(ours)
    return seen


def test_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    seen = on_a_terminal([HOSTSIM, *QUICK], tmp_path, lambda text: b"loads in" in text)
    assert b"loads in" in seen
    quiet = on_a_terminal([HOSTSIM, *QUICK, "--quiet"], tmp_path, bool)
    assert quiet == b""


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOADED, "calibrate", "--help"]
    loaded = set(json.loads(subprocess.check_output(command, cwd=tmp_path, env=environment(), text=True)))
    assert loaded & HEAVY == set()
