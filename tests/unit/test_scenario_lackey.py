"""Traces of valgrind's lackey: accesses become page references, and what is no such trace is refused by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.errors import InputError
from hostsim.scenario import trace_lackey
from hostsim.scenario.trace_lackey import load_lackey, touches
from tests.helpers.record_lackey import other_pages

HEAD = "==77== Lackey, an example Valgrind tool\n--77-- warning\n\n"
BODY = "I  04000b70,3\n S 1fff000ff8,8\n L 04025ffc,8\n M 04033e06,1\nI  04000b73,5\n"


def load(folder: Path, text: str | bytes, instructions: bool = False) -> list[tuple[int, bool]]:
    path = folder / "trace"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found = load_lackey(path, instructions)
    return list(zip(found.page.tolist(), found.is_write.tolist(), strict=True))


def test_loads_stores_and_modifies(tmp_path: Path) -> None:
    """The load crosses from page 0x4025 into 0x4026."""
    expected = [(0x1FFF000, True), (0x4025, False), (0x4026, False), (0x4033, True)]
    assert load(tmp_path, HEAD + BODY) == expected
    assert load(tmp_path, gzip.compress((HEAD + BODY).encode())) == expected


def test_instructions_on_demand(tmp_path: Path) -> None:
    assert [page for page, _ in load(tmp_path, HEAD + BODY, instructions=True)][::4] == [0x4000, 0x4033]


def test_the_last_line_may_end_without_a_newline(tmp_path: Path) -> None:
    assert load(tmp_path, " L 1000,8\n S 2000,4") == [(1, False), (2, True)]


@pytest.mark.parametrize(
    ("text", "place", "got"),
    [
        (HEAD + BODY + "L 04000000,8\n", "trace:9", "L 04000000,8"),
        (" L 04000000\n", "trace:1", "L 04000000"),
        (" L 04000000,0\n", "trace:1", ",0"),
        (" L 04000000,9000\n", "trace:1", ",9000"),
        (" L 0400G000,8\n", "trace:1", "0400G000"),
        (" L 1234567890abcdef,8\n", "trace:1", "1234567890abcdef"),
        (" L 04000000,8 \n", "trace:1", ",8 "),
        (" X 04000000,8\n", "trace:1", "X 04"),
        (" L", "trace:1", "L"),
        ("time,vcpu,gfn,rw\n1,0,5,w\n", "trace:1", "time"),
        (HEAD, "trace", "no accesses"),
        ("", "trace", "no accesses"),
        (gzip.compress(BODY.encode(), mtime=0)[:-9], "trace", "cut or damaged"),
        (b"\x1f\x8b\x08 no gzip", "trace", ""),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str | bytes, place: str, got: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    (problem,) = caught.value.problems
    assert problem.file.endswith(place)
    assert got in problem.got


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_lackey(tmp_path / "nothing")


ACCESSES = st.tuples(st.sampled_from("LSM"), st.integers(0, (1 << 47) - 1), st.integers(1, 4096))


@given(accesses=st.lists(ACCESSES, min_size=1, max_size=40), chunk=st.integers(1, 60))
def test_chunks_move_nothing(
    tmp_path_factory: pytest.TempPathFactory, accesses: list[tuple[str, int, int]], chunk: int
) -> None:
    lines = [f" {kind} {address:08x},{size}\n" for kind, address, size in accesses]
    expected = [
        (page, kind != "L")
        for kind, address, size in accesses
        for page in range(address // 4096, (address + size - 1) // 4096 + 1)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_lackey, "CHUNK_BYTES", chunk)
        assert load(tmp_path_factory.mktemp("lackey"), "".join(lines)) == expected


def test_as_touches_of_one_vcpu(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(BODY)
    columns = touches(load_lackey(path), 100)
    assert columns.time_ns.tolist() == [0, 100, 200, 300]
    assert columns.gfn.tolist() == [3, 0, 1, 2]
    assert columns.is_write.tolist() == [True, False, False, True]
    assert not columns.vcpu.any()


def test_the_recorded_trace_is_read(root: Path) -> None:
    found = load_lackey(root / "tests" / "data" / "traces" / "sort.lackey.gz")
    assert len(found.page) > 500_000
    assert 0.05 < found.is_write.mean() < 0.95


def test_recording_keeps_what_reaches_another_page() -> None:
    lines = [
        b" L 00001000,8\n",
        b" S 00001ff0,8\n",
        b" L 00001ffc,8\n",
        b" L 00002000,8\n",
        b"==1== x\n",
        b" L 00001000,8\n",
    ]
    assert list(other_pages(lines)) == [lines[0], lines[2], lines[5]]
