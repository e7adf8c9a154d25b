from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.errors import InputError
from hostsim.scenario import load_scenario, load_trace, trace_csv

SCENARIO = '[vm]\nmemory = "1MiB"\nvcpus = 2\n[[vm.workload]]\npattern = "trace"\nfile = "t.csv"\n'


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_touches_come_by_vcpu_and_time(tmp_path: Path) -> None:
    trace = load_trace(written(tmp_path, "time,vcpu,gfn,rw\n0,1,10,w\n5,0,11,r\n7,1,12,w\n7,0,13,w\n"))
    assert trace.vcpu.tolist() == [0, 0, 1, 1]
    assert trace.time_ns.tolist() == [5, 7, 0, 7]
    assert trace.gfn.tolist() == [11, 13, 10, 12]
    assert trace.is_write.tolist() == [False, True, True, True]
    assert [column.dtype for column in trace] == [np.int64, np.int32, np.int64, np.bool_]
    assert not any(column.flags.writeable for column in trace)


def test_units_blanks_hex_and_comments(tmp_path: Path) -> None:
    text = "# recorded\r\nTime, vCPU, gfn, rw\r\n\r\n1.5ms, 0, 0x10, W\r\n2000000,0,17,r"
    trace = load_trace(written(tmp_path, text))
    assert trace.time_ns.tolist() == [1_500_000, 2_000_000]
    assert trace.gfn.tolist() == [16, 17]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("time,vcpu,gfn,rw\n1,0,2,w\n-1,0,2,w\n", 3, "time"),
        ("1,0,2,w\n0,0,2,w\n", 2, "time"),
        ("1,0,2\n", 1, "line"),
        ("1,0,2,w,9\n", 1, "line"),
        ("1,0,2,x\n", 1, "rw"),
        ("1,0,2,rw\n", 1, "rw"),
        ("1,0,2,1\n", 1, "rw"),
        ("1,4096,2,w\n", 1, "vcpu"),
        ("1,0,-2,w\n", 1, "gfn"),
        ("1,0,17179869184,w\n", 1, "gfn"),
        ("1,0,r,w\n", 1, "gfn"),
        ("99999999999999999999,0,1,w\n", 1, "time"),
        ("1.5,0,1,w\n", 1, "time"),
        (b"1,0,1,w\n\xff\xfe\n", 2, "file"),
        ("1,0,,w\n", 1, "gfn"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str | bytes, line: int, key: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_trace(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (f"{path}:{line}", key)


@pytest.mark.parametrize("text", ["", "time,vcpu,gfn,rw\n", "# nothing\n"])
def test_a_trace_without_touches_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="no touches"):
        load_trace(written(tmp_path, text))


def test_a_file_of_the_wrong_kind_does_not_fill_the_screen(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_trace(written(tmp_path, "hello\n" * 1000))
    assert len(caught.value.problems) == trace_csv.PROBLEMS_MAX


ROWS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.integers(0, 99), st.sampled_from("rw")), min_size=1)


@given(ROWS, st.booleans(), st.booleans())
def test_the_fast_reader_equals_the_careful_one(rows: list[tuple[int, int, int, str]], header: bool, ended: bool) -> None:
    rows.sort()
    lines = ["time,vcpu,gfn,rw"] * header + [",".join(map(str, row)) for row in rows]
    content = ("\n".join(lines) + "\n" * ended).encode()
    fast = trace_csv._read_plain(content)
    assert fast is not None
    assert fast.tolist() == trace_csv._read_lines(content, "t").tolist()


@given(st.binary(max_size=80) | st.text("0123456789,rw\n", max_size=60).map(str.encode))
def test_what_the_fast_reader_takes_the_careful_one_takes(content: bytes) -> None:
    fast = trace_csv._read_plain(content)
    try:
        careful = trace_csv._read_lines(content, "t").tolist()
    except InputError:
        careful = None
    assert fast is None or fast.tolist() == careful


def test_a_scenario_reads_its_trace_beside_itself(tmp_path: Path) -> None:
    written(tmp_path, "0,0,255,w\n")
    (tmp_path / "s.toml").write_text(SCENARIO)
    scenario = load_scenario(tmp_path / "s.toml")
    assert scenario.traces()["trace-0"].gfn.tolist() == [255]
    assert str(tmp_path) not in str(scenario.resolved())
    assert scenario.resolved()["vm"]["workload"][0]["file"] == "t.csv"


@pytest.mark.parametrize(("line", "key"), [("0,0,256,w\n", "gfn"), ("0,2,1,w\n", "vcpu")])
def test_a_trace_fits_its_vm(tmp_path: Path, line: str, key: str) -> None:
    written(tmp_path, line)
    (tmp_path / "s.toml").write_text(SCENARIO)
    with pytest.raises(InputError) as caught:
        load_scenario(tmp_path / "s.toml")
    assert [problem.key for problem in caught.value.problems] == [key]
