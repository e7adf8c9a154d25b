"""One decorator for every compiled loop.

The same source runs compiled or, with ``NUMBA_DISABLE_JIT=1``, as plain Python; both give the same integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile ``function`` without the Python API; cache it on disk where a cache can be written."""
    try:
        compiled: Any = numba.njit(cache=True)(function)
    except RuntimeError:  # no writable cache directory: compile in every process instead
        compiled = numba.njit(function)
    return compiled  # type: ignore[no-any-return]
