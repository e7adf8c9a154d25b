"""Calls from one compiled function to the machine code of another, which is reused; numba itself would compile it again.

A loop that many compiled functions call is typed, optimised and emitted once. In plain Python the function is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numba.core.cgutils
import numba.extending

_numba: Any = numba
_types: Any = _numba.types
_cgutils: Any = _numba.core.cgutils
Code = Any
"""Address of machine code; in plain Python the function."""


def code_of(function: Callable[..., int], *arguments: Any) -> Code:
    """The machine code of a ``jit`` function for arguments of these types, compiled now unless it has been."""
    compiled: Any = function
    if not hasattr(compiled, "py_func"):
        return function
    signature = tuple(_numba.typeof(argument) for argument in arguments)
    compiled.compile(signature)
    found = compiled.overloads[signature]
    return int(found.library.get_pointer_to_function(found.fndesc.llvm_func_name))


def _typed(_context: Any, code: Any, table: Any, number: Any, flag: Any) -> Any:
    return _types.int64(code, *map(_types.unliteral, (table, number, flag))), _generated


def _generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """A call by numba's convention, with an error handed on."""
    convention, types = context.call_conv, signature.args[1:]
    kind = convention.get_function_type(signature.return_type, types)
    function = builder.inttoptr(arguments[0], kind.as_pointer())
    status, result = convention.call_function(builder, function, signature.return_type, types, arguments[1:])
    with _cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return result


def _called(function: Code, table: Any, number: int, flag: bool) -> int:
    return int(function(table, number, flag))


call: Any = _called if _numba.config.DISABLE_JIT else _numba.extending.intrinsic(_typed)
"""call(code, table, number, flag): the integer that the function of ``code`` returns for these arguments."""
