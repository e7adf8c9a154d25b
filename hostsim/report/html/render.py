"""A page as one HTML file: template, style, scripts and data inlined; it asks for nothing outside itself."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from hostsim.core.errors import MissingExtraError
from hostsim.report.charts.chart import Bar, Bars, Chart, HeatMap, Panel, bar_ends, words
from hostsim.report.html.behind import tables_behind
from hostsim.report.html.data import data_of, safe
from hostsim.report.html.page import Drawn, Page
from hostsim.report.layout import is_figure

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
    """A script as the page's policy names it: no other script runs, whatever a name in the data says."""
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
