"""Tables of loops, indexed from the front: equal to NumPy's, and a negative index is found by numba's own check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from hostsim.compiled.by_reference import ByReference
from hostsim.compiled.jit import jit
from hostsim.compiled.record import Record, Records, records


class Cell(Record):
    """A record of an array."""

    count: int


class Bytes(NamedTuple):
    """Arrays in a tuple."""

    low: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Tables(ByReference):
    """An array of each number of dimensions, records, and a tuple."""

    row: NDArray[np.int64]
    square: NDArray[np.int64]
    cells: Records[Cell]
    bytes_: Bytes


def made() -> Tables:
    return Tables(np.arange(5), np.arange(12).reshape(3, 4), records(Cell, 3), Bytes(np.full(4, 7, np.uint8)))


def visit(tables: Tables, i: int, short: np.uint8) -> int:
    """Read and write by an index of 64 bits and by one of 8, whole rows and parts of rows."""
    tables.row[i] += 10
    tables.square[i, 1] = tables.row[i] + tables.row[short]
    tables.square[i][2] += 5
    tables.cells[i].count += int(tables.bytes_.low[short])
    tables.bytes_.low[i] = short
    line = tables.square[i, 1:3]
    return int(line[0] + line[1] + tables.cells[i].count + len(tables.row) + tables.square.shape[1])


def test_it_reads_and_writes_as_numpy_does() -> None:
    compiled, plain = made(), made()
    assert jit(visit)(compiled, 2, np.uint8(1)) == visit(plain, 2, np.uint8(1))
    for name in ("row", "square", "cells"):
        assert getattr(compiled, name).tolist() == getattr(plain, name).tolist()
    assert compiled.bytes_.low.tolist() == plain.bytes_.low.tolist()


def at(tables: Tables, i: int) -> int:
    """One element of a table."""
    return int(tables.row[i])


def test_a_negative_index_is_an_error_where_indices_are_checked() -> None:
    checked: Any = numba.njit(boundscheck=True)(at)
    assert checked(made(), 4) == 4
    with pytest.raises(IndexError):
        checked(made(), 5)
    if numba.config.DISABLE_JIT:
        assert checked(made(), -1) == 4, "NumPy takes -1 for the last element"
        return
    with pytest.raises(IndexError):
        checked(made(), -1)
