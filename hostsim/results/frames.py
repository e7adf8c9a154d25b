"""Tables of results as Arrow, pandas and polars have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hostsim.core.errors import MissingExtraError

if TYPE_CHECKING:
    from hostsim.results.tables import Table

EXTRA = "frames"


def to_arrow(table: Table) -> Any:
    """``table`` as a pyarrow.Table. Whole numbers and floats are the arrays of ``table`` themselves, not copies.

    A column of results has its unit and its meaning as metadata of the field. MissingExtraError without pyarrow.
    """
    with _extra("pyarrow"):
        import pyarrow as pa
    about = {entry.name: {"unit": entry.unit, "description": entry.words} for entry in table.entries}
    arrays = [pa.array(column) if column.dtype.kind in "iufb" else _texts(column) for column in table.columns.values()]
    named = zip(table.columns, arrays, strict=True)
    fields = [pa.field(name, array.type, metadata=about.get(name)) for name, array in named]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def to_pandas(table: Table) -> Any:
    """``table`` as a pandas.DataFrame. MissingExtraError without pandas."""
    with _extra("pandas"):
        import pandas as pd
    return pd.DataFrame({name: _values(column) for name, column in table.columns.items()})


def to_polars(table: Table) -> Any:
    """``table`` as a polars.DataFrame, by way of Arrow. MissingExtraError without polars or pyarrow."""
    with _extra("polars"):
        import polars as pl
    return pl.from_arrow(to_arrow(table))


def _values(column: Any) -> Any:
    return column if column.dtype.kind in "iufb" else column.tolist()


def _texts(column: Any) -> Any:
    import pyarrow as pa

    return pa.array(column.tolist(), pa.string())


@contextmanager
def _extra(package: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingExtraError(package, EXTRA) from None
