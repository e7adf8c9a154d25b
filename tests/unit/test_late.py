"""Calls that are bound when they are first made: equal results, nothing compiled before, and found again on disk."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from hostsim.compiled import code_store, late
from hostsim.compiled.by_reference import ByReference
from hostsim.compiled.jit import jit

LOOPS = """
from __future__ import annotations

from hostsim.compiled.jit import jit, late


@late
def share(table, by: int, rounds_up: bool) -> int:
    table.counts[1] += 1
    return (int(table.counts[0]) + (by - 1 if rounds_up else 0)) // by


@late
def half(value: int) -> int:
    return value / 2


@jit
def both(table, by):
    if by < 0:
        return -1
    return 1000 * share(table, by, False) + share(table, by, True)


@jit
def halved(value):
    return half(value)
"""


@dataclass(frozen=True)
class Counts(ByReference):
    counts: NDArray[np.int64]


def counts() -> Counts:
    return Counts(np.array([7, 0], np.int64))


@pytest.fixture
def loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of its own, whose machine code is kept in a folder of its own."""
    monkeypatch.setattr(code_store, "cache_folder", lambda: tmp_path / "code")
    return loaded(tmp_path, monkeypatch)


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (folder / "late_loops.py").write_text(LOOPS, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "late_loops", raising=False)
    return importlib.import_module("late_loops")


def test_the_function_gets_the_arguments_and_changes_the_arrays(loops: ModuleType) -> None:
    table = counts()
    assert loops.both(table, 2) == 3004
    assert table.counts.tolist() == [7, 2]
    assert loops.share(table, 2, True) == 4, "Python calls it as any other"


def test_nothing_is_compiled_before_the_first_call(loops: ModuleType) -> None:
    if numba.config.DISABLE_JIT:
        return  # plain Python calls the function
    assert loops.both(counts(), -1) == -1
    assert not loops.share.overloads
    assert loops.both(counts(), 2) == 3004
    assert len(loops.share.overloads) == 1, "one copy for True and for False"


def test_an_error_of_the_function_comes_back(loops: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError):
        loops.both(counts(), 0)


def test_calls_are_found_in_machine_code_on_disk_and_compiled_ahead(loops: ModuleType) -> None:
    if numba.config.DISABLE_JIT:
        return  # plain Python calls the function
    assert list(late.kept_calls()) == []
    loops.both(counts(), -1)
    (call,) = set(late.kept_calls())
    assert call[:2] == ("late_loops", "share")
    assert not code_store.is_kept("late_loops.share")
    assert late.compile_call(call) != 0
    assert code_store.is_kept("late_loops.share")


def test_calls_of_a_module_that_is_gone_are_left_out(loops: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    if numba.config.DISABLE_JIT:
        return  # plain Python calls the function
    loops.both(counts(), -1)
    assert list(late.kept_calls()) != []
    monkeypatch.delitem(sys.modules, "late_loops")
    monkeypatch.setattr(sys, "path", [])
    assert list(late.kept_calls()) == []


def test_machine_code_of_another_process_is_bound_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if numba.config.DISABLE_JIT:
        return  # plain Python calls the function
    loaded(tmp_path, monkeypatch)
    program = """
import numpy as np
from tests.unit.test_late import counts
import late_loops
print(late_loops.both(counts(), 2), sum(late_loops.both._cache_hits.values()), sum(late_loops.share._cache_hits.values()))
"""
    root = str(Path(__file__).parents[2])
    where = os.pathsep.join((str(tmp_path), root, os.environ.get("PYTHONPATH", "")))
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "code"), "PYTHONPATH": where}
    told = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env).stdout.split()
        for _ in range(2)
    ]
    assert told == [["3004", "0", "0"], ["3004", "1", "1"]]


def test_a_wrong_annotation_is_an_error_and_no_crash(loops: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    if numba.config.DISABLE_JIT:
        return  # plain Python calls the function
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with pytest.raises(RuntimeError, match="could not be compiled"):
        loops.halved(3)
    assert "returns float64, its annotation says int64" in str(told[0].exc_value)


def test_a_result_that_callers_cannot_be_typed_by_is_refused() -> None:
    if numba.config.DISABLE_JIT:
        return  # plain Python calls the function
    def pair(value: int) -> tuple[int, int]:
        return value, value

    with pytest.raises(KeyError, match="tuple"):
        late.make_late(jit(pair), lambda typ: typ)
