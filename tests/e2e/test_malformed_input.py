"""Hundreds of malformed inputs: a message or an answer, never a traceback, a long wait, or a gigabyte."""

from __future__ import annotations

import io
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest

from hostsim.core.errors import HostsimError
from tests.helpers.app_once import app_once
from tests.helpers.malformed import damaged, said_exceptions

SECONDS_MAX = 10.0
BYTES_MAX = 1 << 30
DRAWN = 40
FEW = 12
"""Of each kind of file, by default."""

SCENARIO = """\
name = "base"
question = "Does it load?"
seed = 3
duration = "1s"
[vm]
memory = "16MiB"
vcpus = 2
dirty_tracking = "get-dirty-log"
[[vm.workload]]
name = "writer"
pattern = "hotcold"
size = "8MiB"
hot_size = "1MiB"
hot_share = 0.9
write_rate = "2000/s"
active = { length = "1s", period = "2s" }
[[vm.workload]]
pattern = "trace"
file = "touches.csv"
[[vm.fill]]
size = "8MiB"
[migration]
bandwidth = "1Gbit/s"
downtime_limit = "300ms"
[link]
bandwidth = "10Gbit/s"
"""
COSTED = '[vm]\nmemory = "16MiB"\ndirty_tracking = "get-dirty-log"\n[vm.mmu]\ncosts = "sheet.toml"\n[migration]\n'
TRACE = "time,vcpu,gfn,rw\n" + "".join(f"{1000 * i},{i % 2},{i},{'rw'[i % 3 == 0]}\n" for i in range(20))
STUDY = 'scenario = "base.toml"\nreplications = 2\n[set]\n"vm.vcpus" = 2\n[vary]\n"link.latency" = ["1ms", "2ms"]\n'
LOG = (Path(__file__).parents[1] / "data" / "logs" / "query_migrate_samples.jsonl").read_bytes()[:6000].rpartition(b"\n")[
    0
] + b"\n"
SHEET = (files("hostsim") / "data" / "costs" / "cascade-lake.toml").read_bytes()
VIRSH = (
    b"Job type:         Unbounded\nTime elapsed:     1234 ms\nData processed:   1.5 GiB\nData remaining:   2.25 GiB\n" * 3
)


class Input(NamedTuple):
    """The file that is damaged, what it is without damage, and the command that reads it."""

    name: str
    content: bytes
    command: tuple[str, ...]


