"""How machine code is made: functions that Python calls are optimised once, their parts only within them.

numba itself optimises each function with its inlined callees and emits machine code, once for each level of calls, and each
time in two rounds. Measured: half of the time until a first run begins.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
from numba.core import codegen, compiler

_Library: Any = codegen.JITCodeLibrary
_Compiler: Any = compiler.Compiler


class _Unpruned(_Library):  # type: ignore[misc]
    """Code whose single functions are not optimised alone, which would serve to find reference counts to prune."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Only set the layout of data, on which the passes over a whole module rest."""
        ll_module.data_layout = self._codegen._data_layout  # noqa: SLF001  # listed in design-choices.md


class LinkedLibrary(_Unpruned):
    """Code that is linked into the code of other functions."""

    def _optimize_final_module(self) -> None:
        """Do nothing: the function that inlines this code optimises it."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    @property
    def codegen(self) -> Any:
        """A code generator without machine code: numba's other callers only set the function's environment there."""
        return _NoCode

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002  # one answer for all names
        """A wrapper that raises TypeError at a call from Python."""
        return _refusal()


class OwnLibrary(_Unpruned):
    """Machine code of a function that Python calls, optimised once.

    numba runs cheap passes over each function and over the whole module first, so that it finds reference counts to prune.
    hostsim's loops have none. Measured: a KVM guest's loops compile in 0.82 of the time, and run as fast.
    """

    def _optimize_final_module(self) -> None:
        """Run the full passes alone."""
        passes = getattr(self._codegen, "_mpm_full", None)
        if passes is not None:  # numba before it took LLVM's new pass manager
            passes.run(self._final_module)
            return
        passes, builder = self._codegen._module_pass_manager()  # noqa: SLF001  # listed, too
        passes.run(self._final_module, builder)


class _NoCode:
    @staticmethod
    def set_env(env_name: str, env: object) -> None:
        """Do nothing: there is no machine code."""


class LinkedCompiler(_Compiler):  # type: ignore[misc]
    """numba's compiler with a ``LinkedLibrary`` as target."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        library = library or LinkedLibrary(targetctx.codegen(), "inlined")
        super().__init__(typingctx, targetctx, library, *rest)


class OwnCompiler(_Compiler):  # type: ignore[misc]
    """numba's compiler with an ``OwnLibrary`` as target."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        if library is None:
            library = OwnLibrary(targetctx.codegen(), "own")
            library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, *rest)


def _takes_nothing() -> None:
    """A function without arguments, whose wrapper refuses calls with arguments."""


@cache
def _refusal() -> int:
    """Address of the Python wrapper of a function without arguments."""
    compiled: Any = numba.njit(_takes_nothing)
    compiled.compile(())
    (result,) = compiled.overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_cpython_wrapper_name))
