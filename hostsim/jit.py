"""One decorator for every compiled loop.

The same source runs compiled or, with ``NUMBA_DISABLE_JIT=1``, as plain Python; both give the same integers.
Machine code is cached in a folder named after the content of all sources it is made of: numba by itself looks at the
file of a function only, and would keep code into which an older version of another file was compiled.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numba.core.options

F = TypeVar("F", bound=Callable[..., Any])
PACKAGE = Path(__file__).parent
_njit: Any = numba.njit
COMPILED = (
    "jit.py", "linked.py", "by_reference.py", "prefetch.py", "rng.py", "guest/*.py", "mmu/**/*.py", "kernels/**/*.py",
)  # fmt: skip
"""Files whose functions are compiled into each other."""


def sources_digest() -> str:
    """16 hex digits for the content of all compiled sources."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in COMPILED for path in PACKAGE.glob(pattern)):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path:
    """Where caches go: NUMBA_CACHE_DIR, else the user's cache folder."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return Path(given) if given else home / "hostsim"


@cache
def cache_folder() -> Path | None:
    """The folder for this version's machine code; None where none can be written."""
    folder = cache_root() / sources_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # read-only, no home: compile in every process instead
        return None


def jit(function: F) -> F:
    """Compile ``function`` without the Python API; cache it on disk where a cache can be written."""
    folder = cache_folder()
    if folder is not None:
        vars(numba.config)["CACHE_DIR"] = str(folder)
    compiled: Any = _njit(cache=folder is not None, **_without_counting())(function)
    return _once(compiled)  # type: ignore[no-any-return]


def inlined(function: F) -> F:
    """``jit`` for functions of a hot loop: machine code of their own is never called.

    Measured with a guest that exits: 3.8 million exits a second, 2.4 if the compiler may choose. Nobody calls it from
    Python: it has no machine code but in the functions that it is part of.
    """
    options: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, **_linked()}
    compiled: Any = _njit(**_without_counting(), **options)(function)
    return _once(compiled)  # type: ignore[no-any-return]


def part(function: F) -> F:
    """``jit`` for functions that only compiled ones call: their machine code is made with that of who calls them."""
    compiled: Any = _njit(**_without_counting(), no_cpython_wrapper=True, **_linked())(function)
    return _once(compiled)  # type: ignore[no-any-return]


def inlined_and_called(function: F) -> F:
    """The same for functions that are called from Python, too."""
    folder = cache_folder()
    compiled: Any = _njit(cache=folder is not None, **_without_counting(), forceinline=True)(function)
    return _once(compiled)  # type: ignore[no-any-return]


def _linked() -> dict[str, Any]:
    """How functions that are only inlined are compiled."""
    from hostsim.linked import LinkedCompiler

    return {"pipeline_class": LinkedCompiler}


def _once(compiled: Any) -> Any:
    """A number is a number to compiled code: numba by itself makes a copy of a function for each constant and each width.

    Measured: the loops of a KVM guest compile in 0.6 of the time. Inlining sees the constants all the same.
    """
    template = getattr(compiled, "get_call_template", None)  # plain Python, or another numba: more copies, never wrong
    if template is None:
        return compiled

    def get_call_template(args: Any, kws: Any) -> Any:
        return template(tuple(_plain(arg) for arg in args), {name: _plain(arg) for name, arg in kws.items()})

    compiled.get_call_template = get_call_template
    return compiled


def _plain(argument: Any) -> Any:
    types: Any = numba.types
    argument = types.unliteral(argument)
    is_short = isinstance(argument, types.Integer) and argument.bitwidth < types.int64.bitwidth
    return types.int64 if is_short else argument


@cache
def _without_counting() -> dict[str, Any]:
    """Options that leave out numba's reference counting and the wrappers for calls from C, where this numba knows them.

    Kernels allocate nothing and keep no array, so there is nothing to count; the atomic increments at every call and row
    cost ten times the work of a hot loop (measured: 300 ns an event with them, 31 ns without). Nothing calls from C.
    """
    known = getattr(numba.core.options, "DefaultOptions", None)  # another numba: slower, never wrong
    wanted = {"_nrt": False, "no_cfunc_wrapper": True}
    return {name: value for name, value in wanted.items() if hasattr(known, name)}
