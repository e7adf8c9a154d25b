"""Fields of the records of a ByReference, as compiled code sees them: each is memory that no other access touches."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Any

import numba
import numba.core.cgutils
import numba.core.datamodel.models
import numba.core.typing
import numba.extending

from hostsim.compiled.from_front import FromFront
from hostsim.compiled.named_memory import load, store

_numba: Any = numba
_types: Any = _numba.types
_extending: Any = _numba.extending
_cgutils: Any = _numba.core.cgutils
_typing: Any = _numba.core.typing.templates


class OwnRecord(_types.Record):  # type: ignore[misc]
    """numba's type of such a record, by a name of its own."""

    name: str

    def __init__(self, fields: Any, size: int, aligned: bool) -> None:
        super().__init__(fields, size, aligned)
        self.name = f"Own{self.name}"
        self.digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return str(self.name)


def own_fields(typ: Any) -> Any:
    """The type of a record, of an array or of a named tuple of arrays, with such arrays and records; others as they are."""
    if isinstance(typ, _types.BaseNamedTuple):
        return _types.NamedTuple(tuple(own_fields(one) for one in typ), typ.instance_class)
    if isinstance(typ, _types.Record):
        return OwnRecord([(name, _parts_of(field)) for name, field in typ.fields.items()], typ.size, typ.aligned)
    if isinstance(typ, _types.Array):
        return FromFront(own_fields(typ.dtype), typ.ndim, typ.layout, readonly=not typ.mutable, aligned=typ.aligned)
    return typ


def _parts_of(field: Any) -> dict[str, Any]:
    """What numba's type of a record is made of, for one field."""
    return {"type": field.type, "offset": field.offset, "alignment": field.alignment, "title": field.title}


_extending.register_model(OwnRecord)(_extending.models.RecordModel)


@_typing.infer_getattr
class _Fields(_typing.AttributeTemplate):  # type: ignore[misc]
    key = OwnRecord

    def generic_resolve(self, typ: OwnRecord, name: str) -> Any:
        found = typ.typeof(name) if name in typ.fields else None
        return FromFront(found.dtype, found.ndim, "C") if isinstance(found, _types.NestedArray) else found


@_extending.lower_getattr_generic(OwnRecord)  # type: ignore[untyped-decorator]
def _read(context: Any, builder: Any, typ: OwnRecord, record: Any, name: str) -> Any:
    kind = typ.typeof(name)
    if isinstance(kind, _types.NestedArray):  # its elements are memory of their type
        arrayobj: Any = import_module("numba.np.arrayobj")  # when code is compiled: a warm run does without its 18 ms
        return arrayobj.record_getattr(context, builder, typ, record, name)
    return load(context, builder, kind, _place(context, builder, typ, record, name), f"{typ.digest}.{name}")


@_extending.lower_setattr_generic(OwnRecord)  # type: ignore[untyped-decorator]
def _write(context: Any, builder: Any, signature: Any, arguments: Any, name: str) -> None:
    typ, given = signature.args
    value = context.cast(builder, arguments[1], given, typ.typeof(name))
    place = _place(context, builder, typ, arguments[0], name)
    store(context, builder, typ.typeof(name), value, place, f"{typ.digest}.{name}")


def _place(context: Any, builder: Any, typ: OwnRecord, record: Any, name: str) -> Any:
    return _cgutils.get_record_member(builder, record, typ.offset(name), context.get_data_type(typ.typeof(name)))
