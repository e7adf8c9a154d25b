"""Layout of a table on a terminal: in one part if it fits, else in several, one below the other, each with the keys.

No cell is cut. Headings are wrapped at their words; so is prose, but never between a number and its unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hostsim.report.columns import Column, Grid, Role

GAP = 2
"""Spaces between columns."""
PROSE_GOOD = 40
"""Letters that prose keeps beside columns that are not needed, unless it is shorter."""
GLUE = "\N{NO-BREAK SPACE}"
_NUMBER_AND_WORD = re.compile(r"(?<![^\s(])([±+\-~<>=]*\d[\d.,]*[kMGT]?) (?=\S)")
_COMMAND = re.compile(r"`[^`]*`")
"""What a reader copies: it stays in one piece, even if it is longer than a line."""
_LONG = re.compile(r"(?<=[,/=_:])(?=.)")
"""Places at which a word that is wider than its column may break."""
_FIGURE = re.compile(r"[-+±~<]*\.?\d|[-~]?$|inf$|nan$")


@dataclass(frozen=True)
class Part:
    """Some columns of a table with their headings and cells as lines; right: of each, whether it stands at the right."""

    widths: tuple[int, ...]
    headings: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[tuple[str, ...], ...], ...]
    right: tuple[bool, ...]

    @property
    def width(self) -> int:
        """Letters of a line."""
        return sum(self.widths) + GAP * (len(self.widths) - 1)


@dataclass(frozen=True)
class Layout:
    """Parts in their order; left_out: headings of the columns that are not shown."""

    parts: tuple[Part, ...]
    left_out: tuple[str, ...] = ()


def laid_out(grid: Grid, width: int | None) -> Layout:
    """``grid`` for lines of at most ``width`` letters; None: every column in one part, as wide as that takes."""
    everything = list(range(len(grid.columns)))
    if width is None:
        return Layout((_part(grid, everything, _Sizes(grid).natural),))
    sizes = _Sizes(grid)
    shown = sizes.with_spare([i for i in everything if grid.columns[i].role is not Role.SPARE], width)
    widths = sizes.one_part(shown, width)
    parts = [_part(grid, shown, widths)] if widths else list(_several(grid, sizes, width))
    return Layout(tuple(parts), tuple(grid.columns[i].title for i in everything if i not in shown))


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most ``width`` letters, broken between words but not in a number with its unit, nor in a command.

    indent: put before each line of ``text`` but the first. A word longer than ``width`` is broken at _LONG if it can be.
    """
    lines = [""]
    for space, piece in _pieces(text, width):
        if lines[-1].strip() and len(lines[-1] + space + piece) > width:
            lines.append(indent + piece)
        else:
            lines[-1] += (space if lines[-1].strip() else "") + piece
    return [line.replace(GLUE, " ") for line in lines]


def _pieces(text: str, width: int) -> Iterator[tuple[str, str]]:
    """(separator from the piece before, piece) of each piece of ``text`` that may stand on a line of its own."""
    lead = text[: len(text) - len(text.lstrip(" "))]
    for i, word in enumerate(_glued(text).split(" ")):
        parts = _LONG.split(word) if len(word) > width and "`" not in word else [word]
        yield ("", lead + parts[0]) if i == 0 else (" ", parts[0])
        yield from (("", part) for part in parts[1:])


def _glued(text: str) -> str:
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", GLUE), text)
    return _NUMBER_AND_WORD.sub(rf"\1{GLUE}", whole)


