"""Recorded touches from valgrind: the output of ``--tool=lackey --trace-mem=yes``, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import shown
from hostsim.core.user_files import LACKEY, open_file, reason_of
from hostsim.scenario.lackey_loops import AT, LINES, N_STATE, REFERENCES, parse_lines
from hostsim.scenario.trace_csv import TIME_MAX_NS, TraceColumns
from hostsim.theory.replacement import dense_pages

EXAMPLE = " L 1fff000d08,8"
WANTED = "a line of lackey's --trace-mem=yes: L, S, M or I, a hexadecimal address, a comma, bytes"
CHUNK_BYTES = 1 << 22
LINE_BYTES_MAX = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


class PageReferences(NamedTuple):
    """References in the order of the program; read-only.

    page: int64[n], address / 4096; is_write: bool[n], True for stores and modifies.
    """

    page: NDArray[np.int64]
    is_write: NDArray[np.bool_]


def load_lackey(path: str | Path, instructions: bool = False) -> PageReferences:
    """References of the trace at ``path``, fetches of instructions only on demand. InputError if it is no lackey trace."""
    name = str(path)
    try:
        with open_file(path, LACKEY) as file:
            parts = list(_parts(_unpacked(file), name, instructions))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError([Problem(name, "file", _broken(error), LACKEY.wanted, EXAMPLE)]) from None
    columns = PageReferences(
        np.concatenate([part.page for part in parts]), np.concatenate([part.is_write for part in parts])
    )
    if not len(columns.page):
        raise InputError([Problem(name, "file", "no accesses", WANTED, EXAMPLE)])
    for column in columns:
        column.flags.writeable = False
    return columns


def touches(references: PageReferences, access_ns: int) -> TraceColumns:
    """The references as touches of vCPU 0, one every ``access_ns``; pages renumbered from 0 on in the order of address.

    # Model limit: lackey counts no time; every reference takes the same.
    """
    gfn, _ = dense_pages(references.page)
    n = len(gfn)
    assert 1 <= access_ns <= TIME_MAX_NS // n
    columns = TraceColumns(np.arange(n, dtype=np.int64) * access_ns, np.zeros(n, np.int32), gfn, references.is_write)
    for column in columns:
        column.flags.writeable = False
    return columns


def _unpacked(file: BinaryIO) -> BinaryIO:
    packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return gzip.open(file, "rb") if packed else file  # type: ignore[return-value]


def _broken(error: Exception) -> str:
    is_system = isinstance(error, OSError) and error.strerror
    return reason_of(error) if is_system else "a gzip file that is cut or damaged"


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """The content, cut behind ends of lines."""
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield rest + chunk[:cut]
        rest = chunk[cut:] if cut else rest + chunk
        if len(rest) > LINE_BYTES_MAX:  # its beginning suffices for the error
            break
    yield rest


def _parts(file: BinaryIO, name: str, instructions: bool) -> Iterator[PageReferences]:
    lines = 0
    for chunk in _whole_lines(file):
        state, room = np.zeros(N_STATE, np.int64), len(chunk) // 3 + 2
        part = PageReferences(np.empty(room, np.int64), np.empty(room, np.bool_))
        if not parse_lines(np.frombuffer(chunk, np.uint8), instructions, state, *part):
            raise InputError([_problem(chunk[state[AT] :], f"{name}:{lines + state[LINES] + 1}")])
        lines += int(state[LINES])
        found = int(state[REFERENCES])
        yield PageReferences(part.page[:found].copy(), part.is_write[:found].copy())


def _problem(rest: bytes, place: str) -> Problem:
    line = rest.split(b"\n", 1)[0][:200].decode("utf-8", "replace")
    return Problem(place, "line", shown(line), WANTED, EXAMPLE)
