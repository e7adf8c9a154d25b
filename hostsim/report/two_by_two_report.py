"""The tables of the 2x2 of ageing: with or without A bits, fast or slow index; without and with a migration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.tables import NONE
from hostsim.study.ageing.two_by_two import Cell
from hostsim.verdict.words import seconds_words, span_words

COLUMNS = (
    Column("bit", "bit", role=Role.KEY, of=lambda cell: "yes" if cell.a_bits else "none"),
    Column("index", "index", role=Role.KEY, of=lambda cell: cell.index),
    Column("pass", "pass", of=lambda cell: span_words(cell.pass_ns)),
    Column("used", "in use", of=lambda cell: f"{cell.used_pages:.0f}"),
    Column("false_old", "false old", of=lambda cell: f"{cell.false_old_pages:.1f}"),
    Column("faults", "faults a pass", of=lambda cell: f"{cell.faults:.0f}"),
    Column("slowdown", "slowdown", of=lambda cell: f"{100 * cell.slowdown:.2f} %"),
    Column("wait", "longest wait", of=lambda cell: span_words(cell.longest_wait_ns)),
)


def _migration(cell: Cell) -> str:
    if cell.migration_s is None:
        return NONE
    return f"{seconds_words(cell.migration_s)}{'' if cell.completed else ', given up'}"


def _plain(cell: Cell) -> str:
    return NONE if cell.plain_migration_s is None else seconds_words(cell.plain_migration_s)


MIGRATION = (Column("migration", "migration", of=_migration), Column("plain", "if not aged", of=_plain))


def two_by_two_tables(cells: Sequence[Cell]) -> Iterator[Grid]:
    """A line a cell: first those without a migration."""
    yield grid_of(COLUMNS, [cell for cell in cells if not cell.migrates], "Alone")
    yield grid_of([*COLUMNS, *MIGRATION], [cell for cell in cells if cell.migrates], "While the VM migrates")
