"""One decorator for every compiled loop.

One source runs compiled or, with ``NUMBA_DISABLE_JIT=1``, as plain Python; both give equal integers.
Machine code is kept on disk by ``hostsim.compiled.code_store``. Names of numba that are private are listed, with reasons, in
docs/background/design-choices.md; pyproject.toml bounds the versions with which they were tried.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, TypeVar

import numba

from hostsim.compiled.code_store import CodeFiles
from hostsim.compiled.late import make_late
from hostsim.compiled.linked import LinkedCompiler, LoopCompiler

F = TypeVar("F", bound=Callable[..., Any])
_njit: Any = numba.njit
_COMPILES = not numba.config.DISABLE_JIT
"""False with NUMBA_DISABLE_JIT=1: numba then hands functions back as they are."""
_UNCOUNTED: dict[str, Any] = {"_nrt": False, "no_cfunc_wrapper": True, "pipeline_class": LoopCompiler}
"""No reference counting, and no wrappers for calls from C. Loops allocate no memory and keep no array, so references need
no counts; the atomic increments at every call and row cost ten times the work of a hot loop (measured: 300 ns an event with
them, 31 ns without). No C code calls the loops.
"""
_LINKED: dict[str, Any] = {**_UNCOUNTED, "no_cpython_wrapper": True, "pipeline_class": LinkedCompiler}
"""Functions that are only inlined: no machine code of their own, and none that Python could call."""


def jit(function: F) -> F:
    """Compile ``function`` without the Python API; keep its machine code on disk where that can be written."""
    return _called(function, part)


def inlined(function: F) -> F:
    """``jit`` for functions of a hot loop, which the compiler always inlines; Python cannot call them.

    Measured with a guest that exits: 3.8 million exits a second, 2.4 if the compiler may choose.
    """
    return _unmade(function, lambda: _once(_njit(**_LINKED, forceinline=True)(function)))


def part(function: F) -> F:
    """``jit`` for functions that only compiled functions call: their callers' machine code contains theirs."""
    return _unmade(function, lambda: _once(_njit(**_LINKED)(function)))


def inlined_and_called(function: F) -> F:
    """``inlined`` for functions that Python calls, too."""
    return _called(function, inlined)


class _Unmade:
    """A part whose dispatcher is made when a function that calls it is compiled: a warm run compiles none.

    Measured: 0.1 ms for each of 280 parts.
    """

    def __init__(self, function: Callable[..., Any], make: Callable[[], Any]) -> None:
        wrapper: Any = self  # for mypy, as it is no function
        update_wrapper(wrapper, function)
        self.py_func = function
        self._make = make

    @cached_property
    def _made(self) -> Any:
        return self._make()

    @property
    def _numba_type_(self) -> Any:
        """By this numba knows a function that it compiles."""
        return self._made._numba_type_

    @property
    def overloads(self) -> Any:
        """As of numba's dispatcher."""
        return self._made.overloads

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """As of numba's dispatcher."""
        return self._made.get_call_template(args, kws)

    def get_overload(self, signature: Any) -> Any:
        """As of numba's dispatcher."""
        return self._made.get_overload(signature)


def _unmade(function: F, make: Callable[[], Any]) -> F:
    return _Unmade(function, make) if _COMPILES else make()  # type: ignore[return-value]


def _called(function: F, as_part: Callable[[F], F]) -> F:
    """``function`` as Python calls it; compiled functions call the result of ``as_part`` instead.

    Machine code of its own is made when Python calls it. Measured: 1.4 of 19.8 s of compiling before a first run.
    """
    compiled: Any = _kept(_njit(**_UNCOUNTED)(function))
    if _is_compiled(compiled):
        linked: Any = as_part(function)
        compiled.get_call_template, compiled.get_overload = linked.get_call_template, linked.get_overload
    return compiled  # type: ignore[no-any-return]


def late(function: F) -> F:
    """``jit`` for functions that few simulations reach, or that many loops call: compiled at the first call.

    Compiled functions call its machine code by address, Python as any other (``hostsim.compiled.late``).
    """
    compiled: Any = jit(function)
    if _is_compiled(compiled):
        make_late(compiled, _plain)
    return compiled  # type: ignore[no-any-return]


def _kept(compiled: Any) -> Any:
    """``compiled``, whose machine code is looked for on disk before it is made, and kept there."""
    if _is_compiled(compiled):
        compiled._cache = CodeFiles(compiled.py_func)  # noqa: SLF001  # numba's own would end a run with a full disk
    return compiled


def _once(compiled: Any) -> Any:
    """``compiled``, with one copy for all constants and widths of integers; numba itself makes a copy for each.

    Measured: the loops of a KVM guest compile in 0.6 of the time. Inlining still sees the constants. A call is typed by the
    copy for its types alone: numba would ask of each other copy whether a record passes for its record, and warn.
    """
    if not _is_compiled(compiled):
        return compiled
    template = compiled.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        plain = tuple(_plain(arg) for arg in args), {name: _plain(arg) for name, arg in kws.items()}
        call, pysig, folded, rest = template(*plain)
        call.cases = [case for case in call.cases if case.args == tuple(folded)]
        return call, pysig, folded, rest

    compiled.get_call_template = get_call_template
    return compiled


def _plain(argument: Any) -> Any:
    types: Any = numba.types
    argument = types.unliteral(argument)
    is_short = isinstance(argument, types.Integer) and argument.bitwidth < types.int64.bitwidth
    return types.int64 if is_short else argument


def _is_compiled(function: Any) -> bool:
    """False with the JIT disabled: numba then hands the function back."""
    return hasattr(function, "py_func")