KINDS = {
    "scenario": Input("base.toml", SCENARIO.encode(), ("run", "base.toml", "--no-files")),
    "trace": Input("touches.csv", TRACE.encode(), ("run", "base.toml", "--no-files")),
    "study": Input("study.toml", STUDY.encode(), ("sweep", "study.toml", "--no-files")),
    "sheet": Input("sheet.toml", SHEET, ("run", "costed.toml", "--no-files")),
    "log": Input("migration.log", LOG, ("explain", "migration.log")),
    "text log": Input("migration.log", VIRSH, ("explain", "migration.log")),
    "script": Input("script.py", b'"""A script."""\nprint(1 + 1)\n', ("scenarios",)),
}
KEYS = (
    "vm.memory",
    "vm.vcpus",
    "seed",
    "name",
    "vm.workload.0.size",
    "vm.workload.0.vcpus",
    "vm.workload[1].file",
    "migration.downtime_limit",
    "link.bandwidth",
    "vm",
    "vm.workload",
    "x",
    "",
    ".",
    "vm..memory",
    "[0]",
    "a" + ".a" * 500,
    "vm.mmu.costs",
    "migration.qemu",
    "host.memory",
)
VALUES = (
    "",
    "0",
    "-1",
    "9" * 400,
    "1e400",
    "nan",
    "inf",
    "[]",
    "{}",
    "[[[[",
    "{a=1}",
    "true",
    '"',
    "'",
    "4GiB",
    "4 GiB",
    "4gib",
    "1e99TiB",
    "10Gbit/s",
    "unlimited",
    "٣",
    "\0",
    "a\nb",
    "/dev/zero",
    "..",
    "x" * 20_000,
    "1979-05-27",
    "\ufeff4GiB",
    "[" * 3000,
)
WORDS = (
    "",
    "x",
    "0",
    "-1",
    "1.5",
    "nan",
    "9" * 30,
    "9" * 5000,
    "1,2,",
    ",",
    "1e3",
    "4GiB",
    "/dev/zero",
    "fifo",
    ".",
    "٣",
    "zipf:",
    "zipf:nan",
    "zipf:1e400",
    "\0",
    "p99=",
    "p99=1ms,p99=2ms",
    "json",
    "two-list,",
    "E9",
    "é" * 300,
)
COMMANDS = {
    "age": (
        "--policy",
        "--vcpus",
        "--mem-per-vcpu",
        "--index",
        "--era",
        "--notifier",
        "--under",
        "--sheet",
        "--mmu",
        "--load",
        "--rate",
        "--period",
        "--passes",
        "--seed",
        "--reps",
        "--workers",
        "--format",
        "--max-runs",
    ),
    "reclaim": (
        "--memory",
        "--used",
        "--vcpus",
        "--load",
        "--rate",
        "--writes",
        "--ages",
        "--budget",
        "--swap",
        "--policy",
        "--bandwidth",
        "--timeout",
        "--era",
        "--sheet",
        "--scan",
        "--measure",
        "--seed",
        "--reps",
    ),
    "kvm-selftest dirty_log_perf_test": ("-v", "-b", "-i", "-f", "-x", "-s", "--era", "--sheet", "--mmu"),
    "kvm-selftest access_tracking_perf_test": ("-v", "-b", "--era", "--sheet", "--mmu"),
    "compare base.toml": ("--vary", "--set", "--seed", "--seeds", "--workers", "--max-runs"),
    "explain migration.log": ("--tag", "--downtime-limit", "--bandwidth", "--link", "--profile", "--format"),
    "validate": ("--suite", "--cases", "--jobs"),
    "debate": ("--sheet", "--format"),
    "calibrate": ("--base",),
    "warm-up": ("--what",),
    "schema": ("--format",),
    "scenarios": ("--copy",),
}


class StoppedError(HostsimError):
    """The command has read its input, and would work now."""


def stop(*_: object, **__: object) -> None:
    raise StoppedError("stopped: the input is right")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("malformed")
    (where / "costed.toml").write_text(COSTED)
    (where / "scenarios").mkdir()
    os.mkfifo(where / "fifo")
    put_back(where)
    return where


def put_back(where: Path) -> None:
    for one in KINDS.values():
        place(where, one).write_bytes(one.content)


