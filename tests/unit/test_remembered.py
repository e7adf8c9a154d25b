"""Signatures that are remembered are those that numba finds."""

from __future__ import annotations

import operator
from itertools import product
from typing import Any

import numba
import numba.core.types.functions
import pytest
from numba.core.registry import cpu_target

from hostsim.compiled.remembered import remember

_numba: Any = numba
_types: Any = _numba.types
_Function: Any = _numba.core.types.functions.BaseFunction
INT, FLOAT = _types.int64, _types.float64
ARRAY, TABLE = _types.Array(_types.uint8, 1, "C"), _types.Array(INT, 2, "C")
PAIR = _types.UniTuple(INT, 2)
CALLS = [
    *product((operator.add, operator.lt, operator.floordiv), product((INT, FLOAT, _types.uint8), repeat=2)),
    *product((operator.getitem,), [(ARRAY, INT), (TABLE, INT), (TABLE, PAIR), (ARRAY, _types.literal(3)), (PAIR, INT)]),
    *product((operator.setitem,), [(ARRAY, INT, INT), (TABLE, PAIR, FLOAT)]),
    (max, (INT, INT)), (min, (FLOAT, INT)), (operator.add, (ARRAY, ARRAY)), (operator.not_, (_types.boolean,)),
]  # fmt: skip


def function_type(function: Any) -> tuple[Any, Any]:
    context = cpu_target.typing_context
    context.refresh()
    return context, context.resolve_value_type(function)


@pytest.mark.parametrize(("function", "arguments"), CALLS, ids=str)
def test_a_remembered_signature_is_numbas_own(function: Any, arguments: tuple[Any, ...]) -> None:
    remember()
    context, typ = function_type(function)
    found = [typ.get_call_type(context, arguments, {}) for _ in range(2)]
    assert found[0] is found[1]
    assert found[0] == _Function.get_call_type.__wrapped__(typ, context, arguments, {})
    assert typ.get_impl_key(found[0]) is not None


def test_other_types_are_looked_up_each_time() -> None:
    remember()
    context, typ = function_type(operator.add)
    text = (_types.unicode_type, _types.unicode_type)
    assert typ.get_call_type(context, text, {}) is not typ.get_call_type(context, text, {})
