"""Recorded touches from CSV: time,vcpu,gfn,rw; one touch a line, the lines of one vCPU in the order of time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import parse_duration, shown
from hostsim.core.user_files import BOM, TRACE, as_text, read_bytes
from hostsim.scenario.types import VCPUS_MAX

COLUMNS = ("time", "vcpu", "gfn", "rw")
EXAMPLE = "1500000,0,1024,w"
TIME_MAX_NS = (1 << 62) - 1
GFN_MAX = (64 << 40) // 4096 - 1
LINE_BYTES_MAX = 1000
PROBLEMS_MAX = 20
"""A file of the wrong kind has as many bad lines as lines; these many are named."""

_PLAIN = re.compile(rb"[0-9,rw\n]*")
_LONG = re.compile(rb"[0-9]{19}")
"""More than an int64 may hold: numpy before 2.0 reads another number."""
_CODES = bytes.maketrans(b"rw", b"01")
_Row = tuple[int, int, int, bool]


class TraceColumns(NamedTuple):
    """Touches by vCPU and, within one, by time; read-only.

    time_ns: int64[n], work time; vcpu: int32[n]; gfn: int64[n]; is_write: bool[n].
    """

    time_ns: NDArray[np.int64]
    vcpu: NDArray[np.int32]
    gfn: NDArray[np.int64]
    is_write: NDArray[np.bool_]


def load_trace(path: str | Path) -> TraceColumns:
    """Touches of the CSV at ``path``. InputError naming the lines that are wrong."""
    name, content = str(path), read_bytes(path, TRACE).removeprefix(BOM)
    plain = _read_plain(content)
    return _by_vcpu(plain) if plain is not None else _by_vcpu(_read_lines(content, name))


def _read_plain(content: bytes) -> NDArray[np.int64] | None:
    """int64[n, 4] of a file of plain numbers in order, None if it is not surely one."""
    header = content.startswith(b"time,vcpu,gfn,rw\n")
    body = content[len("time,vcpu,gfn,rw\n") :] if header else content
    if not _PLAIN.fullmatch(body) or not body.strip() or _LONG.search(body):
        return None
    if body.count(b"r\n") + body.count(b"w\n") + body.endswith((b"r", b"w")) != body.count(b"r") + body.count(b"w"):
        return None
    try:
        rows = np.loadtxt(io.BytesIO(body.translate(_CODES)), dtype=np.int64, delimiter=",", ndmin=2, comments=None)
    except (ValueError, OverflowError):
        return None
    if rows.shape[1] != len(COLUMNS) or body.count(b"r") + body.count(b"w") != len(rows):
        return None
    largest = np.array([TIME_MAX_NS, VCPUS_MAX - 1, GFN_MAX, 1])
    return rows if (rows <= largest).all() and _in_order(rows) else None


def _in_order(rows: NDArray[np.int64]) -> bool:
    by_vcpu = rows[np.argsort(rows[:, 1], kind="stable")]
    same = by_vcpu[1:, 1] == by_vcpu[:-1, 1]
    return bool((by_vcpu[1:, 0][same] >= by_vcpu[:-1, 0][same]).all())


def _by_vcpu(rows: NDArray[np.int64]) -> TraceColumns:
    ordered = rows[np.argsort(rows[:, 1], kind="stable")]
    columns = TraceColumns(
        ordered[:, 0].copy(), ordered[:, 1].astype(np.int32), ordered[:, 2].copy(), ordered[:, 3].astype(np.bool_)
    )
    for column in columns:
        column.flags.writeable = False
    return columns


def _read_lines(content: bytes, name: str) -> NDArray[np.int64]:
    """int64[n, 4], line by line: units, blanks and comments allowed, and every mistake located."""
    rows: list[_Row] = []
    problems: list[Problem] = []
    latest: dict[int, int] = {}
    for number, line in _lines(content, name):
        row = _row(line, f"{name}:{number}")
        if isinstance(row, list):
            problems.extend(row)
        elif row[0] < latest.get(row[1], 0):
            wanted = f"times of vCPU {row[1]} that do not fall (the last was {latest[row[1]]} ns)"
            problems.append(Problem(f"{name}:{number}", "time", line.split(",")[0], wanted, EXAMPLE))
        else:
            latest[row[1]] = row[0]
            rows.append(row)
        if len(problems) >= PROBLEMS_MAX:
            break
    if not rows and not problems:
        problems.append(Problem(name, "file", "no touches", "lines of time,vcpu,gfn,rw", EXAMPLE))
    if problems:
        raise InputError(problems)
    return np.array(rows, np.int64).reshape(-1, len(COLUMNS))


def _lines(content: bytes, name: str) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that hold a touch, one by one: a file of the wrong kind is read no further than needed."""
    is_first = True
    for number, raw in enumerate(io.BytesIO(content), 1):
        line = _text(raw, f"{name}:{number}")
        if not line or line.startswith("#"):
            continue
        is_header = is_first and tuple(part.strip().lower() for part in line.split(",")) == COLUMNS
        is_first = False
        if not is_header:
            yield number, line


def _text(raw: bytes, place: str) -> str:
    wanted = "a text file of time,vcpu,gfn,rw"
    if len(raw) > LINE_BYTES_MAX:
        raise InputError([Problem(place, "file", f"a line of {len(raw)} bytes", wanted, EXAMPLE)])
    return as_text(raw, place, TRACE).strip()


def _row(line: str, place: str) -> _Row | list[Problem]:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != len(COLUMNS):
        got = f"{len(parts)} fields: {shown(line)}"
        return [Problem(place, "line", got, "four fields: time,vcpu,gfn,rw", EXAMPLE)]
    time_ns = _time(parts[0])
    vcpu, gfn = _number(parts[1], VCPUS_MAX - 1), _number(parts[2], GFN_MAX)
    is_write = {"r": False, "w": True}.get(parts[3].lower())
    wanted = (
        f"nanoseconds from 0 to {TIME_MAX_NS}, or a duration with its unit",
        f"a vCPU number from 0 to {VCPUS_MAX - 1}",
        f"a guest frame number from 0 to {GFN_MAX}",
        "r or w",
    )
    if time_ns is not None and vcpu is not None and gfn is not None and is_write is not None:
        return time_ns, vcpu, gfn, is_write
    found = (time_ns, vcpu, gfn, is_write)
    return [
        Problem(place, column, shown(part), wish, EXAMPLE)
        for column, part, wish, value in zip(COLUMNS, parts, wanted, found, strict=True)
        if value is None
    ]


def _time(text: str) -> int | None:
    if text.isdigit():
        return _number(text, TIME_MAX_NS)
    try:
        time_ns = parse_duration(text)
    except UnitError:
        return None
    return time_ns if time_ns <= TIME_MAX_NS else None


def _number(text: str, largest: int) -> int | None:
    """A decimal or 0x number from 0 to ``largest``, None for anything else."""
    if len(text) > 25 or not text.isascii():
        return None
    if re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]+", text) is None:
        return None
    value = int(text, 16 if text[:2].lower() == "0x" else 10)
    return value if value <= largest else None
