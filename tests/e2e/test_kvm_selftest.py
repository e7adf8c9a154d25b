"""`hostsim kvm-selftest dirty_log_perf_test`, through the installed command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import environment, hostsim, installed
from tests.helpers.loaded import HEAVY, LOADED

TEST = ("kvm-selftest", "dirty_log_perf_test")
SMALL = ("-v", "2", "-b", "8M")


def told(cwd: Path, *options: str) -> dict[str, Any]:
    done = hostsim(*TEST, *SMALL, *options, "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def phases(cwd: Path, name: str, *options: str) -> list[dict[str, Any]]:
    return [phase for phase in told(cwd, *options)["phases"] if phase["phase"] == name]


def test_lines_then_a_table(tmp_path: Path) -> None:
    done = hostsim(*TEST, *SMALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Test iterations: 2"
    assert re.fullmatch(r"Populate memory time: \d+\.\d{9}s", lines[1])
    assert re.search(r"dirty memory 2 .* 4096 ", done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_json_holds_lines_and_phases(tmp_path: Path) -> None:
    answer = told(tmp_path)
    assert list(answer) == ["options", "lines", "phases"]
    assert answer["lines"][0] == "Test iterations: 2"
    assert [phase["phase"] for phase in answer["phases"]][:2] == ["populate", "enable logging"]
    assert answer["options"]["era"] == "E4"


def test_the_same_options_give_the_same_output(tmp_path: Path) -> None:
    again = installed(*TEST, *SMALL, "-o", "--json", cwd=tmp_path)
    assert told(tmp_path, "-o") == json.loads(again.stdout)


def test_options_of_the_selftest_reach_the_model(tmp_path: Path) -> None:
    found = phases(tmp_path, "dirty memory", "-f", "25%", "-i", "3", "-s", "anonymous_hugetlb_2mb", "-g")
    assert [phase["wp_faults"] for phase in found] == [1024] * 3
    lazy = ("-s", "anonymous_hugetlb_2mb", "--no-eager-split")
    assert phases(tmp_path, "dirty memory", *lazy)[0]["split_faults"] == 8


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    wrong = ("-v", "0", "-b", "1.3G", "-s", "huge", "--era", "E9", "--sheet", "skylak", "-f", "0", "-i", "1", "-x", "0")
    done = hostsim(*TEST, *wrong, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split()[1] for line in done.stderr.splitlines()] == [
        "-v:", "-i:", "-x:", "-b:", "-s:", "--sheet:", "--era:", "-f:",
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", [["kvm-selftest", "--help"], [*TEST, "--help"]])
def test_help_loads_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-c", LOADED, *arguments]
    loaded = set(json.loads(subprocess.check_output(command, cwd=tmp_path, env=environment(), text=True)))
    assert "hostsim" in loaded
    assert loaded & HEAVY == set()


def test_access_tracking_tells_lines_and_json(tmp_path: Path) -> None:
    test = ("kvm-selftest", "access_tracking_perf_test", "-v", "2", "-b", "2M", "--no-a-bits")
    done = hostsim(*test, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"Populating memory             : \d+\.\d{9}s\n", done.stdout)
    answer = json.loads(hostsim(*test, "--json", cwd=tmp_path).stdout)
    assert [phase["track_faults"] for phase in answer["phases"]] == [0, 0, 0, 0, 1024, 0, 1024]
    assert answer["options"]["a_bits"] is False


def test_access_tracking_refuses_in_one_line(tmp_path: Path) -> None:
    done = hostsim("kvm-selftest", "access_tracking_perf_test", "-p", "-b", "1M", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: -p: ")
