"""Charts as the JSON that the page's script reads: arrays once each, short numbers, long series thinned to fit."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hostsim.report.charts.chart import (
    LETTERS,
    QUANTITIES,
    Array,
    Axis,
    Chart,
    HeatMap,
    Line,
    Panel,
    extent,
    linear_limits,
    log_limits,
    top_of,
)

DIGITS = 7
"""Significant digits of a value: more than a reader of a chart can see."""
PLACE_DIGITS = 12
"""Of a place on the axis x: a step is two points a nanosecond apart, and the page draws one point a place."""
PLAIN_MAX = 200_000
"""Longer data is deflated, which takes a browser of 2023 or later."""
CODED_MAX = 1_100_000
"""Letters of coded data; a page has another 120,000 of its own."""
POINTS_MAX = 200_000
"""Points that a line is thinned to first; a further step has as many as would fit, by the size of the step before."""
POINTS_MIN = 250
ROW_HEIGHT = 0.22
"""Of a map's cells that hold their value, in heights of a panel: room for two lines."""


@dataclass
class Pool:
    """Arrays of all charts, each once; ``points_max``: of a line."""

    points_max: int
    arrays: list[list[float | None]] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)
    left_out: int = 0

    def add(self, values: Array, digits: int = DIGITS) -> int:
        """The place of ``values`` among the arrays, with ``digits`` significant digits."""
        key = bytes([digits]) + values.tobytes()
        if key not in self.places:
            self.places[key] = len(self.arrays)
            self.arrays.append(rounded(values, digits))
        return self.places[key]


def data_of(charts: Iterable[Chart]) -> tuple[str, str, int]:
    """(text, coding, points left out) of the data; coding: "json", or "deflate" for base64 of deflated JSON."""
    every, points_max = list(charts), POINTS_MAX
    while True:
        pool = Pool(points_max)
        told = {"charts": [_chart(chart, pool) for chart in every], "data": pool.arrays,
                "quantities": QUANTITIES, "letters": LETTERS}  # fmt: skip
        text = json.dumps(told, allow_nan=False, separators=(",", ":"))
        if len(text) <= PLAIN_MAX:
            return safe(text), "json", pool.left_out
        coded = _deflated(text)
        if len(coded) <= CODED_MAX or points_max <= POINTS_MIN:
            return coded, "deflate", pool.left_out
        longest = max(len(values) for values in pool.arrays)
        points_max = int(0.9 * min(points_max, longest) * CODED_MAX / len(coded))


