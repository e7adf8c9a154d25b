"""Measured figures beside simulated ones: tables, and files of the measurements of this host's KVM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.console import FAILED
from hostsim.report.html.registry import folder_content, pictures_of
from hostsim.report.tables import figure
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes

if TYPE_CHECKING:
    from hostsim.validation.rows import Row

NOT_BESIDE = "not simulated beside it"


def ratio_of(row: Row) -> float | None:
    """Simulated over real, where both are numbers and the real one is not 0."""
    both = (row.got, row.expected)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in both) or not row.expected:
        return None
    return round(float(row.got or 0) / float(row.expected), 4)


COLUMNS = (
    Column("id", "case: figure", role=Role.KEY, prose=True, of=lambda row: f"{row.id.partition('/')[2]}: {row.quantity}"),
    Column("real", "real", prose=True, least=10, of=lambda row: figure(row.expected)),
    Column("simulated", "simulated", prose=True, least=10, of=lambda row: figure(row.got)),
    Column("ratio", "ratio", of=lambda row: figure(ratio_of(row))),
    Column("passed", "", of=lambda row: ("ok" if row.passed else FAILED) if row.scored else "shown"),
    Column("note", "note", role=Role.SPARE, prose=True, of=lambda row: row.note),
)


def beside_grid(rows: Sequence[Row]) -> Grid:
    """A line a figure that was simulated; figures that are shown only are dim."""
    found = [row for row in rows if NOT_BESIDE not in row.note]
    return grid_of(COLUMNS, found, "migrations", (i for i, row in enumerate(found) if not row.scored))


def measured_lines(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each measurement that has no simulation beside it."""
    for row in rows:
        if NOT_BESIDE in row.note:
            reported = f"{row.quantity} {row.expected}; " if row.quantity != "outcome" else f"{row.expected}; "
            yield f"{row.id.partition('/')[2]}: {reported}{row.note}"


def write_real(out: Path, kind: str, name: str, told: dict[str, Any]) -> list[Path]:
    """Write <name>.json and, with matplotlib, <name>.png and .svg beside it; their paths. OutputError.

    kind: of the report, selftest or chains.
    """
    return write_files(out, {f"{name}.json": json_bytes(told)} | pictures_of(folder_content(kind, told, {}), name))