def place(where: Path, one: Input) -> Path:
    return where / ("scenarios" if one.name == "script.py" else ".") / one.name


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Callable[..., tuple[int, str]]]:
    """``hostsim ...`` in this process up to where it would begin to work; checks what holds for every answer."""
    import hostsim.cli.run_plan
    import hostsim.cli.warm_up_cmd
    import hostsim.simulation
    from hostsim import validation
    from hostsim.cli.main import main
    from hostsim.measure.calibrate import calibration
    from hostsim.measure.selftest import access_tracking_perf_test, dirty_log_perf_test
    from hostsim.study.rmap_debate import debate

    for home, name in (
        (hostsim.simulation, "run"),
        (hostsim.cli.run_plan, "run_what_is_left"),
        (hostsim.cli.warm_up_cmd, "prepare"),
        (debate, "run_claims"),
        (calibration, "calibrate"),
        (validation, "run_suites"),
        (dirty_log_perf_test, "run_selftest"),
        (access_tracking_perf_test, "run_access_test"),
    ):
        monkeypatch.setattr(home, name, stop)
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hostsim", *arguments])
        out, err, began_s = io.StringIO(), io.StringIO(), time.process_time()
        with app_once(), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        assert time.process_time() - began_s < SECONDS_MAX
        said = err.getvalue()
        assert ended.value.code in {0, 2}, said
        assert ended.value.code == 0 or said.strip()
        assert "Traceback" not in said
        assert said_exceptions(said) == [], said
        assert max(map(len, said.splitlines()), default=0) < 6000  # a word of the command line is repeated
        return int(ended.value.code or 0), said

    yield run
    put_back(folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drawn", [FEW, pytest.param(DRAWN, marks=pytest.mark.swarm)])
def test_damaged_files(kind: str, drawn: int, command: Callable[..., tuple[int, str]], folder: Path) -> None:
    one, refused = KINDS[kind], 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(drawn):
        place(folder, one).write_bytes(damaged(seed, one.content))
        code, _ = command(*one.command)
        refused += code == 2
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < BYTES_MAX
    assert refused > drawn / 4 or kind == "script"  # its problem stands in the list


def test_drawn_overrides(command: Callable[..., tuple[int, str]]) -> None:
    draw = random.Random(1)
    for _ in range(DRAWN):
        texts = [
            draw.choice(["{}={}", "{}={}", "{}", "{}=={}"]).format(draw.choice(KEYS), draw.choice(VALUES)) for _ in range(2)
        ]
        code, _ = command("run", "base.toml", "--no-files", *(part for text in texts for part in ("--set", text)))
        assert code in {0, 2}


@pytest.mark.parametrize("name", COMMANDS)
def test_drawn_options(
    name: str, command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    draw, options = random.Random(name), COMMANDS[name]
    for _ in range(4 * len(options) if len(options) < 4 else 16):
        words = [part for option in draw.sample(options, min(len(options), 2)) for part in (option, draw.choice(WORDS))]
        if name != "scenarios" or "\0" in words or not words[1].isidentifier():
            code, said = command(*name.split(), *words)
            assert code == 0 or len(said) > 20


STRANGE = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "nothing": lambda _: None,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a file of terabytes": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"script", "text log"}])
@pytest.mark.parametrize("what", STRANGE)
def test_what_is_no_file(kind: str, what: str, command: Callable[..., tuple[int, str]], folder: Path) -> None:
    one = KINDS[kind]
    there = place(folder, one)
    there.unlink()
    STRANGE[what](there)
    try:
        code, said = command(*one.command)
        assert code == 2
        assert one.name in said
    finally:
        there.rmdir() if there.is_dir() else there.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", ["scenario", "study", "trace", "sheet", "log"])
def test_a_byte_order_mark_and_other_ends_of_lines_are_text(
    kind: str, command: Callable[..., tuple[int, str]], folder: Path
) -> None:
    one = KINDS[kind]
    place(folder, one).write_bytes(b"\xef\xbb\xbf" + one.content.replace(b"\n", b"\r\n"))
    code, said = command(*one.command)
    assert code == 0 or "stopped: the input is right" in said, said


HARD = {
    "a key of 500 parts": (b"a" + b".a" * 500 + b" = 1\n", "more than 32 parts (at line 1)"),
    "a key of 100 000 parts": (b"[a" + b".a" * 100_000 + b"]\n", "more than 32 parts"),
    "arrays in arrays": (b"a = " + b"[" * 90 + b"]" * 90 + b"\n", "nested more than 32 deep"),
    "a number of 400 digits": (b"seed = " + b"9" * 400 + b"\n", "a number of more than 100 digits"),
    "20 000 unknown keys": (b"".join(b"k%d = 1\n" % i for i in range(20_000)), "unknown key"),
    "100 000 unknown keys": (b"".join(b"k%d = 1\n" % i for i in range(100_000)), "unknown key"),
    "UTF-16": ("seed = 1\n".encode("utf-16"), "UTF-16"),
    "a NUL byte": (b"seed = 1\n\0", "a NUL byte (at byte 9)"),
    "too large": (b"# " + b"x" * (5 << 20), "at most 4 MiB"),
}


@pytest.mark.parametrize("kind", ["scenario", "study", "sheet"])
@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.swarm] * (what == "100 000 unknown keys")) for what in HARD]
)
def test_hard_toml(kind: str, what: str, command: Callable[..., tuple[int, str]], folder: Path) -> None:
    one, (content, says) = KINDS[kind], HARD[what]
    place(folder, one).write_bytes(content)
    code, said = command(*one.command)
    assert code == 2
    assert says in said or (kind == "sheet" and (len(content) > 1 << 20 or "unknown keys" in what)), said
    assert one.name in said
    assert len(said.splitlines()) <= 51


def test_problems_that_are_not_listed_are_counted(command: Callable[..., tuple[int, str]], folder: Path) -> None:
    (folder / "base.toml").write_bytes(b"".join(b"k%d = 1\n" % i for i in range(1000)) + b'[vm]\nmemory = "16MiB"\n')
    _, said = command("run", "base.toml", "--no-files")
    assert said.splitlines()[-1] == "error: and 950 more"
