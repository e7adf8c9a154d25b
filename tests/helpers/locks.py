"""Locks that workers of pytest-xdist hold while the others wait."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock ``path``, a file that is made if it is not there."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def first_alone(path: Path) -> Iterator[None]:
    """The first worker runs the body alone; the others wait for its end, then run side by side."""
    done = path.with_suffix(".done")
    with ExitStack() as lock:
        lock.enter_context(locked(path))
        if done.exists():
            lock.close()
        yield
        done.touch()
