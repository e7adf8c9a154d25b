"""Compiling functions that are nothing but parts of others: typed and lowered, optimised where they are inlined.

numba by itself optimises each function with all that is inlined into it, and makes machine code of it, once for each level
of calls. Measured: half of the time until a first run begins.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
from numba.core import codegen, compiler

_Library: Any = codegen.JITCodeLibrary
_Compiler: Any = compiler.Compiler


class LinkedLibrary(_Library):  # type: ignore[misc]
    """Code to be linked into that of others."""

    def _optimize_final_module(self) -> None:
        """Who inlines it does."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    @property
    def codegen(self) -> Any:
        """What else asks for it wants to put the environment of the function where its machine code is."""
        return _NoCode

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002  # whatever is asked for
        """Calls from Python end in a TypeError."""
        return _refusal()


class _NoCode:
    @staticmethod
    def set_env(env_name: str, env: object) -> None:
        """There is none."""


class LinkedCompiler(_Compiler):  # type: ignore[misc]
    """numba's own, into a ``LinkedLibrary``."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        library = library or LinkedLibrary(targetctx.codegen(), "inlined")
        super().__init__(typingctx, targetctx, library, *rest)


def _takes_nothing() -> None:
    """A function that is called with anything is called wrongly."""


@cache
def _refusal() -> int:
    """Address of the Python wrapper of a function without arguments."""
    compiled: Any = numba.njit(_takes_nothing)
    compiled.compile(())
    (result,) = compiled.overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_cpython_wrapper_name))
