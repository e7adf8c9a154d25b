"""Parts of numbers that the processor reads in an instruction or two, where a loop or a call of libm took many."""

from __future__ import annotations

import math
from typing import Any

import numba
import numba.extending
from llvmlite import ir  # type: ignore[import-untyped]

_numba: Any = numba
_types: Any = _numba.types
_WORD, _FLOAT = ir.IntType(64), ir.DoubleType()
_FRACTION_BITS = 52
_HALF = 1022
"""Exponent field of numbers in [0.5, 1)."""


def _word(value: int) -> Any:
    return ir.Constant(_WORD, value)


def _typed_length(_context: Any, word: Any) -> Any:
    return _types.int64(word), _length


def _length(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
    return builder.sub(_word(64), zeros)


def _plain_length(word: int) -> int:
    return int(word).bit_length()


def _typed_mantissa(_context: Any, value: Any) -> Any:
    return _types.float64(value), _mantissa


def _mantissa(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    fraction = builder.and_(builder.bitcast(arguments[0], _WORD), _word((1 << _FRACTION_BITS) - 1))
    return builder.bitcast(builder.or_(fraction, _word(_HALF << _FRACTION_BITS)), _FLOAT)


def _plain_mantissa(value: float) -> float:
    return math.frexp(value)[0]


def _typed_exponent(_context: Any, value: Any) -> Any:
    return _types.int64(value), _exponent


def _exponent(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    field = builder.lshr(builder.bitcast(arguments[0], _WORD), _word(_FRACTION_BITS))
    return builder.sub(field, _word(_HALF))


def _plain_exponent(value: float) -> int:
    return math.frexp(value)[1]


def _typed_quotient(_context: Any, number: Any, by: Any) -> Any:
    return _types.float64(number, by), _quotient


def _quotient(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return builder.fdiv(arguments[0], arguments[1])


def _plain_quotient(number: float, by: float) -> float:
    return number / by


def _either(plain: Any, typed: Any) -> Any:
    return plain if _numba.config.DISABLE_JIT else _numba.extending.intrinsic(typed)


bit_length: Any = _either(_plain_length, _typed_length)
"""bit_length(word): as ``int.bit_length``; word: int64, 0 or more."""
mantissa: Any = _either(_plain_mantissa, _typed_mantissa)
"""mantissa(value): the first of ``math.frexp``; value: float64, positive and not subnormal."""
exponent: Any = _either(_plain_exponent, _typed_exponent)
"""exponent(value): the second of ``math.frexp``; value: as for ``mantissa``."""
quotient: Any = _either(_plain_quotient, _typed_quotient)
"""quotient(number, by): float64s, ``by`` not 0, which compiled code does not check: a check keeps a loop from vectors."""
