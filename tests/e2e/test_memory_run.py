"""Memory that runs short, ageing, a neighbour and a migration, through the installed command."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from unittest import mock

import pytest

from hostsim.memory.host_memory import HostMemory
from tests.helpers.command import hostsim

SCENARIO = """
duration = "900ms"
[vm]
memory = "8MiB"
vcpus = 2
dirty_tracking = "get-dirty-log"
[[vm.workload]]
pattern = "hotcold"
hot_size = "2MiB"
hot_share = "98%"
write_rate = "5000/s"
read_rate = "20000/s"
[[neighbour]]
memory = "4MiB"
filled = "none"
[[neighbour.workload]]
pattern = "sequential"
write_rate = "3000/s"
[host.memory]
size = "8MiB"
swap = "nvme"
[ageing]
policy = "idle"
period = "100ms"
[migration]
start = "300ms"
bandwidth = "64MiB/s"
"""
BAD = """
[vm]
memory = "8MiB"
[[neighbour]]
memory = "4MiB"
vcpu = 2
[host.memory]
size = "8MB"
swap = "ssd"
[ageing]
period = "0s"
"""
TABLES = {"latencies", "memory_series", "ageing_passes", "age_map", "rounds", "series"}


def run(*arguments: str, cwd: Path, draws: bool = False) -> subprocess.CompletedProcess[str]:
    return hostsim("run", *arguments, cwd=cwd, draws=draws)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memory")
    (path / "all.toml").write_text(SCENARIO)
    return path


@pytest.mark.long
def test_everything_at_once_writes_the_same_bytes_twice(folder: Path) -> None:
    first, second = (run("all.toml", "--quiet", "--out", out, cwd=folder, draws=out == "one") for out in ("one", "two"))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.replace("one/", "two/") == second.stdout
    names = sorted(path.name for path in (folder / "one").iterdir())
    assert {name.partition(".")[0] for name in names} >= TABLES | {"run", "verdict", "stall", "latencies", "age_map", "kvm"}
    alike = [name for name in names if not name.endswith((".png", ".svg"))]  # a unit test draws pictures twice
    ones, twos = ({name: (folder / out / name).read_bytes() for name in alike} for out in ("one", "two"))
    assert ones == twos
    assert "VERDICT: completed" in first.stdout
    assert [first.stdout.count(line) for line in ("Ageing: ", "Memory: vm ", "Memory: neighbour[0] ")] == [2, 1, 1]
    with (folder / "one" / "memory_series.csv").open() as file:
        assert {row["vm"] for row in csv.DictReader(file)} == {"vm", "neighbour[0]"}


def test_json_is_all_that_is_printed(folder: Path) -> None:
    done = run("all.toml", "--json", "--no-files", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["status"] == "ended"
    assert found["migrations"][0]["status"] == "completed"
    assert {row["vm"] for row in found["memory"]["vms"]} == {"vm", "neighbour[0]"}


def test_out_of_memory_is_an_answer(folder: Path) -> None:
    swapless = ["host.memory.swap=none", "vm.filled=none", "host.memory.size=4MiB", "duration=10s"]
    options = [part for key in swapless for part in ("--set", key)]
    done = run("all.toml", "--quiet", "--out", "gone", *options, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERDICT: out of memory after ")
    found = json.loads((folder / "gone" / "run.json").read_text())
    assert found["status"] == "out-of-memory"
    assert found["out_of_memory"]["t_ns"] == found["end_ns"]


def test_bad_keys_are_told_at_once(folder: Path) -> None:
    (folder / "bad.toml").write_text(BAD)
    done = run("bad.toml", "--out", "never", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    for told in (
        "bad.toml: neighbour[0].vcpu: got an unknown key, wanted 'vcpus'",
        "bad.toml: host.memory.size: got 7812.5KiB, wanted a multiple of 4KiB",
        "bad.toml: host.memory.swap: got 'ssd', wanted one of none, hdd, memory, nvme, sata-ssd, zram",
        "bad.toml: ageing.period: got 0s, wanted more than 0s",
    ):
        assert told in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "never").exists()


def test_an_invariant_that_breaks_ends_with_3(folder: Path) -> None:
    check = HostMemory.check

    def broken(memory: HostMemory) -> None:
        memory.frames.free -= memory.env.now_ns > 200_000_000
        check(memory)

    with mock.patch.object(HostMemory, "check", broken):
        done = run("all.toml", "--no-files", "--quiet", cwd=folder)
    assert done.returncode == 3
    assert "frames are used" in done.stderr
