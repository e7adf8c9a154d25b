"""Results that several tests look at, computed once, however many workers of pytest-xdist share the tests."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import cloudpickle

from tests.helpers.locks import locked

T = TypeVar("T")
_met: list[Path | tempfile.TemporaryDirectory[str]] = []


def install(folder: Path) -> None:
    """Let workers meet in ``folder``."""
    _met[:] = [folder]


def once(name: str, compute: Callable[[], T]) -> T:
    """A copy of what ``compute`` returns; the worker that asks for ``name`` first calls it, the others wait for that."""
    path = _folder() / f"{name}.pickle"
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            result = cloudpickle.dumps(compute())  # columns of tables read their cells by functions without a name
            path.write_bytes(result)
    found: Any = pickle.loads(path.read_bytes())  # noqa: S301  written above, by a test of this run
    return found  # type: ignore[no-any-return]


def _folder() -> Path:
    """Where workers meet; a folder of this process if there are none."""
    if not _met:
        _met.append(tempfile.TemporaryDirectory(prefix="hostsim-shared-"))
    met = _met[0]
    return met if isinstance(met, Path) else Path(met.name)
