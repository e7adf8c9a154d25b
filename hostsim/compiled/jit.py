"""One decorator for every compiled loop.

The same source runs compiled or, with ``NUMBA_DISABLE_JIT=1``, as plain Python; both give the same integers.
Machine code is kept on disk by ``hostsim.compiled.code_store``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numba
import numba.core.options

from hostsim.compiled.code_store import CodeFiles

F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = numba.njit


def jit(function: F) -> F:
    """Compile ``function`` without the Python API; keep its machine code on disk where that can be written."""
    return _kept(_once(_njit(**_without_counting())(function)))  # type: ignore[no-any-return]


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
    return _kept(_once(_njit(**_without_counting(), forceinline=True)(function)))  # type: ignore[no-any-return]


def _linked() -> dict[str, Any]:
    """How functions that are only inlined are compiled."""
    from hostsim.compiled.linked import LinkedCompiler

    return {"pipeline_class": LinkedCompiler}


def _kept(compiled: Any) -> Any:
    """Its machine code is looked for on disk before it is made, and kept there."""
    if hasattr(compiled, "_cache"):  # not so in plain Python
        compiled._cache = CodeFiles(compiled.py_func)  # noqa: SLF001  # numba's own would end a run with a full disk
    return compiled


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
