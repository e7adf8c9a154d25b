"""Rows of result tables by name, where most columns do not matter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hostsim.results.columns import Column


def row_of(columns: Iterable[Column[Any]], **values: Any) -> dict[str, Any]:
    """``values`` by name; a column without one has 0, or an empty string."""
    row = {column.name: "" if column.dtype == "str" else 0 for column in columns}
    assert set(values) <= set(row), f"no columns: {sorted(set(values) - set(row))}"
    return row | values
