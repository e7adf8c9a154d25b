"""``--trace``: events named as QEMU's, as JSON lines beside the results."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.helpers.command import QUICK, hostsim
from tests.helpers.perfetto import read

NAMES = {
    "migrate_set_state", "migration_bitmap_sync_start", "migration_bitmap_sync_end", "migrate_pending_estimate",
    "migration_thread_low_pending", "migration_completion_vm_stop",
}  # fmt: skip


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return hostsim("run", "quick.toml", "--no-files", "--json", *options, cwd=folder)


def test_events_go_to_standard_error_and_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    traced, silent = run(tmp_path, "--trace", "--perfetto", "run.pftrace"), run(tmp_path)
    assert (traced.returncode, silent.returncode) == (0, 0)
    assert silent.stderr == ""
    assert traced.stdout == silent.stdout
    events = [json.loads(line) for line in traced.stderr.splitlines()]
    thread = read((tmp_path / "run.pftrace").read_bytes()).rows["vm", "migration thread"]
    told = [(event["event"], event["t_ns"]) for event in events]
    assert sorted((one.name, one.begin_ns) for one in thread.events) == sorted(told)
    assert {event["event"] for event in events} >= NAMES
    times = [event["t_ns"] for event in events]
    assert times == sorted(times)


def test_a_timeline_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "folder").mkdir()
    refused = run(tmp_path, "--perfetto", "folder")
    assert refused.returncode == 2
    assert refused.stderr == "error: folder: cannot write: a folder stands where the file should go\n"
    assert refused.stdout == ""
