"""Tables of results as Arrow, pandas and polars have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import MissingExtraError
from hostsim.results.columns import Columns

EXTRA = "frames"


class Columnar(Protocol):
    """A table by its columns, as hostsim.results.tables.Table is one; ``entries`` describe the columns."""

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Values by name."""

    @property
    def entries(self) -> Columns[Any]:
        """Unit and meaning of each column."""



def to_arrow(table: Columnar) -> Any:
    """``table`` as a pyarrow.Table. Whole numbers and floats are the arrays of ``table`` themselves, not copies.

    A column of results has its unit and its meaning as metadata of the field. MissingExtraError without pyarrow.
    """
    with _extra("pyarrow"):
        import pyarrow as pa
    about = {entry.name: {"unit": entry.unit, "description": entry.words} for entry in table.entries}
    arrays = [_array(column) for column in table.columns.values()]
    named = zip(table.columns, arrays, strict=True)
    fields = [pa.field(name, array.type, metadata=about.get(name)) for name, array in named]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def to_pandas(table: Columnar) -> Any:
    """``table`` as a pandas.DataFrame. MissingExtraError without pandas."""
    with _extra("pandas"):
        import pandas as pd
    return pd.DataFrame({name: _values(column) for name, column in table.columns.items()})


def to_polars(table: Columnar) -> Any:
    """``table`` as a polars.DataFrame, by way of Arrow. MissingExtraError without polars or pyarrow."""
    with _extra("polars"):
        import polars as pl
    return pl.from_arrow(to_arrow(table))


def _values(column: Any) -> Any:
    return column if column.dtype.kind in "iufb" else column.tolist()


def _array(column: NDArray[Any]) -> Any:
    """``column`` as a pyarrow.Array over its own memory, bits and texts over a copy.

    Not by pyarrow.array, which imports pandas to see whether its argument is a Series: 0.4 s of each command.
    """
    import pyarrow as pa

    kind = column.dtype.kind
    if kind == "b":
        return pa.Array.from_buffers(pa.bool_(), len(column), [None, _bits(column)])
    if kind not in "iuf":
        return _texts(column.tolist())
    values = pa.py_buffer(np.ascontiguousarray(column))
    return pa.Array.from_buffers(pa.from_numpy_dtype(column.dtype), len(column), [None, values])


def _texts(values: list[str | None]) -> Any:
    """Strings as Arrow lays them out: where each begins, then all their bytes."""
    import pyarrow as pa

    texts = [(value or "").encode() for value in values]
    begins = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    there = None if None not in values else _bits(np.array([value is not None for value in values]))
    return pa.Array.from_buffers(pa.string(), len(texts), [there, pa.py_buffer(begins), pa.py_buffer(b"".join(texts))])


def _bits(flags: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))


@contextmanager
def _extra(package: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(package, EXTRA) from None
