"""Workers of pytest-xdist compile each loop once: who needs one that another worker is compiling waits and loads it.

Measured with an empty cache: two workers otherwise both compile most of what takes 100 CPU-s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.locks import locked


def install(folder: Path) -> None:
    """Let numba hold a lock in ``folder``, one a function, from its look into the cache until the code is in there.

    Locks are not kept in a circle: a function is compiled within those that call it, and none calls itself.
    """
    from numba.core.caching import NullCache
    from numba.core.dispatcher import Dispatcher

    compile_one: Any = Dispatcher.compile
    held: set[str] = set()

    def compile_locked(dispatcher: Any, sig: Any) -> Any:
        function = dispatcher.py_func
        name = f"{function.__module__}.{function.__qualname__}".replace("/", "-")
        if isinstance(dispatcher._cache, NullCache) or name in held:
            return compile_one(dispatcher, sig)
        held.add(name)
        try:
            with locked(folder / name):
                return compile_one(dispatcher, sig)
        finally:
            held.remove(name)

    Dispatcher.compile = compile_locked
