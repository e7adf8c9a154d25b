"""Arrays whose indices are never negative, as compiled code sees them.

numba, like NumPy, takes index -1 for the last element: it compares every index with 0 and adds the length to a negative one.
Loops over the tables of a ByReference never count from the end. Measured without the comparison: 1.25 times as many exits a
second, and less to compile. With NUMBA_BOUNDSCHECK=1 numba checks all indices, and a negative one is an IndexError.
"""

from __future__ import annotations

import operator
from typing import Any

import numba
import numba.core.cgutils
import numba.core.typing
import numba.extending

from hostsim.compiled.named_memory import load, store

_numba: Any = numba
_types: Any = _numba.types
_extending: Any = _numba.extending
_cgutils: Any = _numba.core.cgutils
_signature: Any = _numba.core.typing.signature


class FromFront(_types.Array):  # type: ignore[misc]
    """numba's type of such an array, and of a view of it; by its own name, as files of machine code go by names of types."""

    name: str

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.name = f"from front {self.name}"

    def __repr__(self) -> str:
        return str(self.name)

    @property
    def whole(self) -> Any:
        """The ordinary type of the array."""
        return super().copy()

    def copy(self, dtype: Any = None, ndim: Any = None, layout: Any = None, readonly: Any = None) -> Any:
        """The type of a view."""
        typ = super().copy(dtype, ndim, layout, readonly)
        return FromFront(typ.dtype, typ.ndim, typ.layout, readonly=not typ.mutable, aligned=typ.aligned)


_extending.register_model(FromFront)(_extending.models.ArrayModel)


def _unsigned(context: Any, builder: Any, typ: Any, index: Any) -> tuple[Any, Any]:
    """(type of an index, index), unsigned: numba adds nothing to unsigned ones."""
    if isinstance(typ, _types.BaseTuple):
        kinds = tuple(_types.uintp if isinstance(kind, _types.Integer) else kind for kind in typ)
        to = _types.Tuple(kinds)
    else:
        to = _types.uintp
    return to, context.cast(builder, index, typ, to)


def _element(context: Any, builder: Any, typ: Any, array: Any, kind: Any, index: Any) -> Any:
    """The address of one element; None where the index takes several, or has to be checked, which numba does itself.

    numba itself makes a view of no dimensions for it, which LLVM takes away again: equal machine code, later.
    """
    one_by_one = isinstance(kind, _types.BaseTuple)
    kinds = tuple(kind) if one_by_one else (kind,)
    if context.enable_boundscheck or not typ.aligned or len(kinds) != typ.ndim:
        return None
    if not all(isinstance(one, _types.Integer) for one in kinds):
        return None
    parts = _cgutils.unpack_tuple(builder, index) if one_by_one else [index]
    places = [context.cast(builder, part, one, _types.uintp) for part, one in zip(parts, kinds, strict=True)]
    model = context.data_model_manager[typ]
    data, shape, strides = (model.get(builder, array, name) for name in ("data", "shape", "strides"))
    sizes = (_cgutils.unpack_tuple(builder, sizes) for sizes in (shape, strides))
    return _cgutils.get_item_pointer2(context, builder, data, *sizes, typ.layout, places)


@_extending.lower_builtin(operator.getitem, FromFront, _types.Integer)  # type: ignore[untyped-decorator]
@_extending.lower_builtin(operator.getitem, FromFront, _types.BaseTuple)  # type: ignore[untyped-decorator]
def _read(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, at = signature.args
    if (place := _element(context, builder, array, arguments[0], at, arguments[1])) is not None:
        if isinstance(array.dtype, _types.Record):
            return context.unpack_value(builder, array.dtype, place)  # its address: nothing is read
        return load(context, builder, array.dtype, place, str(array.dtype))
    to, index = _unsigned(context, builder, at, arguments[1])
    read = context.get_function(operator.getitem, _signature(signature.return_type, array.whole, to))
    return read(builder, (arguments[0], index))


@_extending.lower_builtin(operator.setitem, FromFront, _types.Integer, _types.Any)  # type: ignore[untyped-decorator]
@_extending.lower_builtin(operator.setitem, FromFront, _types.BaseTuple, _types.Any)  # type: ignore[untyped-decorator]
def _write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array, at, value = signature.args
    if (place := _element(context, builder, array, arguments[0], at, arguments[1])) is not None:
        written = context.cast(builder, arguments[2], value, array.dtype)
        return store(context, builder, array.dtype, written, place, str(array.dtype))
    to, index = _unsigned(context, builder, at, arguments[1])
    write = context.get_function(operator.setitem, _signature(signature.return_type, array.whole, to, value))
    return write(builder, (arguments[0], index, arguments[2]))
