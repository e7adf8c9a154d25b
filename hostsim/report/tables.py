"""Tables of a run and of a validation: the rounds of a migration, the guests of a run, the rows of a validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.report.columns import Column, Grid, Role, grid_of, in_use, shown
from hostsim.report.console import FAILED
from hostsim.results.rounds import ROUNDS
from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

if TYPE_CHECKING:
    from hostsim.results.tables import Table
    from hostsim.validation.rows import Row

ROWS_MAX = 12
NONE = "-"
"""Stands for a value that is unknown or does not apply."""


def _dirtied(row: dict[str, Any]) -> str:
    """The first sync has none before it to count from."""
    return NONE if row["round"] == 1 else bandwidth_words(row["dirty_rate_pages_per_s"] * PAGE_WIRE_BYTES)


def _known(words: Any) -> Any:
    """``words`` for a measured value, else NONE; QEMU has no bandwidth or threshold before its first 100 ms window ends."""
    return lambda value: words(value) if value > 0 else NONE


def moment_words(ns: float) -> str:
    """A time since the start: in milliseconds at least, for it stands below larger ones."""
    return seconds_words(ns / 1e9)


ROUND_COLUMNS = shown(
    ROUNDS,
    start_ns={"words": moment_words},
    end_ns={"words": moment_words, "of": lambda row: row["end_ns"] - row["start_ns"]},
    dirty_rate_pages_per_s={"words": str, "of": _dirtied},
    bandwidth_bytes_per_s={"words": _known(bandwidth_words)},
    threshold_bytes={"words": _known(bytes_words)},
)
VALIDATION_COLUMNS = (
    Column("id", "case: quantity", role=Role.KEY, prose=True, of=lambda row: f"{row.id}: {row.quantity}"),
    Column("expected", "expected", prose=True, least=12, of=lambda row: figure(row.expected)),
    Column("got", "got", prose=True, least=12, of=lambda row: figure(row.got)),
    Column("error", "error", of=lambda row: figure(row.error)),
    Column("tolerance", "tolerance", role=Role.SPARE, of=lambda row: figure(row.tolerance)),
    Column("passed", "", of=lambda row: "ok" if row.passed else FAILED if row.scored else "shown"),
    Column("note", "note", role=Role.SPARE, prose=True, of=lambda row: row.note),
)
SUMMARY_COLUMNS = (
    Column("suite", "suite", role=Role.KEY), Column("passed", "passed"), Column("failed", "failed"),
    Column("shown", "shown only"),
)  # fmt: skip


def evenly(count: int, most: int = ROWS_MAX) -> list[int]:
    """At most ``most`` indexes below ``count``: the first, the last, and evenly between."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def some_rows(title: str, columns: Sequence[Column], rows: Sequence[Any], most: int = ROWS_MAX, of: str = "") -> Grid:
    """A table of at most ``most`` of ``rows``; if that leaves any out the title has both numbers, and ``of`` them."""
    shown = evenly(len(rows), most)
    left_out = f" ({len(shown)} of {len(rows)}{of})" if len(shown) < len(rows) else ""
    used = [replace(column, if_any=False) for column in in_use(columns, rows)]
    return grid_of(used, [rows[index] for index in shown], f"{title}{left_out}")


def rounds_table(rounds: Table, most: int = ROWS_MAX) -> Grid:
    """Rounds of a migration, at most ``most`` of them; times since it started; the throttle if there is any."""
    return some_rows("Rounds", ROUND_COLUMNS, list(rounds.rows()), most)


def plain_table(source: Table, most: int = ROWS_MAX) -> Grid:
    """Any table under its own column names; the first one names the rows."""
    first, *others = source.columns
    columns = [Column(first, first, figure, Role.KEY), *(_plain(name) for name in others)]
    return some_rows(source.name, columns, list(source.rows()), most)


def _plain(name: str) -> Column:
    """``lock_wait_s`` -> "lock wait [s]"."""
    stem, _, unit = name.rpartition("_")
    has_unit = bool(stem) and unit in {"s", "ms", "us", "ns"}
    return Column(name, (stem if has_unit else name).replace("_", " "), figure, unit=unit if has_unit else "")


def validation_tables(rows: Sequence[Row]) -> Iterator[Grid]:
    """A table a suite, a line a row; rows that are shown only are dim."""
    for suite in dict.fromkeys(row.suite for row in rows):
        mine = [row for row in rows if row.suite == suite]
        yield grid_of(VALIDATION_COLUMNS, mine, suite, (i for i, row in enumerate(mine) if not row.scored))


def summary_table(rows: Sequence[Row]) -> Grid:
    """Passed and failed of each suite; rows that are shown only are counted apart."""
    suites = dict.fromkeys(row.suite for row in rows)
    return grid_of(SUMMARY_COLUMNS, [_counted(suite, rows) for suite in suites], "Summary")


def _counted(suite: str, rows: Sequence[Row]) -> dict[str, Any]:
    mine = [row for row in rows if row.suite == suite]
    passed = [row.passed for row in mine if row.scored]
    return {
        "suite": suite, "passed": sum(passed), "failed": len(passed) - sum(passed), "shown": len(mine) - len(passed)
    }  # fmt: skip


def figure(value: Any) -> str:
    """A value in a cell: five significant digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
