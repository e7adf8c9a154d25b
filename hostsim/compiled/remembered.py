"""Types of arithmetic that numba has found before: it looks for them anew at each addition.

For each operator numba tries one overload after the other, those of strings, sets and dates too, and at each it compares all
options of the compiler. For numbers the answer depends on the operator and on the types of its arguments alone.
"""

from __future__ import annotations

import operator
from typing import Any

import numba

_types: Any = numba.types
_FUNCTIONS = frozenset(id(one) for one in (*vars(operator).values(), min, max, int, float, bool, abs) if callable(one))
_NUMBERS = (_types.Number, _types.Boolean)


def remember(context: Any) -> None:
    """Let typing context ``context`` of numba remember the signatures of operators on numbers."""
    if hasattr(context, "hostsim_signatures"):
        return
    found: dict[tuple[Any, ...], Any] = {}
    resolve = context.resolve_function_type
    context.hostsim_signatures = found

    def resolve_function_type(func: Any, args: Any, kws: Any) -> Any:
        typ = func if isinstance(func, _types.Type) else context._lookup_global(func)  # noqa: SLF001  # as ``resolve`` does
        if kws or not (isinstance(typ, _types.Function) and id(typ.typing_key) in _FUNCTIONS and _are_numbers(args)):
            return resolve(func, args, kws)
        # The object that stands for the operator: numba makes another when further overloads are registered.
        key = (id(typ), *args)
        if key not in found:
            found[key] = typ, resolve(func, args, kws)
        return found[key][1]

    context.resolve_function_type = resolve_function_type


def _are_numbers(args: Any) -> bool:
    return all(isinstance(_types.unliteral(arg), _NUMBERS) for arg in args)
