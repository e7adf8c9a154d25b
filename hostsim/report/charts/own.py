"""The chart of a mechanism's own table, from the columns that it declares: figures of one unit share a panel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.constants import NS_PER_S
from hostsim.report.charts.chart import COLOURS, Axis, Chart, Line, Look, Panel, spans_decades
from hostsim.results.mechanism import mechanisms

if TYPE_CHECKING:
    from hostsim.results.columns import Column
    from hostsim.results.mechanism import Mechanism
    from hostsim.results.tables import MigrationResult, Table

QUANTITIES = {"ns": ("time", "ns"), "bytes": ("bytes", "bytes")}
"""Label and quantity of an axis by the unit of its columns; another unit is a label itself, of counts."""
LINES_MAX = 200
"""Rows whose points a line joins; more would cover the panel."""


def own_charts(migration: MigrationResult, number: int = 0) -> Iterator[Chart]:
    """A chart for each mechanism whose table has rows, and says when they happened."""
    for one in mechanisms():
        if one.moments and one.name in migration.own and len(migration.own[one.name].table):
            yield _own_chart(one, migration.own[one.name].table, number)


def _own_chart(one: Mechanism, table: Table, number: int) -> Chart:
    moment = next(column for column in one.table if column.name == one.moments[0])
    x = table[moment.name] / NS_PER_S
    by_unit: dict[str, list[Column[Any]]] = {}
    for column in one.table:
        if not column.key and column.name not in one.moments:
            by_unit.setdefault(column.unit, []).append(column)
    panels = tuple(_panel(unit, columns, table, x) for unit, columns in by_unit.items())
    name = one.name if number == 0 else f"{one.name}-{number + 1}"
    return Chart(name, one.title, Axis(moment.words, "s", low=0.0), panels, group=name)


def _panel(unit: str, columns: list[Column[Any]], table: Table, x: Any) -> Panel:
    label, quantity = QUANTITIES.get(unit, (unit, ""))
    values = [table[column.name].astype(float) for column in columns]
    look: Look = "line" if len(x) <= LINES_MAX else "points"
    is_log = spans_decades([one for value in values for one in value.tolist()])
    lines = [
        Line(column.label or column.heading, x, np.where(value > 0, value, np.nan) if is_log else value, colour, look)
        for column, value, colour in zip(columns, values, COLOURS, strict=False)
    ]
    return Panel(Axis(lines[0].name if len(lines) == 1 else label, quantity, is_log, None if is_log else 0.0), tuple(lines))