def safe(text: str) -> str:
    """JSON that may stand in a page: no name in it can end the script or open a comment."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _deflated(text: str) -> str:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.b64encode(packer.compress(text.encode()) + packer.flush()).decode()


def rounded(values: Array, digits: int = DIGITS) -> list[float | None]:
    """Values with ``digits`` digits, whole numbers as they are, None for NaN and infinity."""
    if values.dtype.kind in "iub":
        return values.tolist()  # type: ignore[no-any-return]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        step = 10.0 ** (np.floor(np.log10(np.abs(values))) + 1 - digits)
        # Dividing by a whole power of ten gives the double nearest to the short number.
        shorter = np.where(step < 1, np.round(values / step) / np.round(1 / step), np.round(values / step) * step)
    kept = np.where(np.isfinite(shorter), shorter, np.where(values == 0, 0.0, np.nan))
    return [_number(value) for value in kept.tolist()]


def _number(value: float) -> float | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _chart(chart: Chart, pool: Pool) -> dict[str, Any]:
    last = len(chart.panels) - 1
    parts = [_part(chart, part, pool, chart.across > 1 or i == last) for i, part in enumerate(chart.panels)]
    return {
        "name": chart.name, "title": chart.title, "group": chart.group, "across": chart.across, "x": _axis(chart.x),
        "panels": [part for part in parts if part],
        "marks": [{"name": marks.name, "starts": _times(marks.starts), "colour": marks.colour,
                   "ends": None if marks.ends is None else _times(marks.ends)} for marks in chart.marks],
        "states": [{"name": steps.name, "x": _times(steps.x), "states": list(steps.states)} for steps in chart.states],
    }  # fmt: skip


def _times(values: Array) -> list[float]:
    return [round(value, 9) for value in np.asarray(values, float).tolist()]


def _part(chart: Chart, part: Any, pool: Pool, shows_x: bool) -> dict[str, Any] | None:
    if isinstance(part, Panel):
        return _panel(chart, part, pool) | {"shows_x": shows_x}
    return _map(chart, part, pool) | {"shows_x": shows_x} if isinstance(part, HeatMap) else None


def _panel(chart: Chart, panel: Panel, pool: Pool) -> dict[str, Any]:
    x, kept = panel.x or chart.x, _kept(panel, pool.points_max)
    x_low, x_high = _x_limits(panel, x)
    y_low, y_high = log_limits(panel, panel.y, "y") if panel.y.log else linear_limits(panel, panel.y)
    lines = [_line(line, kept[line.x.tobytes()], panel.y.log, pool) for line in panel.lines]
    return {
        "kind": "lines", "title": panel.title, "height": panel.height, "x": None if panel.x is None else _axis(panel.x),
        "y": _axis(panel.y), "x_low": x_low, "x_high": x_high, "y_low": y_low, "y_high": y_high,
        "lines": lines, "rules": list(panel.rules),
    }  # fmt: skip


def _x_limits(panel: Panel, x: Axis) -> tuple[float, float]:
    """Limits of the axis x: those given, or a little around all points."""
    if x.log:
        return log_limits(panel, x, "x")
    low, high = extent([line.x for line in panel.lines]) or (0.0, 1.0)
    edge = 0.0 if x.low is not None else 0.04 * (high - low or 1.0)
    low, high = (low - edge if x.low is None else x.low), (high + edge if x.high is None else x.high)
    return low, high if high > low else low + 1.0


def _kept(panel: Panel, points_max: int) -> dict[bytes, Array]:
    """Of each axis of points in ``panel`` the indexes that are kept: lines over equal points keep equal ones."""
    found: dict[bytes, Array] = {}
    for line in panel.lines:
        key, kept = line.x.tobytes(), thinned(line, points_max)
        found[key] = np.union1d(found[key], kept) if key in found else kept
    return found


def _line(line: Line, kept: Array, is_log: bool, pool: Pool) -> dict[str, Any]:
    pool.left_out += len(line.x) - len(kept)
    x, y = line.x[kept].astype(float), line.y[kept].astype(float)
    if is_log:
        y = np.where(y > 0, y, np.nan)
    told: dict[str, Any] = {"name": line.name, "x": pool.add(x, PLACE_DIGITS), "y": pool.add(y), "colour": line.colour,
                            "look": line.look, "dash": line.dash, "marked": line.marked,
                            "notes": [[round(x, 9), text] for x, text in line.notes]}  # fmt: skip
    if line.low is not None and line.high is not None:
        told |= {"low": pool.add(line.low[kept].astype(float)), "high": pool.add(line.high[kept].astype(float)),
                 "band": line.band}  # fmt: skip
    return told


def thinned(line: Line, points_max: int) -> Array:
    """Indexes of at most ``points_max`` points: of each stretch the least and the greatest, so no peak is lost."""
    n = len(line.x)
    if n <= points_max:
        return np.arange(n)
    length = -(-n // max(1, points_max // 2))
    rest = -n % length
    low = np.append(np.where(np.isfinite(line.y), line.y, np.inf), np.full(rest, np.inf)).reshape(-1, length)
    high = np.append(np.where(np.isfinite(line.y), line.y, -np.inf), np.full(rest, -np.inf)).reshape(-1, length)
    starts = length * np.arange(len(low))
    return np.unique(np.concatenate([starts + low.argmin(1), starts + high.argmax(1)]))


def _map(chart: Chart, part: HeatMap, pool: Pool) -> dict[str, Any]:
    x_low, x_high = chart.x.low, chart.x.high
    height = max(1.2, ROW_HEIGHT * (len(part.y_edges) - 1) * part.written)
    return {
        "kind": "map", "title": part.title, "height": height, "x": None, "y": _axis(part.y), "label": part.label,
        "quantity": part.quantity, "written": part.written, "most": top_of(part),
        "framed": [list(one) for one in part.framed], "told": [list(one) for one in part.told],
        "x_low": float(part.x_edges[0]) if x_low is None else x_low,
        "x_high": float(part.x_edges[-1]) if x_high is None else x_high,
        "y_low": float(part.y_edges[0]), "y_high": float(part.y_edges[-1]),
        "x_edges": pool.add(part.x_edges.astype(float)), "y_edges": pool.add(part.y_edges.astype(float)),
        "values": pool.add(part.values.astype(float).ravel()),
    }  # fmt: skip


def _axis(axis: Axis) -> dict[str, Any]:
    return {"label": axis.label, "quantity": axis.quantity, "log": axis.log, "ticks": _ticks(axis.ticks)}


def _ticks(ticks: Sequence[tuple[float, str]]) -> list[list[Any]]:
    return [[place, text] for place, text in ticks]
