"""Arrays that compiled code gets as one word, the address of a table of their addresses, shapes and strides.

numba itself passes a tuple of arrays as seven words an array at every call, and unpacks the arrays one by one at a call from
Python. Measured with the 29 arrays of a KVM guest: the loops compile in three quarters of the time, and make 1.2 to 1.5
times as many exits a second.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import Any

import numba
import numba.core.cgutils
import numba.core.typing
import numba.extending
import numpy as np

from hostsim.compiled.fields import own_fields

_numba: Any = numba
_types: Any = _numba.types
_extending: Any = _numba.extending
_cgutils: Any = _numba.core.cgutils
_typing: Any = _numba.core.typing.templates
DATA, SHAPE = 1, 2
"""Words of an array in the table: number of elements; DATA: address; from SHAPE on shape, then strides."""


class ByReference:
    """Base of frozen dataclasses whose fields are arrays, records, or NamedTuples of arrays; no field is ever replaced.

    Plain Python reads the fields, compiled code the table. ``dataclasses.replace`` makes an object with some other arrays.
    """

    def __post_init__(self) -> None:
        vars(self).update({name: _in_an_array(value) for name, value in self._values().items()})
        values = self._values()
        flat = [array for value in values.values() for array in (value if isinstance(value, tuple) else (value,))]
        table = np.array([word for one in flat for word in _words(one)], np.int64)
        types = tuple((name, own_fields(_numba.typeof(value))) for name, value in values.items())
        more = {"_table": table, "_address": table.ctypes.data, "_numba_type_": Reference(type(self).__name__, types)}
        vars(self).update(more)

    def __reduce__(self) -> tuple[type[ByReference], tuple[Any, ...]]:
        """A copy has arrays of its own, and a table of them."""
        return type(self), tuple(self._values().values())

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


def _in_an_array(value: Any) -> Any:
    """``value``; a record that was unpickled lies in no array and has no address, so it is put into an array."""
    if isinstance(value, np.void) and value.base is None:
        return np.array([value])[0]
    return value


def _words(array: Any) -> list[int]:
    place = array.__array_interface__["data"][0]  # the address of a record lies in its array
    return [array.size, place, *array.shape, *array.strides]


class Reference(_types.Type):  # type: ignore[misc]
    """numba's type of a ByReference: the types of its fields, named by their digest because their names are long."""

    def __init__(self, name: str, types: tuple[tuple[str, Any], ...]) -> None:
        digest = hashlib.sha256(repr(types).encode()).hexdigest()[:12]
        self.types = types
        super().__init__(name=f"{name}-{digest}")

    def place(self, name: str) -> tuple[int, Any]:
        """(first word of field ``name`` in the table, type of the field)."""
        at = 0
        for field, typ in self.types:
            if field == name:
                return at, typ
            at += sum(_length(array) for array in _arrays(typ))
        raise AttributeError(name)


def _arrays(typ: Any) -> tuple[Any, ...]:
    return tuple(typ) if isinstance(typ, _types.BaseTuple) else (typ,)


def _length(array: Any) -> int:
    """Number of words of an array, or of a record, in the table."""
    return SHAPE if isinstance(array, _types.Record) else SHAPE + 2 * int(array.ndim)


@_typing.infer_getattr
class _Fields(_typing.AttributeTemplate):  # type: ignore[misc]
    key = Reference

    def generic_resolve(self, typ: Reference, name: str) -> Any:
        return dict(typ.types).get(name)


_extending.register_model(Reference)(_extending.models.OpaqueModel)


@_extending.unbox(Reference)  # type: ignore[untyped-decorator]
def _unbox(_typ: Reference, instance: Any, c: Any) -> Any:
    number = c.pyapi.object_getattr_string(instance, "_address")
    address = c.pyapi.long_as_voidptr(number)
    c.pyapi.decref(number)
    return _extending.NativeValue(address)


@_extending.lower_getattr_generic(Reference)  # type: ignore[untyped-decorator]
def _field(context: Any, builder: Any, typ: Reference, table: Any, name: str) -> Any:
    at, found = typ.place(name)
    arrays = []
    for array in _arrays(found):
        arrays.append((_record if isinstance(array, _types.Record) else _array)(context, builder, table, at, array))
        at += _length(array)
    return context.make_tuple(builder, found, arrays) if isinstance(found, _types.BaseTuple) else arrays[0]


def _load(context: Any, builder: Any, table: Any, at: int, kind: Any = None) -> Any:
    """Word ``at`` of the table, as a value of type ``kind``."""
    word = context.get_value_type(_types.intp)
    place = _cgutils.gep_inbounds(builder, builder.bitcast(table, word.as_pointer()), at)
    loaded = builder.load(builder.bitcast(place, (kind or word).as_pointer()))
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))  # the table never changes
    return loaded


def _record(context: Any, builder: Any, table: Any, at: int, typ: Any) -> Any:
    """The record whose words begin at ``at``; numba represents it by its address."""
    return _load(context, builder, table, at + DATA, context.get_value_type(typ))


def _array(context: Any, builder: Any, table: Any, at: int, typ: Any) -> Any:
    """The array whose words begin at ``at``, as numba's structure."""
    model, ndim, word = context.data_model_manager[typ], typ.ndim, context.get_value_type(_types.intp)
    sizes = [_load(context, builder, table, at + SHAPE + i) for i in range(2 * ndim)]
    parts = {
        "meminfo": None, "parent": None, "nitems": _load(context, builder, table, at),
        "itemsize": context.get_constant(_types.intp, context.get_abi_sizeof(context.get_data_type(typ.dtype))),
        "data": _load(context, builder, table, at + DATA, context.get_value_type(_types.CPointer(typ.dtype))),
        "shape": _cgutils.pack_array(builder, sizes[:ndim], ty=word),
        "strides": _cgutils.pack_array(builder, sizes[ndim:], ty=word),
    }  # fmt: skip
    array = _cgutils.get_null_value(model.get_value_type())
    for name, part in parts.items():
        array = array if part is None else model.set(builder, array, part, name)
    return array
