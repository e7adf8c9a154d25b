"""A table before it is laid out: headings and formats of its columns, and its cells as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from hostsim.results.columns import in_place
from hostsim.verdict.words import bandwidth_words, bytes_words, count_words, percent_words, span_words

if TYPE_CHECKING:
    from hostsim.results.columns import Column as ResultColumn

WORDS: Mapping[str, Callable[[Any], str]] = {
    "": str, "ns": span_words, "bytes": bytes_words, "bytes/s": bandwidth_words, "share": percent_words,
    "percent": lambda percent: f"{percent} %",
}  # fmt: skip
"""The format of a value of results, by its unit; a value with another unit is written as a count."""


class Role(Enum):
    """KEY names its row: at the left of each part of a table. FIGURE is always shown. SPARE where a single part has room."""

    KEY = "key"
    FIGURE = "figure"
    SPARE = "spare"


@dataclass(frozen=True)
class Column:
    """A column of a table on the terminal; for one of results, ``shown`` makes it from the entry of the registry.

    name: key of a row; heading: may be wrapped at its words; words: a value as text, with its unit.

    unit: of all cells, if they have none themselves; prose: cells may be wrapped at their words, as no other is;
    of: makes the value from the whole row, where it is not ``row[name]``; joined: stays in the part of the column before;
    if_any: shown only where any row has more than 0; least: letters that prose is not squeezed below, unless it is shorter.
    """

    name: str
    heading: str
    words: Callable[[Any], str] = str
    role: Role = Role.FIGURE
    unit: str = ""
    prose: bool = False
    of: Callable[[Any], Any] | None = None
    joined: bool = False
    if_any: bool = False
    least: int = 22

    @property
    def title(self) -> str:
        """The heading with the unit."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading

    def cell(self, row: Any) -> str:
        """The text of the cell of ``row``: a mapping, or a record that ``of`` takes."""
        return self.words(self.value(row))

    def value(self, row: Any) -> Any:
        """The value of the cell of ``row``."""
        return row[self.name] if self.of is None else self.of(row)


@dataclass(frozen=True)
class Grid:
    """A table as text: ``cells``: a row a line; dim: rows that are less important; title: a line above."""

    columns: tuple[Column, ...]
    cells: tuple[tuple[str, ...], ...]
    title: str = ""
    dim: frozenset[int] = frozenset()

    def of_column(self, number: int) -> list[str]:
        """All cells of a column."""
        return [row[number] for row in self.cells]


def grid_of(columns: Iterable[Column], rows: Iterable[Any], title: str = "", dim: Iterable[int] = ()) -> Grid:
    """The table of ``rows`` under ``columns``."""
    every = list(rows)
    shown = in_use(columns, every)
    return Grid(shown, tuple(tuple(column.cell(row) for column in shown) for row in every), title, frozenset(dim))


def in_use(columns: Iterable[Column], rows: Sequence[Any]) -> tuple[Column, ...]:
    """``columns`` without the ``if_any`` columns in which no row has more than 0."""
    return tuple(column for column in columns if not column.if_any or any(column.value(row) for row in rows))


def shown(columns: Iterable[ResultColumn[Any]], **otherwise: Mapping[str, Any]) -> tuple[Column, ...]:
    """The registry's columns with a heading; rows are mappings by name.

    otherwise: by name, fields of ``Column`` that replace in this table the ones derived from unit and entry.
    """
    return tuple(_shown(column, otherwise.get(column.name, {})) for column in in_place(columns) if column.heading)


def _shown(column: ResultColumn[Any], otherwise: Mapping[str, Any]) -> Column:
    role = Role.KEY if column.key else Role.SPARE if column.spare else Role.FIGURE
    words = WORDS.get(column.unit, count_words)
    return replace(Column(column.name, column.heading, words, role, if_any=column.if_any), **otherwise)


def keys_of(names: Mapping[str, str] | Sequence[str]) -> list[Column]:
    """A key column for each of ``names``, under its heading if these are given."""
    headings = names if isinstance(names, Mapping) else {name: name for name in names}
    return [Column(name, heading, role=Role.KEY) for name, heading in headings.items()]
