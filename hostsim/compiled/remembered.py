"""Types of arithmetic that numba has found before: it looks for them anew as it types each addition, and as it lowers it.

For each operator numba tries one overload after the other, those of strings, sets and dates too, and at each it compares all
options of the compiler. For numbers and arrays of them the answer depends on the operator and on the types of its arguments.
"""

from __future__ import annotations

import operator
from functools import cache, wraps
from typing import Any

import numba
import numba.core.types.functions

_types: Any = numba.types
_Function: Any = numba.core.types.functions.BaseFunction
_FUNCTIONS = frozenset(id(one) for one in (*vars(operator).values(), min, max, int, float, bool, abs) if callable(one))
_NUMBERS = (_types.Number, _types.Boolean)


@cache
def remember() -> None:
    """Let numba remember the signatures of operators on numbers and on arrays of numbers."""
    found: dict[tuple[Any, ...], Any] = {}
    resolve = _Function.get_call_type

    @wraps(resolve)
    def get_call_type(self: Any, context: Any, args: Any, kws: Any) -> Any:
        if kws or id(self.typing_key) not in _FUNCTIONS or not all(map(_is_plain, args)):
            return resolve(self, context, args, kws)
        # The object that stands for the operator: numba makes another when further overloads are registered.
        key = (id(self), id(context), *args)
        if key not in found:
            found[key] = self, context, resolve(self, context, args, kws)
        return found[key][2]

    _Function.get_call_type = get_call_type


def _is_plain(arg: Any) -> bool:
    arg = _types.unliteral(arg)
    if isinstance(arg, _types.Array):
        return isinstance(arg.dtype, (*_NUMBERS, _types.Record))
    if isinstance(arg, _types.UniTuple):
        return isinstance(arg.dtype, _NUMBERS)
    return isinstance(arg, _NUMBERS)
