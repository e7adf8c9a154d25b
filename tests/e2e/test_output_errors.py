"""Nowhere to write: a message, exit code 2, nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from resource import RLIM_INFINITY

import pytest

from hostsim.cli.errors_cli import exit_code_of
from hostsim.report.files import write_folder
from tests.helpers.command import (
    HOSTSIM,
    PATIENCE_S,
    QUICK,
    ROOT,
    environment,
    hostsim,
    limited,
    limited_hostsim,
    tree,
)
from tests.helpers.synthetic import migration, run_result

pytestmark = pytest.mark.long
WRITE = """\
import sys
from pathlib import Path
from resource import RLIM_INFINITY
from hostsim.cli.errors_cli import exit_code_of
from hostsim.report.files import write_folder
from tests.helpers.synthetic import migration, run_result

result = run_result(migration())
sys.exit(exit_code_of(lambda: write_folder(result, Path(sys.argv[1]), ["VERDICT: fine."])))
"""
"""Writes a made-up run to its argument: the same code without a simulation before it."""

LIMIT_BYTES = 40_000
"""The tables of the made-up run fit, its picture does not."""


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment(PYTHONDONTWRITEBYTECODE="1"), capture_output=True, text=True, timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip


def write(out: str, cwd: Path, file_bytes: int = RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
    """As WRITE, in a fork of this process."""
    result = run_result(migration())
    return limited(
        lambda: exit_code_of(lambda: write_folder(result, Path(out), ["VERDICT: fine."])), file_bytes, cwd
    )  # fmt: skip


def may_mount() -> bool:
    """Whether a file system can be mounted in a namespace of its own."""
    if not shutil.which("unshare"):
        return False
    try_it = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(ROOT / "tests" / "data")]
    return subprocess.run(try_it, capture_output=True, check=False).returncode == 0


def test_the_made_up_run_can_be_written(tmp_path: Path) -> None:
    done = write("out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    sizes = {name: len(content) for name, content in tree(tmp_path / "out").items()}
    assert sizes["migration.png"] > LIMIT_BYTES > sizes["run.json"]


def test_a_file_size_limit_leaves_nothing(tmp_path: Path) -> None:
    done = write("deep/out", tmp_path, LIMIT_BYTES)
    assert done.returncode == 2
    assert "deep/out" in done.stderr
    assert "cannot write: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == {}


def test_a_file_size_limit_leaves_the_files_of_the_run_before(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("old")
    assert write("out", tmp_path, LIMIT_BYTES).returncode == 2
    assert tree(tmp_path) == {"out/": b"", "out/run.json": b"old"}


FULL = ["limited file size", *["small tmpfs"] * may_mount()]


@pytest.mark.parametrize("disk", FULL)
def test_a_full_disk(tmp_path: Path, disk: str) -> None:
    (tmp_path / "disk").mkdir()
    if disk == "limited file size":
        done = write("disk/out", tmp_path, LIMIT_BYTES)
    else:
        mounted = 'mount -t tmpfs -o size=128k tmpfs disk && "$0" -c "$1" disk/out; code=$?; ls -A disk; exit $code'
        done = run(["unshare", "--mount", "sh", "-c", mounted, sys.executable, WRITE], tmp_path)
        assert "No space left on device" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert "disk/out" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("file", "is not a folder"),
        ("file/out", "is not a folder"),
        ("file/deep/out", "is not a folder"),
        ("/proc/out", "No such file or directory"),
        ("x" * 300, "File name too long"),
        ("loop/out", "is not a folder"),
        ("/dev/null", "is not a folder"),
    ],
)
def test_nowhere_to_write_is_said_before_the_run(tmp_path: Path, out: str, reason: str) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    done = hostsim("run", "quick.toml", "--out", out, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot write: {reason}" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop", "quick.toml"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    """A read-only file system refuses root as well; a folder's mode does not."""
    for_all = [HOSTSIM, "run", "quick.toml", "--out", "/sys/kernel/out"]
    (tmp_path / "quick.toml").write_text(QUICK)
    done = run(for_all, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "/sys/kernel/out" in done.stderr
    assert "cannot write" in done.stderr


def test_a_run_that_meets_a_full_disk_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    assert hostsim("run", "quick.toml", "--no-files", cwd=tmp_path).returncode == 0  # compiled loops are cached now
    done = limited_hostsim("run", "quick.toml", "--out", "out", file_bytes=LIMIT_BYTES, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot write: File too large" in done.stderr
    assert set(tree(tmp_path)) == {"quick.toml"}
