"""``int``, ``min`` and ``max`` of numbers as operations of the function that calls them.

numba itself compiles a function of three lines for each of them and each type of its arguments, with machine code of its
own, and LLVM inlines it. Measured: 12 of the 46 functions with machine code in a first run; that of the others gets shorter.
"""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

import numba
import numba.core.typing
import numba.cpython.builtins
import numba.extending

_numba: Any = numba
_types: Any = _numba.types
_extending: Any = _numba.extending
_NUMBERS = (_types.Integer, _types.Boolean, _types.Float)
_COMPARED = {min: operator.lt, max: operator.gt}


@cache
def define_arithmetic() -> None:
    """Put these definitions before numba's own, which still take tuples, truth values and dates."""
    _define(int, _type_of_int)
    for function, compare in _COMPARED.items():
        _define(function, _type_of_extreme)
        _extending.lower_builtin(function, _types.VarArg(_types.Any))(_extreme(compare))
    for kind in _NUMBERS:
        _extending.lower_builtin(int, kind)(_int)


def _define(function: Any, result_of: Any) -> None:
    """Type calls of ``function`` by ``result_of`` (typing context, types of the arguments), which may answer None."""
    templates: Any = _numba.core.typing.templates

    class Numbers(templates.AbstractTemplate):  # type: ignore[misc]
        key = function
        metadata = {"target": "cpu"}  # noqa: RUF012  # read by numba, which tries definitions for one target first

        def generic(self, args: Any, kws: Any) -> Any:
            result = None if kws else result_of(self.context, args)
            return None if result is None else templates.signature(result, *args)

    templates.infer_global(function)(Numbers)


def _type_of_int(_context: Any, args: Any) -> Any:
    if len(args) != 1 or not isinstance(args[0], _NUMBERS):
        return None
    return args[0] if isinstance(args[0], _types.Integer) else _types.intp


def _type_of_extreme(context: Any, args: Any) -> Any:
    is_of_numbers = len(args) > 1 and all(isinstance(one, _NUMBERS) for one in args)
    has_a_number = not all(isinstance(one, _types.Boolean) for one in args)
    return context.unify_types(*args) if is_of_numbers and has_a_number else None


def _int(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return context.cast(builder, arguments[0], signature.args[0], signature.return_type)


def _extreme(compare: Any) -> Any:
    """The generator of the least or of the greatest argument, as numba has it."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builtins: Any = _numba.cpython.builtins
        return builtins.do_minmax(context, builder, signature.args, arguments, compare)

    return generated
