"""Records: state with named fields. An array of records is an array of bytes with fields at constant offsets.

Compiled code reads and writes ``array[i].field`` at that offset, as fast as an array of numbers, and compiles as fast
(docs/background/design-choices.md has the figures). Plain Python uses a property for each field.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar, cast, get_args, get_origin, get_type_hints, overload

import numpy as np
from numpy.typing import NDArray

R = TypeVar("R", bound="Record")
R_co = TypeVar("R_co", bound="Record", covariant=True)


if TYPE_CHECKING:

    class _Void:
        """numpy.void, which its stubs call final."""

else:
    _Void = np.void


class Record(_Void):
    """Base of records. An annotated name is a field: int (int64), float (float64), or Annotated[.., n], n of them."""

    def __init_subclass__(cls) -> None:
        # numpy.record has names too, but looks each of them up in Python code: four times as slow where the JIT is off.
        for name in cls.__annotations__:
            setattr(cls, name, _field(name))


def _field(name: str) -> property:
    def read(self: Any) -> Any:
        return self[name]

    def write(self: Any, value: Any) -> None:
        self[name] = value

    return property(read, write)


class Records(Protocol[R_co]):
    """An array of records, as type checkers see it; ``array[name]`` is the array of one field."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of records along each dimension, as of any array."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[R_co]: ...

    @overload
    def __getitem__(self, at: int) -> R_co: ...

    @overload
    def __getitem__(self, at: tuple[int, int]) -> R_co: ...

    @overload
    def __getitem__(self, at: str) -> NDArray[Any]: ...

    @overload
    def __getitem__(self, at: slice) -> Records[R_co]: ...

    def __getitem__(self, at: Any) -> Any: ...

    def __setitem__(self, at: str, value: Any) -> None: ...

    def copy(self) -> Records[R_co]:
        """A copy of the records, as of any array."""
        ...

    def tolist(self) -> list[tuple[Any, ...]]:
        """The records as tuples, as of any array."""
        ...


@cache
def dtype_of(record: type[Record]) -> np.dtype[Any]:
    """The dtype of arrays of ``record``; evaluating its annotations took half of the time in which a guest is laid out."""
    hints = get_type_hints(record, include_extras=True)
    # Aligned: for an unaligned record compiled code would read each word by slower, unaligned loads.
    fields = np.dtype([(name, *_kind(hints[name])) for name in record.__annotations__], align=True)
    return np.dtype((record, fields))


def _kind(hint: Any) -> tuple[Any, ...]:
    """(scalar type of a field, number of its elements)."""
    if get_origin(hint) is Annotated:
        base, n = get_args(hint)
        return (np.int64, (n,)) if base is not float else (np.float64, (n,))
    return (np.float64 if hint is float else np.int64,)


def records(record: type[R], *shape: int) -> Records[R]:
    """An array of ``record``, all fields 0."""
    dtype = dtype_of(cast("Any", record))  # type checkers take no class of numpy.void for hashable
    return cast("Records[R]", np.zeros(shape, dtype))


def one(record: type[R]) -> R:
    """A single record, all fields 0."""
    return records(record, 1)[0]