class _Sizes:
    """Letters that the columns of a table take: natural: all in one line; narrow: a word of the heading a line."""

    def __init__(self, grid: Grid) -> None:
        cells = [grid.of_column(number) for number in range(len(grid.columns))]
        each = list(zip(grid.columns, cells, strict=True))
        self.grid = grid
        self.natural = [_widest([column.title, *texts]) for column, texts in each]
        self.prose = [column.prose for column in grid.columns]
        self.narrow = [
            max(_longest([column.title]), min(column.least, _widest(texts)), _longest(map(_breakable, texts)))
            if column.prose else max(_longest([column.title]), _widest(texts))
            for column, texts in each
        ]  # fmt: skip

    def one_part(self, shown: Sequence[int], width: int, prose_min: int = 0) -> list[int] | None:
        """Letters of each column ``shown`` if all fit into ``width`` letters; None if they do not.

        Headings stand in one line, or else in several.
        prose_min: letters that a column of prose needs at least, unless its text is shorter; 0: its longest word.
        """
        for widths in (self.natural, self.narrow):
            fitted = self._fitted(shown, widths, width, prose_min)
            if fitted is not None:
                return fitted
        return None

    def _fitted(self, shown: Sequence[int], widths: Sequence[int], width: int, prose_min: int) -> list[int] | None:
        """``widths`` with prose as wide as the room left allows; None if there is less than it needs."""
        least = [self.narrow[i] if self.prose[i] else widths[i] for i in shown]
        spare = width - sum(least) - GAP * (len(shown) - 1)
        for n, i in enumerate(shown):
            if self.prose[i] and spare >= 0:
                more = min(spare, self.natural[i] - least[n])
                least[n], spare = least[n] + more, spare - more
                spare = spare if least[n] >= min(prose_min, self.natural[i]) else -1
        return least if spare >= 0 else None

    def with_spare(self, needed: list[int], width: int) -> list[int]:
        """``needed`` columns, with those of the others that leave them in one part."""
        shown = needed
        for i, column in enumerate(self.grid.columns):
            if column.role is Role.SPARE and self.one_part(sorted([*shown, i]), width, PROSE_GOOD):
                shown = sorted([*shown, i])
        return shown

    def groups(self, width: int) -> list[list[int]]:
        """Columns of the parts, each with the keys: as few parts as there can be, about as wide as each other."""
        best = self._filled_from_left(width)
        for narrower in range(width - 1, 0, -1):
            groups = self._filled_from_left(narrower)
            if len(groups) > len(best):
                break
            best = groups
        return best

    def _filled_from_left(self, width: int) -> list[list[int]]:
        keys = [i for i, column in enumerate(self.grid.columns) if column.role is Role.KEY]
        found: list[list[int]] = []
        for more in joined(self.grid):
            if found and self.one_part([*found[-1], *more], width) is not None:
                found[-1] += more
            else:
                found.append([*keys, *more])
        return found or [keys]


def joined(grid: Grid) -> Iterator[list[int]]:
    """Indexes of the figure columns of ``grid``, in groups that stay in one part."""
    figures = [i for i, column in enumerate(grid.columns) if column.role is Role.FIGURE]
    starts = [n for n, i in enumerate(figures) if not grid.columns[i].joined]
    yield from (figures[start:end] for start, end in zip(starts, [*starts[1:], len(figures)], strict=True))


def _several(grid: Grid, sizes: _Sizes, width: int) -> Iterator[Part]:
    """Parts one below the other; if a single cell is wider than the terminal, its part is as wide as the cell."""
    numbered = _numbered(grid, sizes, width)
    sizes = sizes if numbered is grid else _Sizes(numbered)
    for shown in sizes.groups(width):
        widths = sizes.one_part(shown, width) or [sizes.narrow[i] for i in shown]
        yield _part(numbered, shown, widths)


def _numbered(grid: Grid, sizes: _Sizes, width: int) -> Grid:
    """``grid`` with rows named by their number if its keys leave no room for the widest figure beside them."""
    keys = [i for i, column in enumerate(grid.columns) if column.role is Role.KEY]
    if all(sizes.one_part([*keys, *some], width) is not None for some in joined(grid)):
        return grid
    columns = [Column("#", "#", role=Role.KEY)]
    columns += [replace(c, role=Role.FIGURE, prose=True) if c.role is Role.KEY else c for c in grid.columns]
    cells = [(str(number), *row) for number, row in enumerate(grid.cells, start=1)]
    return Grid(tuple(columns), tuple(cells), grid.title, grid.dim)


def _part(grid: Grid, shown: Sequence[int], widths: Sequence[int]) -> Part:
    headings = [wrapped(grid.columns[i].title, wide) for i, wide in zip(shown, widths, strict=True)]
    high = max(map(len, headings), default=0)
    rows = [
        tuple(_lines(row[i], grid.columns[i], wide) for i, wide in zip(shown, widths, strict=True)) for row in grid.cells
    ]
    return Part(
        tuple(widths), tuple(tuple([""] * (high - len(lines)) + lines) for lines in headings), tuple(rows),
        tuple(_is_right(grid, i) for i in shown),
    )  # fmt: skip


def _lines(cell: str, column: Column, width: int) -> tuple[str, ...]:
    return tuple(wrapped(cell, width)) if column.prose else (cell,)


def _is_right(grid: Grid, number: int) -> bool:
    return is_figure(grid.of_column(number))


def is_figure(cells: Iterable[str]) -> bool:
    """Whether a column holds figures only, which stand at the right."""
    return all(_FIGURE.match(cell) for cell in cells)


def _breakable(text: str) -> str:
    """``text`` with spaces where a word that is too long is broken."""
    return _LONG.sub(" ", text)


def _widest(cells: Iterable[str]) -> int:
    return max(map(len, cells), default=0)


def _longest(texts: Iterable[str]) -> int:
    """Letters of the longest piece that is never broken."""
    return max((len(word) for text in texts for word in _glued(text).split(" ")), default=0)
