"""Tables for the terminal: the rounds of a migration, the guests of a run, the rows of a validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from hostsim.results.tables import Table
    from hostsim.validation.rows import Row

ROWS_MAX = 12
PAGE_WIRE_BYTES = 4104
"""A whole page on the wire (QEMU migration/ram.c::save_normal_page): what a dirtied page costs the link."""

VALIDATION_COLUMNS = ("suite", "id", "quantity", "expected", "got", "error", "tolerance", "", "note")

Column = tuple[str, Callable[[dict[str, Any]], str]]

ROUND_COLUMNS: tuple[Column, ...] = (
    ("round", lambda row: str(row["round"])),
    ("from", lambda row: seconds_words(row["start_ns"] / 1e9)),
    ("took", lambda row: seconds_words((row["end_ns"] - row["start_ns"]) / 1e9)),
    ("to send", lambda row: bytes_words(row["remaining_start_bytes"])),
    ("sent", lambda row: bytes_words(row["sent_bytes"])),
    ("dirtied at", lambda row: _known(row["round"] > 1, bandwidth_words(row["dirty_rate_pages_per_s"] * PAGE_WIRE_BYTES))),
    ("bandwidth", lambda row: _known(row["bandwidth_bytes_per_s"] > 0, bandwidth_words(row["bandwidth_bytes_per_s"]))),
    ("threshold", lambda row: _known(row["bandwidth_bytes_per_s"] > 0, bytes_words(row["threshold_bytes"]))),
    ("throttle", lambda row: f"{row['throttle_percent']} %"),
)


def evenly(count: int, most: int = ROWS_MAX) -> list[int]:
    """At most ``most`` indexes of ``count``: the first, the last, and evenly between."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def rounds_table(rounds: Table, most: int = ROWS_MAX) -> RichTable:
    """Rounds of a migration, at most ``most`` of them; times since it started."""
    rows = list(rounds.rows())
    shown = evenly(len(rows), most)
    left_out = f" ({len(shown)} of {len(rows)})" if len(shown) < len(rows) else ""
    table = titled_table(f"Rounds{left_out}", [name for name, _ in ROUND_COLUMNS])
    for index in shown:
        table.add_row(*(text(rows[index]) for _, text in ROUND_COLUMNS))
    return table


def plain_table(source: Table, most: int = ROWS_MAX) -> RichTable:
    """Any table under its own column names."""
    rows = list(source.rows())
    table = titled_table(source.name, list(source.columns))
    for index in evenly(len(rows), most):
        table.add_row(*(figure(value) for value in rows[index].values()))
    return table


def validation_table(rows: Sequence[Row]) -> RichTable:
    """One line a row; rows that are shown only are dim."""
    table = titled_table("", VALIDATION_COLUMNS, left=4)
    for row in rows:
        table.add_row(
            row.suite, row.id, row.quantity, figure(row.expected), figure(row.got), figure(row.error),
            figure(row.tolerance), _mark(row), row.note, style=None if row.scored else "dim",
        )  # fmt: skip
    return table


def summary_table(rows: Sequence[Row]) -> RichTable:
    """Passed and failed of each suite; rows that are shown only are counted apart."""
    table = titled_table("Summary", ["suite", "passed", "failed", "shown only"])
    for suite in dict.fromkeys(row.suite for row in rows):
        scored = [row for row in rows if row.suite == suite and row.scored]
        passed = sum(row.passed for row in scored)
        shown = sum(row.suite == suite for row in rows) - len(scored)
        table.add_row(suite, str(passed), str(len(scored) - passed), str(shown))
    return table


def _known(is_known: bool, text: str) -> str:
    """``text``, or a dash for what QEMU has not measured yet: in the first round there is no rate to tell."""
    return text if is_known else "-"


def figure(value: Any) -> str:
    """A value in a cell: five significant digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _mark(row: Row) -> str:
    return "ok" if row.passed else "[red]FAILED[/red]"


def titled_table(title: str, columns: Sequence[str], left: int = 1) -> RichTable:
    """An empty table in the usual look; the first ``left`` columns are not wrapped."""
    from rich import box
    from rich.table import Table as RichTable

    table = RichTable(
        title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False
    )
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left - 1 else "right", no_wrap=index < left)
    return table
