"""Compiled code that calls the machine code of another function."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from hostsim.compiled.by_address import Code, call, code_of
from hostsim.compiled.by_reference import ByReference
from hostsim.compiled.jit import jit


@dataclass(frozen=True)
class Counts(ByReference):
    counts: NDArray[np.int64]


@jit
def share(table: Counts, by: int, rounds_up: bool) -> int:
    """The first count over ``by``; counts that it was called."""
    table.counts[1] += 1
    return int((table.counts[0] + (by - 1 if rounds_up else 0)) // by)


@jit
def both(table: Counts, by: int, code: Code) -> int:
    """The share rounded down, and up."""
    return int(1000 * call(code, table, by, False) + call(code, table, by, True))


def test_the_function_is_called_with_the_arguments_and_changes_the_arrays() -> None:
    table = Counts(np.array([7, 0], np.int64))
    code = code_of(share, table, 2, True)
    assert both(table, 2, code) == 3004
    assert table.counts.tolist() == [7, 2]


def test_an_error_of_the_function_comes_back() -> None:
    table = Counts(np.array([7, 0], np.int64))
    with pytest.raises(ZeroDivisionError):
        both(table, 0, code_of(share, table, 2, True))
