"""Imports of a command without looks for garbage: what is imported stays until the process ends."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Nothing inside is looked through for circles, then or later: 0.06 s of the CPU of a warm run."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
