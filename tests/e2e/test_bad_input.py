"""Input that cannot be right: a message with file, key, got and wanted, exit code 2, and nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.command import hostsim, tree

Command = Callable[..., tuple[int, str, str]]

GUEST = """\
[vm]
memory = "64MiB"
vcpus = 2
"""
WRITER = """\
[[vm.workload]]
pattern = "uniform"
size = "8MiB"
write_rate = "100/s"
"""
MIGRATION = """\
[migration]
bandwidth = "32MiB/s"
"""
GOOD = GUEST + WRITER + MIGRATION
TRACE = '[[vm.workload]]\npattern = "trace"\nfile = "touches.csv"\n'


@dataclass(frozen=True)
class Bad:
    """A scenario, its trace and its options, and what the message says."""

    text: str | bytes
    says: tuple[str, ...]
    options: tuple[str, ...] = ()
    trace: str | bytes | None = None


def workload(*lines: str) -> str:
    return GUEST + "\n".join(["[[vm.workload]]", *lines]) + "\n" + MIGRATION


def swapped(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


FILES = {
    "empty": Bad("", ("vm: got nothing",)),
    "broken toml": Bad("[vm\nmemory", ("broken TOML", "line 1")),
    "the same key twice": Bad('[vm]\nmemory = "1MiB"\nmemory = "2MiB"\n', ("broken TOML",)),
    "binary junk": Bad(bytes(range(1, 256)), ("not UTF-8",)),
    "nul bytes": Bad(b"\0" * 100, ("a NUL byte (at byte 0)",)),
    "json": Bad('{"vm": {"memory": "4GiB"}}', ("broken TOML",)),
    "nested without end": Bad("a = " + "[" * 5000, ("broken TOML",)),
    "a number of 5000 digits": Bad("seed = " + "9" * 5000, ("broken TOML",)),
}
KEYS = {
    "unknown key": Bad(swapped("bandwidth", "bandwith"), ("migration.bandwith: got an unknown key", "'bandwidth'")),
    "unknown table": Bad(GOOD + "[lnik]\n", ("lnik: got an unknown key", "'link'")),
    "key in the wrong table": Bad('downtime_limit = "1s"\n' + GOOD, ("downtime_limit", "migration.downtime_limit")),
    "key without a near one": Bad(GOOD + "[host]\nxyzzy = 1\n", ("host.xyzzy", "one of machine, page_send_ns")),
    "memory missing": Bad("[vm]\nvcpus = 1\n", ("vm.memory: got nothing", 'memory = "4GiB"')),
    "pattern missing": Bad(workload('size = "8MiB"'), ("vm.workload[0].pattern: got nothing",)),
    "a value for a table": Bad("vm = 3\n", ("vm: got 3, wanted a table",)),
    "a table for an array": Bad(GUEST + "[vm.workload]\npattern = 'idle'\n", ("vm.workload", "array of tables")),
    "a text for a flag": Bad(GOOD + 'auto_converge = "yes"\n', ("migration.auto_converge", "true or false")),
    "a fraction for a count": Bad(swapped("vcpus = 2", "vcpus = 2.5"), ("vm.vcpus: got 2.5", "whole number")),
    "unknown pattern": Bad(swapped("uniform", "unifrom"), ("vm.workload[0].pattern: got 'unifrom'", "'uniform'")),
    "unknown profile": Bad(GOOD + 'profile = "vmware"\n', ("migration.profile", "'proxmox'")),
    "unknown version": Bad(GOOD + 'qemu = "6.0"\n', ("migration.qemu", "'10.2'")),
    "unknown machine": Bad(GOOD + '[host]\nmachine = "pdp11"\n', ("host.machine", "'generic'")),
}
UNITS = {
    "memory without unit": Bad(swapped('"64MiB"', "64"), ("vm.memory: got 64", "with its unit", '"4GiB"')),
    "memory in words": Bad(swapped("64MiB", "4GB of RAM"), ("vm.memory: got '4GB of RAM'",)),
    "memory in seconds": Bad(swapped("64MiB", "64s"), ("vm.memory: got '64s'",)),
    "negative memory": Bad(swapped("64MiB", "-64MiB"), ("vm.memory: got '-64MiB'", "not negative")),
    "no memory": Bad(swapped("64MiB", "0B"), ("vm.memory: got 0B", "at least 1MiB")),
    "absurd memory": Bad(swapped("64MiB", "65TiB"), ("vm.memory: got 65TiB", "at most 64TiB")),
    "memory beyond all numbers": Bad(swapped("64MiB", "9e99TiB"), ("vm.memory", "below 2^63")),
    "memory of half a page": Bad(swapped("64MiB", "1050624B"), ("vm.memory", "multiple of 4KiB")),
    "bandwidth in bytes": Bad(swapped("32MiB/s", "32MiB"), ("migration.bandwidth", "Gbit/s")),
    "bandwidth of a byte": Bad(swapped("32MiB/s", "1B/s"), ("migration.bandwidth: got 1B/s", "unlimited")),
    "duration nan": Bad("duration = nan\n" + GOOD, ("duration: got nan", "a duration with its unit")),
    "duration inf": Bad("duration = inf\n" + GOOD, ("duration: got inf",)),
    "duration zero": Bad('duration = "0s"\n' + GOOD, ("duration: got 0s", "more than 0s")),
    "downtime beyond QEMU's": Bad(GOOD + 'downtime_limit = "1h"\n', ("migration.downtime_limit", "at most 2000s")),
    "downtime of microseconds": Bad(GOOD + 'downtime_limit = "1500us"\n', ("downtime_limit", "whole milliseconds")),
    "negative rate": Bad(swapped("100/s", "-100/s"), ("vm.workload[0].write_rate", "not negative")),
    "rate of a minute": Bad(swapped("100/s", "100/min"), ("vm.workload[0].write_rate", "50000/s")),
    "absurd rate": Bad(swapped("100/s", "2e12/s"), ("vm.workload[0].write_rate", "at most")),
    "seed too large": Bad("seed = 9223372036854775808\n" + GOOD, ("seed", "at most 9223372036854775807")),
    "negative constant": Bad(GOOD + "[host]\npage_send_ns = -1\n", ("host.page_send_ns: got -1", "at least 1")),
}
GUESTS = {
    "no vcpus": Bad(swapped("vcpus = 2", "vcpus = 0"), ("vm.vcpus: got 0", "at least 1")),
    "too many vcpus": Bad(swapped("vcpus = 2", "vcpus = 5000"), ("vm.vcpus: got 5000", "at most 4096")),
    "a vcpu there is not": Bad(GUEST + WRITER + "vcpus = [2]\n", ("vm.workload[0].vcpus: got vCPU 2", "from 0 to 1")),
    "empty vcpus": Bad(GUEST + WRITER + "vcpus = []\n", ("vm.workload[0].vcpus: got []", '"0-3"')),
    "vcpus backwards": Bad(GUEST + WRITER + 'vcpus = "3-0"\n', ("vm.workload[0].vcpus: got '3-0'",)),
    "a vcpu twice": Bad(GUEST + WRITER + "vcpus = [0, 0]\n", ("vm.workload[0].vcpus", "each vCPU once")),
    "working set beyond memory": Bad(swapped("8MiB", "65MiB"), ("vm.workload[0].size: got 65MiB", "memory (64MiB)")),
    "region behind memory": Bad(GUEST + WRITER + 'at = "64MiB"\n', ("vm.workload[0].at: got 64MiB",)),
    "hot set beyond region": Bad(
        workload('pattern = "hotcold"', 'size = "1MiB"', 'hot_size = "2MiB"', "hot_share = 0.9", 'write_rate = "1/s"'),
        ("vm.workload[0].hot_size: got 2MiB", "at most the region (1MiB)"),
    ),
    "hot share beyond one": Bad(
        workload('pattern = "hotcold"', 'hot_size = "2MiB"', "hot_share = 1.5", 'write_rate = "1/s"'),
        ("vm.workload[0].hot_share: got 1.5", "from 0 to 1"),
    ),
    "hotcold without its hot set": Bad(workload('pattern = "hotcold"', 'write_rate = "1/s"'), ("hot_size", "hot_share")),
    "stride of half a page": Bad(
        workload('pattern = "strided"', 'stride = "2KiB"', 'write_rate = "1/s"'), ("stride", "multiple of 4KiB")
    ),
    "stride beyond region": Bad(
        workload('pattern = "strided"', 'size = "1MiB"', 'stride = "1MiB"', 'write_rate = "1/s"'), ("stride: got 1MiB",)
    ),
    "exponent nan": Bad(workload('pattern = "zipf"', "exponent = nan", 'write_rate = "1/s"'), ("exponent: got nan",)),
    "exponent zero": Bad(
        workload('pattern = "zipf"', "exponent = 0", 'write_rate = "1/s"'), ("exponent: got 0", "more than 0")
    ),
    "no rate": Bad(workload('pattern = "uniform"'), ("vm.workload[0].write_rate: got no rate at all",)),
    "idle with a rate": Bad(workload('pattern = "idle"', 'write_rate = "1/s"'), ("write_rate", "no rate with idle")),
    "stride of uniform": Bad(GUEST + WRITER + 'stride = "8KiB"\n', ("stride", 'only with pattern = "strided"')),
    "catch-up of closed": Bad(GUEST + WRITER + "catch_up = 2.0\n", ("catch_up", 'only with pacing = "open"')),
    "late ticks without ticks": Bad(GUEST + WRITER + 'tick_late = "2ms"\n', ("tick_late", "a tick")),
    "uneven split": Bad(
        workload('pattern = "uniform"', 'size = "12KiB"', "split = true", 'write_rate = "1/s"'),
        ("vm.workload[0].size: got 3 pages", "divide by the 2 vCPUs"),
    ),
    "window longer than its period": Bad(
        GUEST + WRITER + 'active = { length = "3s", period = "2s" }\n', ("vm.workload[0].active.period: got 2s",)
    ),
    "duplicate names": Bad(
        GUEST + (WRITER + 'name = "w"\n') * 2, ("vm.workload[1].name: got 'w'", "vm.workload[0]", "a name of its own")
    ),
    "a name that is a path": Bad(GUEST + WRITER + 'name = "../up"\n', ("vm.workload[0].name", "letters, digits")),
    "overlapping fills": Bad(
        GUEST + '[[vm.fill]]\nsize = "2MiB"\n[[vm.fill]]\nat = "1MiB"\nsize = "2MiB"\n' + MIGRATION,
        ("vm.fill[1].at: got a start at 1MiB", "overlap"),
    ),
    "fill beyond memory": Bad(GUEST + '[[vm.fill]]\nat = "63MiB"\nsize = "2MiB"\n', ("vm.fill[0].size", "inside memory")),
    "filled contradicts fills": Bad(
        GUEST + 'filled = "all"\n[[vm.fill]]\nsize = "2MiB"\n', ("vm.filled: got 'all'", "[[vm.fill]]")
    ),
    "ramblock named as the main one": Bad(
        GUEST + '[[vm.ramblock]]\nname = "pc.ram"\nsize = "1MiB"\n', ("vm.ramblock[0].name", "a name of its own")
    ),
    "ramblock larger than the main one": Bad(
        GUEST + '[[vm.ramblock]]\nname = "big"\nsize = "65MiB"\n', ("vm.ramblock[0].size", "vm.memory (64MiB)")
    ),
}
MIGRATIONS = {
    "start after the end": Bad('duration = "5s"\n' + GOOD + 'start = "5s"\n', ("migration.start: got 5s", "end of the run")),
    "threshold of 101": Bad(GOOD + "throttle_trigger_threshold = 101\n", ("throttle_trigger_threshold", "at most 100")),
    "throttle of 100": Bad(GOOD + "max_cpu_throttle = 100\n", ("max_cpu_throttle", "at most 99")),
    "first throttle above the last": Bad(
        GOOD + "cpu_throttle_initial = 50\nmax_cpu_throttle = 40\n",
        ("cpu_throttle_initial: got 50", "max_cpu_throttle (40)"),
    ),
    "a parameter 7.2 has not": Bad(
        GOOD + 'qemu = "7.2"\navail_switchover_bandwidth = "1GB/s"\n', ("avail_switchover_bandwidth", '"10.0" or later')
    ),
}
OPTIONS = {
    "set without a value": Bad(GOOD, ("--set: got 'vm.vcpus'", "KEY=VALUE"), ("--set", "vm.vcpus")),
    "set without a key": Bad(GOOD, ("--set: got '=4'", "KEY=VALUE"), ("--set", "=4")),
    "set of an unknown key": Bad(GOOD, ("--set: link.bandwith", "'bandwidth'"), ("--set", "link.bandwith=5Gbit/s")),
    "set without unit": Bad(GOOD, ("--set: link.bandwidth: got 5", "10Gbit/s"), ("--set", "link.bandwidth=5")),
    "set beyond an array": Bad(
        GOOD, ("--set: vm.workload[7]", "no vm.workload[7]"), ("--set", "vm.workload.7.size=1MiB")
    ),
    "set into a value": Bad(GOOD, ("--set: vm.memory.size",), ("--set", "vm.memory.size=1MiB")),
    "negative seed": Bad(GOOD, ("--seed: seed: got -1",), ("--seed=-1",)),
}
TRACES = {
    "trace without file": Bad(workload('pattern = "trace"'), ("vm.workload[0].file: got nothing",)),
    "trace missing": Bad(GUEST + TRACE + MIGRATION, ("touches.csv: file: got No such file",)),
    "file of uniform": Bad(GUEST + WRITER + 'file = "touches.csv"\n', ("file", 'only with pattern = "trace"')),
    "trace empty": Bad(GUEST + TRACE, ("touches.csv: file: got no touches",), trace=""),
    "trace of binary junk": Bad(GUEST + TRACE, ("touches.csv:1", "not UTF-8"), trace=b"\xff\xd8\xff"),
    "trace with a short line": Bad(GUEST + TRACE, ("touches.csv:2: line: got 3 fields",), trace="0,0,1,w\n1,0,1\n"),
    "trace before time": Bad(GUEST + TRACE, ("touches.csv:1: time: got '-1'",), trace="-1,0,1,w\n"),
    "trace out of order": Bad(GUEST + TRACE, ("touches.csv:2: time: got 4", "do not fall"), trace="5,0,1,w\n4,0,1,w\n"),
    "trace of neither read nor write": Bad(GUEST + TRACE, ("touches.csv:1: rw: got 'x'", "r or w"), trace="5,0,1,x\n"),
    "trace beyond memory": Bad(GUEST + TRACE, ("gfn: got 16384", "below 16384"), trace="5,0,16384,w\n"),
    "trace of another vcpu": Bad(GUEST + TRACE, ("vcpu: got vCPU 2",), trace="5,2,1,w\n"),
}
CASES = FILES | KEYS | UNITS | GUESTS | MIGRATIONS | OPTIONS | TRACES


def lay_out(folder: Path, bad: Bad) -> None:
    (folder / "bad.toml").write_bytes(bad.text if isinstance(bad.text, bytes) else bad.text.encode())
    if bad.trace is not None:
        (folder / "touches.csv").write_bytes(bad.trace if isinstance(bad.trace, bytes) else bad.trace.encode())


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES)
def test_bad_input_is_explained(bad: Bad, command: Command, tmp_path: Path) -> None:
    lay_out(tmp_path, bad)
    before = tree(tmp_path)
    code, out, err = command("run", "bad.toml", "--quiet", *bad.options)
    assert (code, out) == (2, "")
    assert [words for words in bad.says if words not in err] == []
    assert "Traceback" not in err
    assert tree(tmp_path) == before


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize(
    ("path", "says"), [("missing.toml", "No such file"), ("folder", "directory"), ("bad.toml/x", "Not a directory")]
)
def test_what_is_no_file_is_explained(path: str, says: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    lay_out(tmp_path, Bad(GOOD, ()))
    code, _, err = command("run", path, "--quiet")
    assert code == 2
    assert says in err


def test_an_unreadable_file_is_explained(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root reads a file of mode 000 as well, so the test raises the error that the kernel gives to others.
    lay_out(tmp_path, Bad(GOOD, ()))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refuse)
    code, _, err = command("run", "bad.toml", "--quiet")
    assert code == 2
    assert "bad.toml: file: got Permission denied" in err


def test_the_installed_command_lists_all_problems_at_once(tmp_path: Path) -> None:
    text = swapped("64MiB", "4GB of RAM").replace("vcpus", "vcpu") + 'downtime_limit = "5"\n'
    lay_out(tmp_path, Bad(text, ()))
    done = hostsim("run", "bad.toml", "--set", "seed=x", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    keys = ("vm.memory", "vm.vcpu", "migration.downtime_limit", "--set: seed")
    assert [key for key in keys if key not in done.stderr] == []
    assert len(done.stderr.splitlines()) == len(keys)
