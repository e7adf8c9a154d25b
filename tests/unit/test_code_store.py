"""Machine code on disk: kept, read again, made anew where it is damaged, and done without where it cannot be written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from hostsim.compiled import code_store
from hostsim.compiled.fields import own_fields
from hostsim.compiled.jit import jit, part
from hostsim.compiled.record import Record, one, records
from tests.helpers.command import environment


def add_one(value: int) -> int:
    return value + 1


class Counted(Record):
    """A record of a table."""

    count: int


def ignore(_: Any) -> int:
    return 0


def count_of(counted: Counted) -> int:
    return counted.count


def compiled(how_often: int = 1) -> tuple[int, int]:
    """A dispatcher as a new process makes it: what it answers, and how often it found its code on disk."""
    dispatcher: Any = jit(add_one)
    answers = {dispatcher(41) for _ in range(how_often)}
    assert answers == {42}
    return 42, sum(dispatcher._cache_hits.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    where = tmp_path / "hostsim" / "version"
    put(where, monkeypatch)
    return where


def put(folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_store, "cache_folder", lambda: folder)
    monkeypatch.setattr(code_store, "_trouble", [])


def code_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_code_is_kept_and_read_again(folder: Path) -> None:
    assert compiled() == (42, 0)
    assert compiled() == (42, 1)
    assert code_store.is_kept("add_one")
    assert not code_store.is_kept("add")
    assert code_store.folder_bytes() == code_file(folder).stat().st_size > 1000
    assert code_store.trouble() == ""


@pytest.mark.parametrize("of", [np.zeros(3, np.int64), records(Counted, 3), one(Counted)], ids=["ints", "records", "one"])
def test_code_for_a_table_is_not_that_for_an_array(folder: Path, of: Any) -> None:
    """Loops see the fields of a ByReference by types of their own; a file under the name of both types would mix them up."""
    usual: Any = numba.typeof(of)
    for typ in (own_fields(usual), usual):
        dispatcher: Any = jit(ignore)
        dispatcher.compile((typ,))
        assert list(dispatcher.overloads) == [(typ,)]
    assert len(list(folder.iterdir())) == 2


def test_a_part_for_a_record_is_not_asked_whether_it_takes_a_record_of_a_table(folder: Path) -> None:
    """numba would warn that one has been considered a subtype of the other."""
    inner: Any = part(count_of)

    def outer(counted: Any) -> int:
        return int(inner(counted))

    usual: Any = numba.typeof(one(Counted))
    for typ in (own_fields(usual), usual):
        dispatcher: Any = jit(outer)
        dispatcher.compile((typ,))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "of zeros", "of another program"])
def test_a_damaged_file_is_made_anew(folder: Path, damage: str) -> None:
    compiled()
    path = code_file(folder)
    whole = path.read_bytes()
    path.write_bytes({
        "cut": whole[: len(whole) // 2], "flipped": whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:], "empty": b"",
        "of zeros": bytes(len(whole)), "of another program": b"\x80\x04" + whole,
    }[damage])  # fmt: skip
    assert compiled() == (42, 0)
    assert compiled() == (42, 1)
    assert code_store.trouble() == ""


def test_a_folder_that_vanishes_is_made_again(folder: Path) -> None:
    compiled()
    shutil.rmtree(folder.parent)
    assert compiled() == (42, 0)
    assert code_file(folder).exists()


@pytest.mark.parametrize("error", [28, 122, 30, 13])  # ENOSPC, EDQUOT, EROFS, EACCES
def test_what_cannot_be_written_is_said_once(folder: Path, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refuse(path: Path, content: bytes) -> None:
        tries.append(path)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(code_store, "_write", refuse)
    assert compiled() == compiled() == (42, 0)
    assert len(tries) == 1
    assert code_store.trouble() == f"{folder}: {os.strerror(error)}"


@pytest.mark.parametrize("place", ["/proc/hostsim/version", "/dev/null/version"])
def test_a_place_that_is_no_folder(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Path(place), monkeypatch)
    assert compiled() == (42, 0)
    assert code_store.trouble().startswith(place)


def test_a_write_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", refuse)
    compiled()
    assert list(folder.iterdir()) == []


def test_without_a_home_every_start_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    put(None, monkeypatch)
    assert compiled() == (42, 0)
    assert "no home folder" in code_store.trouble()


def test_where_code_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "n"))
    assert code_store.cache_root() == tmp_path / "n"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert code_store.cache_root() == tmp_path / "hostsim"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", lambda _: (_ for _ in ()).throw(RuntimeError()))
    assert code_store.cache_root() is None


def test_the_digest_names_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(code_store, "PACKAGE", tmp_path)
    source = tmp_path / "kvm" / "loops" / "run.py"
    source.parent.mkdir(parents=True)
    digests = set()
    for text in ("a = 1\n", "a = 2\n"):
        source.write_text(text)
        digests.add(code_store.sources_digest())
    assert len(digests) == 2
    assert all(len(digest) == 16 and set(digest) <= set("0123456789abcdef") for digest in digests)


def may_mount() -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


SCRIPT = """\
from hostsim.cli.errors_cli import exit_code_of
from hostsim.compiled.jit import jit, part
from hostsim.compiled.record import Record, one, records
from hostsim.report.console import say

def four_more(value):
    return value + 4

exit_code_of(lambda: say([str(jit(four_more)(0))]))
"""


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


FULL = [("limited file size", "File too large"), *[("small tmpfs", "No space left on device")] * may_mount()]


@pytest.mark.parametrize(("disk", "reason"), FULL)
def test_a_full_file_system_costs_one_line(disk: str, reason: str, tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=4k tmpfs "$1" && ' if disk == "small tmpfs" else ""
    shell = ["unshare", "--mount", "sh"] if mount else ["sh"]
    command = [*shell, "-c", f'{mount}exec "$0" -c "$2"', sys.executable, str(tmp_path), SCRIPT]
    full = environment(XDG_CACHE_HOME=str(tmp_path), NUMBA_DISABLE_JIT="0")
    full.pop("NUMBA_CACHE_DIR", None)
    before = None if mount else limited
    done = subprocess.run(command, env=full, preexec_fn=before, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "4\n")
    assert len(done.stderr.splitlines()) == 1
    assert "machine code is not kept" in done.stderr
    assert reason in done.stderr
