"""Compiling functions that are only parts of others: typed and lowered alone, optimised in the functions that inline them.

numba itself optimises each function with its inlined callees and emits machine code, once for each level of calls.
Measured: half of the time until a first run begins.
"""

from __future__ import annotations

import ctypes
from typing import Any

from numba.core import codegen, compiler, compiler_machinery, typed_passes, untyped_passes

from hostsim.compiled.remembered import remember

_Library: Any = codegen.JITCodeLibrary
_Compiler: Any = compiler.Compiler
_PassManager: Any = compiler_machinery.PassManager
_untyped: Any = untyped_passes
_typed: Any = typed_passes
NEEDLESS = frozenset({
    _untyped.WithLifting, _untyped.InlineClosureLikes, _untyped.MakeFunctionToJitFunction, _untyped.InlineInlinables,
    _untyped.LiteralUnroll, _untyped.FindLiterallyCalls, _untyped.RewriteDynamicRaises, _typed.InlineOverloads,
    _typed.DumpParforDiagnostics, _typed.NopythonRewrites,
})  # fmt: skip
"""Passes for features that loops do not use: closures, ``with``, inlining by numba, loops unrolled over types, prange,
expressions of whole arrays.
"""

_REFUSAL = int(ctypes.cast(ctypes.pythonapi.PyObject_Call, ctypes.c_void_p).value or 0)
"""Address of PyObject_Call, whose arguments are those of a wrapper: it calls the first one, which is no function."""


class LinkedLibrary(_Library):  # type: ignore[misc]
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
        return _REFUSAL


class _NoCode:
    @staticmethod
    def set_env(env_name: str, env: object) -> None:
        """Do nothing: there is no machine code."""


class LoopCompiler(_Compiler):  # type: ignore[misc]
    """numba's compiler without the passes that find nothing in a loop."""

    def __init__(self, *given: Any) -> None:
        remember()
        super().__init__(*given)

    def define_pipelines(self) -> list[Any]:
        """Numba's pipeline without the passes that find nothing."""
        (whole,) = super().define_pipelines()
        found = _PassManager(whole.pipeline_name)
        for one, name in whole.passes:
            if one not in NEEDLESS:
                found.add_pass(one, name)
        found.finalize()
        return [found]


class LinkedCompiler(LoopCompiler):
    """``LoopCompiler`` with a ``LinkedLibrary`` as target."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        library = library or LinkedLibrary(targetctx.codegen(), "inlined")
        super().__init__(typingctx, targetctx, library, *rest)
