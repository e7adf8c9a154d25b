"""A column of results, said once: its name, its unit, its meaning, and the place from which its value is read.

``Column`` is an entry of the registry. A table of results is a tuple of them, in the order of its files, beside the record
that they read: ``ROUNDS`` reads a ``Round``, ``SERIES`` a ``Moment``. From that tuple follow

- the columns of CSV and Parquet, with unit and meaning as metadata of the Parquet field (``Table.read``);
- the object in ``run.json`` and ``--json`` (``read_row``);
- the tables of the terminal, if the entry has a heading (``hostsim.report.columns.shown``);
- headings in the tables of ``hostsim compare``, if it has a title (``titles``), and names of lines in pictures (``labels``);
- the tables of docs/reference/results.md (``hostsim.results.registry``, written by docs/tools/write_results.py).

An entry is typed by its record, so mypy checks each ``source``. A study may use entries in the same way::

    FIGURES: tuple[Column[RunResult], ...] = (
        Column("end_ns", INT, "ns", "took", "simulated time at the end", lambda run: run.end_ns),
    )
    read_row(FIGURES, result)     # {"end_ns": 5252000000}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)
"""A source that reads more kinds of records than one reads these, too."""
Dtype = Literal["int64", "float64", "str", "json"]
INT: Dtype = "int64"
FLOAT: Dtype = "float64"
STR: Dtype = "str"
JSON: Dtype = "json"
"""A list or an object: in run.json only."""
UNITS = {
    "ns": "_ns", "ms": "_ms", "s": "_s", "bytes": "_bytes", "percent": "_percent", "bytes/s": "_bytes_per_s",
    "pages/s": "_per_s", "calls/s": "_per_s", "us": "_us",
}  # fmt: skip
"""Units that end a name, and how. The others (pages, exits, calls, a share of 1) end it where the name does not say them."""


@dataclass(frozen=True)
class Column(Generic[R_contra]):
    """One figure of results.

    name: of the column or key; a unit of ``UNITS`` ends it. dtype: of NumPy, or "json".
    unit: of the value, "" where it has none. words: the meaning, a sentence without its full stop, in Markdown.
    source: reads the value from a record of the table.

    heading: in a table of the terminal, "" if no such table shows the column.
    key: the column names the row there. spare: left out where the terminal is narrow. if_any: shown only if a row has
    more than 0.
    place: terminal tables are sorted by it first, by the order of files then.
    title: heading in a table of ``hostsim compare``, "" if that table does not show the column.
    label: of the column's line in a picture, if that is not the heading.
    """

    name: str
    dtype: Dtype
    unit: str
    heading: str
    words: str
    source: Callable[[R_contra], Any]
    key: bool = False
    spare: bool = False
    if_any: bool = False
    place: int = 0
    title: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        ends = UNITS.get(self.unit, "")
        assert f"_{self.name}".endswith(ends), f"column {self.name}: in {self.unit}, so its name ends in {ends}"


Columns = tuple[Column[R], ...]


def names(columns: Iterable[Column[Any]]) -> list[str]:
    """Names of ``columns``, in the order of files."""
    return [column.name for column in columns]


def schema(columns: Iterable[Column[Any]]) -> dict[str, str]:
    """Name to dtype, in the order of files: the argument of ``Table.of``."""
    return {column.name: column.dtype for column in columns}


def read_row(columns: Iterable[Column[R]], record: R) -> dict[str, Any]:
    """The values of ``record`` by name."""
    return {column.name: column.source(record) for column in columns}


def titles(columns: Iterable[Column[Any]], prefix: str = "") -> dict[str, str]:
    """``prefix`` and name to the title in a comparison, of columns with a title, in the order of terminal tables."""
    return {f"{prefix}{column.name}": column.title for column in in_place(columns) if column.title}


def labels(columns: Iterable[Column[Any]]) -> dict[str, str]:
    """Name to the label of its line in a picture."""
    return {column.name: column.label or column.heading for column in columns}


def in_place(columns: Iterable[Column[R]]) -> Sequence[Column[R]]:
    """``columns`` in the order of terminal tables."""
    return sorted(columns, key=lambda column: column.place)
