"""``int``, ``min`` and ``max`` in compiled loops answer as in Python, and are no functions of their own."""

from __future__ import annotations

import math
from typing import Any

import numba
import pytest
from numba.core import event

from hostsim.compiled.arithmetic import define_arithmetic
from hostsim.compiled.linked import LoopCompiler

_event: Any = event
_njit: Any = numba.njit
NUMBERS = (3, -4, 2.5, True, False, 0, math.inf)


def extremes(a: float, b: float, c: float) -> tuple[float, float, float]:
    return min(a, b), max(a, b, c), max(c, b)


def whole(a: float) -> int:
    return int(a)


def compiled(function: Any, *args: Any) -> tuple[Any, list[str]]:
    """(result of compiled ``function``, names of the functions compiled for it); with the JIT off as plain Python."""
    if numba.config.DISABLE_JIT:
        return function(*args), [function.__name__]
    names: list[str] = []

    class Names(_event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            names.append(event.data["dispatcher"].py_func.__name__)

        def on_end(self, event: Any) -> None:
            del event

    define_arithmetic()
    with _event.install_listener("numba:compile", Names()):
        return _njit(pipeline_class=LoopCompiler)(function)(*args), names


@pytest.mark.parametrize("a", NUMBERS)
@pytest.mark.parametrize("b", NUMBERS)
def test_extremes_are_those_of_python(a: float, b: float) -> None:
    got, names = compiled(extremes, a, b, 1)
    assert got == extremes(a, b, 1)
    assert [name for name in names if name != "bool_min_impl"] == ["extremes"]


def test_the_first_of_two_stays_where_they_do_not_compare() -> None:
    got, _ = compiled(extremes, 1.5, math.nan, 2.5)
    assert got == (1.5, 2.5, 2.5)


@pytest.mark.parametrize("a", [3, -4, 2.5, -2.5, True])
def test_whole_numbers_are_those_of_python(a: float) -> None:
    assert compiled(whole, a) == (int(a), ["whole"])
