"""The tables behind charts: for readers who see no chart, and for those who want the figures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from hostsim.report.charts.chart import Array, Bars, Chart, HeatMap, Line, Panel, words
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.tables import NONE, evenly

ROWS_MAX = 16
CELLS_MAX = 16
"""Places of the axis y up to which the table of a map has a column for each."""


def tables_behind(chart: Chart) -> Iterator[Grid]:
    """A table a panel: some values of its lines, and the least and greatest of each."""
    for part in chart.panels:
        if isinstance(part, Panel) and part.lines:
            yield _of_lines(chart, part)
        elif isinstance(part, HeatMap):
            yield _of_map(chart, part)
        elif isinstance(part, Bars):
            yield _of_bars(part)


def _grid(heads: list[str], rows: list[tuple[str, ...]], title: str) -> Grid:
    columns = [Column(head, head, role=Role.FIGURE if i else Role.KEY) for i, head in enumerate(heads)]
    return Grid(tuple(columns), tuple(rows), title)


def _of_lines(chart: Chart, panel: Panel) -> Grid:
    axis = panel.x or chart.x
    longest = max(panel.lines, key=lambda line: len(line.x))
    places = longest.x[evenly(len(longest.x), ROWS_MAX)] if len(longest.x) else np.empty(0)
    rows = [(words(float(x), axis.quantity), *(words(value_at(line, float(x)), panel.y.quantity) for line in panel.lines))
            for x in dict.fromkeys(places.tolist())]  # fmt: skip
    for name, pick in (("least", np.nanmin), ("greatest", np.nanmax)):
        rows.append((name, *(words(_over(line.y, pick), panel.y.quantity) for line in panel.lines)))
    return _grid([axis.label, *(line.name for line in panel.lines)], rows, panel.title or panel.y.label)


def _over(values: Array, pick: object) -> float:
    finite = values[np.isfinite(values.astype(float))]
    return float(pick(finite)) if len(finite) and callable(pick) else float("nan")


def value_at(line: Line, x: float) -> float:
    """The value of ``line`` at ``x``: of a step the one that holds there, else that of the nearest point."""
    if not len(line.x):
        return float("nan")
    place = int(np.searchsorted(line.x, x))
    if line.look == "level":
        place = 0
    elif line.look == "after":
        place = place if place < len(line.x) and line.x[place] == x else place - 1
    elif line.look != "before":
        place -= int(place == len(line.x) or (place > 0 and x - line.x[place - 1] < line.x[place] - x))
    return float(line.y[min(max(place, 0), len(line.x) - 1)])


def _of_map(chart: Chart, part: HeatMap) -> Grid:
    """Every cell of a map whose cells have their values; else mean, least and greatest over each place of the axis x."""
    if part.written and len(part.y_edges) - 1 <= CELLS_MAX:
        return _every_cell(chart, part)
    rows = []
    for index in evenly(len(part.values), ROWS_MAX):
        column = part.values[index]
        told = [words(_over(column, pick), part.quantity) for pick in (np.mean, np.min, np.max)]
        rows.append((words(float(part.x_edges[index]), chart.x.quantity), *told))
    return _grid([chart.x.label, f"mean of {part.label}", "least", "greatest"], rows, part.title)


def _every_cell(chart: Chart, part: HeatMap) -> Grid:
    """A row a place of the axis x, a column a place of the axis y."""
    alongs, ups = (
        [dict(axis.ticks).get((low + high) / 2, words(float(low), axis.quantity)) for low, high in pairwise(edges.tolist())]
        for axis, edges in ((chart.x, part.x_edges), (part.y, part.y_edges))
    )
    beside = {(i, k): f", {text}" for i, k, text in part.framed if text}
    instead = {(i, k): text for i, k, text in part.told}
    rows = [
        (along, *(f"{instead.get((i, k)) or words(float(value), part.quantity)}{beside.get((i, k), '')}"
                  for k, value in enumerate(part.values[i])))
        for i, along in enumerate(alongs)
    ]  # fmt: skip
    return _grid([f"{chart.x.label} (down), {part.y.label} (across)", *ups], rows, part.title)


def _of_bars(part: Bars) -> Grid:
    heads = ["", *(name or part.x.label for name, _ in part.groups)]
    rows = [(row, *(bars[i].words or (words(bars[i].value, part.x.quantity)) or NONE for _, bars in part.groups))
            for i, row in enumerate(part.rows)]  # fmt: skip
    return _grid(heads, rows, part.title or part.x.label)
