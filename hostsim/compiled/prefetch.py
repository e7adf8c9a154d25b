"""A hint to the processor that an element of an array will be read soon: it changes the time of the read, and no result."""

from __future__ import annotations

from typing import Any

import numba
import numba.core.cgutils
import numba.extending
from llvmlite import ir  # type: ignore[import-untyped]

_numba: Any = numba
_types: Any = _numba.types
_cgutils: Any = _numba.core.cgutils
READ, KEEP, DATA = 0, 3, 1
"""Arguments of llvm.prefetch: to read, in all caches, no instructions."""


def _typed(_context: Any, array: Any, index: Any) -> Any:
    return _types.void(array, index), _generated


def _generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    place = builder.bitcast(builder.gep(array.data, [arguments[1]]), _cgutils.voidptr_t)
    whole = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [_cgutils.voidptr_t, whole, whole, whole])
    hint = builder.module.declare_intrinsic("llvm.prefetch", [_cgutils.voidptr_t], kind)
    builder.call(hint, [place, *(ir.Constant(whole, value) for value in (READ, KEEP, DATA))])
    return context.get_dummy_value()


def _nothing(_array: Any, _index: int) -> None:
    """Plain Python has no such hint."""


prefetch: Any = _nothing if _numba.config.DISABLE_JIT else _numba.extending.intrinsic(_typed)
"""prefetch(array, index): one-dimensional and contiguous, of one byte an element or more; ``index`` within it."""
