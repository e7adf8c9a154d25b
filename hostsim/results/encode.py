"""Tables and dicts as the bytes of files: JSON, CSV, Parquet. Equal content gives equal bytes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from hostsim.results.tables import Table

WIDE = {"i": "i8", "u": "u8", "f": "f8"}
"""Types of a file's columns by NumPy's kind, so that files of different versions can be read as one."""


def json_bytes(content: Any) -> bytes:
    """UTF-8, keys sorted, two spaces of indent, a newline at the end."""
    text = json.dumps(content, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()


def csv_bytes(table: Table) -> bytes:
    """A header line and a line a row; floats at full precision, NaN and infinity as an empty field."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(_fields(row.values()) for row in table.rows())
    return text.getvalue().encode()


def parquet_bytes(table: Table) -> bytes:
    """The columns of ``table`` with their types; a column of results has its unit and meaning as metadata of the field.

    Needs pyarrow: see ``has_parquet``.
    """
    from pyarrow import parquet

    from hostsim.results.frames import to_arrow

    wide = {name: column.astype(WIDE.get(column.dtype.kind, column.dtype)) for name, column in table.columns.items()}
    buffer = io.BytesIO()
    parquet.write_table(to_arrow(Table(table.name, wide, table.entries)), buffer, compression="snappy")
    return buffer.getvalue()


def has_parquet() -> bool:
    """Whether the extra that writes Parquet is installed."""
    return find_spec("pyarrow") is not None


def _fields(values: Iterable[Any]) -> list[Any]:
    return ["" if isinstance(value, float) and not math.isfinite(value) else value for value in values]


def table_files(stem: str, table: Table) -> dict[str, bytes]:
    """``table`` as CSV and, with the extra ``report``, as Parquet."""
    files = {f"{stem}.csv": csv_bytes(table)}
    return files | {f"{stem}.parquet": parquet_bytes(table)} if has_parquet() else files
