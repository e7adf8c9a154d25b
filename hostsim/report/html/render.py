"""A page as one HTML file: template, style, scripts and data inlined; it asks for nothing outside itself.

Behind each chart stands its table, for readers without sight of the chart, and for those that want the figures.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hostsim.core.errors import InputError, MissingExtraError, OutputError, Problem
from hostsim.report.charts.chart import Array, Bar, Bars, Chart, HeatMap, Line, Panel, bar_ends, words
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.html.data import data_of, safe
from hostsim.report.html.page import Content, Drawn, Page
from hostsim.report.html.registry import page_of
from hostsim.report.layout import is_figure
from hostsim.report.tables import NONE, evenly
from hostsim.results.aside import check_folder, write_files

TEMPLATE, SCRIPTS, STYLES = "report.html.j2", ("uPlot.iife.min.js", "report.js"), ("uPlot.min.css", "report.css")


def has_pages() -> bool:
    """Whether the extra that renders pages is installed."""
    return find_spec("jinja2") is not None


def asset(name: str) -> str:
    """The text of a file of hostsim/report/assets."""
    return (files("hostsim.report") / "assets" / name).read_text(encoding="utf-8")


def html_bytes(page: Page) -> bytes:
    """The file of ``page``; equal pages give equal bytes. MissingExtraError without jinja2."""
    if not has_pages():
        raise MissingExtraError("jinja2", "report")
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    charts = list(_charts(page))
    data, coding, left_out = data_of(charts)
    scripts = [asset(name) for name in SCRIPTS]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(asset)
    )
    environment.filters["id"] = id
    environment.tests |= {"figure": is_figure, "drawable": _is_drawable}
    environment.globals |= {"tables_behind": tables_behind, "bars_of": bars_of, "has_bars": _has_bars}
    text = environment.get_template(TEMPLATE).render(
        page=page, numbers={id(chart): number for number, chart in enumerate(charts)}, coding=coding, left_out=left_out,
        # S704: hostsim's own files, and JSON in which no character can end a script.
        data=Markup(data), scripts=[Markup(one) for one in scripts], styles=[Markup(asset(one)) for one in STYLES],  # noqa: S704
        hashes=" ".join(map(_hash, scripts)),
    )  # fmt: skip
    return text.encode()


def _hash(script: str) -> str:
    """A script as the page's policy names it: a name in the data cannot add a script that runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _charts(page: Page) -> Iterator[Chart]:
    for section in page.sections:
        for part in section.parts:
            if isinstance(part, Drawn) and _is_drawable(part.chart):
                yield part.chart


def _is_drawable(chart: Chart) -> bool:
    """Whether the page's script draws the chart; bars are HTML."""
    return any(isinstance(part, Panel | HeatMap) for part in chart.panels)


def _has_bars(chart: Chart) -> bool:
    return any(isinstance(part, Bars) for part in chart.panels)


def bars_of(part: Bars) -> list[dict[str, Any]]:
    """Each bar of ``part``: names, words, and its length and interval as percent of the longest."""
    ends = bar_ends(part)
    return [
        {"row": row, "group": name, "told": bar.words or words(bar.value, part.x.quantity), "number": number,
         "none": math.isnan(bar.value),
         "width": _percent(bar.value, *ends), **_reach(bar, *ends)}
        for i, row in enumerate(part.rows) for number, (name, bars) in enumerate(part.groups) for bar in [bars[i]]
    ]  # fmt: skip


def _reach(bar: Bar, start: float, top: float) -> dict[str, float | None]:
    if bar.low is None or bar.high is None or bar.high <= bar.low:
        return {"from": None, "reach": None}
    low = _percent(bar.low, start, top)
    return {"from": low, "reach": round(_percent(bar.high, start, top) - low, 2)}


def _percent(value: float, start: float, top: float) -> float:
    """The place of ``value`` between ``start`` and ``top``; a start above 0: on a logarithmic axis."""
    if math.isnan(value) or value <= start:
        return 0.0
    return round(100 * (math.log(value / start) / math.log(top / start) if start else value / top), 2)


__all__ = ["asset", "bars_of", "has_pages", "html_bytes", "safe"]


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


SUFFIXES = (".html", ".htm")


def check_html(out: Path | None) -> None:
    """InputError, OutputError or MissingExtraError if no report can be written to ``out``; nothing for None."""
    if out is None:
        return
    if out.suffix.lower() not in SUFFIXES:
        raise InputError([Problem("", "--html", str(out), "a file whose name ends in .html", "--html report.html")])
    if out.is_dir():
        raise OutputError(f"{out}: cannot write: a folder stands where the file should go")
    if not has_pages():
        raise MissingExtraError("jinja2", "report")
    check_folder(out.parent)


def write_html(out: Path, content: Content) -> Path:
    """Write the report on ``content`` to ``out``; returns the path. OutputError, then an earlier file is as it was."""
    (path,) = write_files(out.parent, {out.name: html_bytes(page_of(content))})
    return path
