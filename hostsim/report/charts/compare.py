"""Charts of a comparison: a panel a figure, lines over numbers, bars over names; a heat map over two axes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from hostsim.core.errors import UnitError
from hostsim.core.units import parse_bandwidth, parse_bytes, parse_duration, parse_fraction, parse_rate
from hostsim.report.charts.chart import COLOURS, N_DASHES, Axis, Bar, Bars, Chart, HeatMap, Line, Panel, spans_decades, words
from hostsim.report.compare_table import short_keys
from hostsim.report.compare_words import ENDED, TITLES
from hostsim.study.compare.figures import JUDGED

LINES_MAX = len(COLOURS)
LOG_FROM = 8.0
"""Values of the first axis are on a logarithmic axis where the largest is this many times the smallest."""
CELLS_MIN = 3
"""Values of either axis from which on a heat map is drawn."""
NUMBER = re.compile(r"[-+]?\.?\d")
QUANTITY: Mapping[str, tuple[float, str]] = {
    "_ms": (1e6, "ns"), "_ns": (1.0, "ns"), "_per_s": (1.0, "/s"), "_s": (1e9, "ns"), "_bytes": (1.0, "bytes"),
    "_percent": (1.0, "%"), "_share": (100.0, "%"),
}  # fmt: skip
"""Ending of a figure's name: (factor, quantity of the axis)."""


def quantity_of(name: str) -> tuple[float, str]:
    """(factor, quantity) of figure ``name``."""
    return next((found for ending, found in QUANTITY.items() if name.endswith(ending)), (1.0, ""))


def figures_shown(content: Mapping[str, Any]) -> list[str]:
    """The judged figures that any combination has."""
    return [name for name in JUDGED if any(one["figures"].get(name) for one in content["combinations"])]


def compare_chart(content: Mapping[str, Any]) -> Chart:
    """A panel a judged figure; content: of compare.json."""
    axis = content["axes"][0]
    keys, lines = [one["key"] for one in content["axes"]], _lines(content)
    has_bars = not all(NUMBER.match(label) for label in axis["values"])
    names = figures_shown(content)
    labels = axis["values"]
    if not names:
        return _outcomes(keys[0], labels, lines)
    made = [_bars(labels, lines, n) if has_bars else _panel(axis["key"], labels, lines, n) for n in names]
    left_out = len(content["combinations"]) // len(axis["values"]) - len(lines)
    more = f" {left_out} more lines are in compare.csv." if left_out > 0 else ""
    told = f"Marks: means over the seeds; the lines through them: {content['interval']}." if content["interval"] else ""
    x = Axis(keys[0])
    return Chart("compare", f"What {keys[0]} changes", x, tuple(made), across=2, lead=f"{told}{more}".strip())


def _outcomes(key: str, labels: Sequence[str], lines: Sequence[tuple[str, list[Any]]]) -> Chart:
    """How many seeds of each combination completed, where no combination has a figure."""
    groups = tuple((label or "seeds that completed", tuple(map(_completed, rows))) for label, rows in lines)
    bars = Bars(Axis("seeds that completed", "plain"), tuple(labels), groups)
    return Chart("compare", f"How the runs ended, by {key}", Axis(key), (bars,))


def _completed(row: Mapping[str, Any]) -> Bar:
    return Bar(float(sum(status == "completed" for status in row["statuses"])), words=ended(row))


def _lines(content: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """At most LINES_MAX lines: label, and combinations in the order of the first axis."""
    every = content["combinations"]
    n = max(1, len(every) // len(content["axes"][0]["values"]))
    keys = [axis["key"] for axis in content["axes"]]
    short, found = short_keys(keys), []
    for offset in range(min(n, LINES_MAX)):
        rows = every[offset::n]
        # Keys as the axes have them: those of an object that was read from a file are sorted.
        found.append((", ".join(f"{short[key]}={rows[0]['settings'][key]}" for key in keys[1:]), rows))
    return found


def places(labels: Sequence[str]) -> list[float] | None:
    """The values of an axis in their base unit; None if they have no common unit."""
    for parse in (float, parse_duration, parse_bandwidth, parse_bytes, parse_rate, parse_fraction):
        with suppress(ValueError, UnitError):
            return [float(parse(label)) for label in labels]
    return None


def _panel(key: str, values: Sequence[str], lines: Sequence[tuple[str, list[Any]]], name: str) -> Panel:
    factor, quantity = quantity_of(name)
    at = np.array(places(values) or range(len(values)), float)
    drawn = []
    for number, (label, rows) in enumerate(lines):
        mean, low, high = (np.array([_value(row, name, part) for row in rows]) * factor for part in ("mean", "low", "high"))
        known = bool(np.isfinite(low).any())
        notes = tuple((x, ended(row)) for x, y, row in zip(at.tolist(), mean, rows, strict=True) if not np.isfinite(y))
        drawn.append(Line(label or TITLES[name], at, mean, COLOURS[number], dash=number % N_DASHES, marked=True,
                          low=low if known else None, high=high if known else None, notes=notes))  # fmt: skip
    means = np.concatenate([line.y[np.isfinite(line.y)] for line in drawn])
    is_log = bool(len(means)) and means.min() > 0 and spans_decades(means.tolist())
    return Panel(Axis(TITLES[name], quantity, is_log), tuple(drawn), x=_across(key, at, values), title=TITLES[name])


def _across(key: str, at: Any, values: Sequence[str]) -> Axis:
    low, high = float(at.min()), float(at.max())
    ticks = tuple(zip(at.tolist(), values, strict=True))
    if low > 0 and high >= LOG_FROM * low:
        room = (high / low) ** 0.06
        return Axis(key, "plain", True, low / room, high * room, ticks)
    room = 0.06 * (high - low or 1.0)
    return Axis(key, "plain", False, low - room, high + room, ticks)


def _value(row: Mapping[str, Any], name: str, part: str) -> float:
    spread = row["figures"].get(name)
    value = None if spread is None else spread.get(part)
    return float("nan") if value is None else float(value)


def _bars(values: Sequence[str], lines: Sequence[tuple[str, list[Any]]], name: str) -> Bars:
    factor, quantity = quantity_of(name)
    groups = tuple(
        (label or TITLES[name], tuple(_bar(row, name, factor, quantity) for row in rows)) for label, rows in lines
    )
    return Bars(Axis(TITLES[name], quantity), tuple(values), groups, TITLES[name])


def _bar(row: Mapping[str, Any], name: str, factor: float, quantity: str) -> Bar:
    mean, low, high = (factor * _value(row, name, part) for part in ("mean", "low", "high"))
    if not np.isfinite(mean):
        return Bar(mean, words=ended(row))
    has_ends = bool(np.isfinite(low)) and high > low
    against = (row["figures"].get(name) or {}).get("against_baseline") or {}
    noise = ", within noise" if against.get("effect") == "within noise" else ""
    return Bar(mean, low if has_ends else None, high if has_ends else None, f"{words(mean, quantity)}{noise}")


def ended(row: Mapping[str, Any]) -> str:
    """The end of a combination's runs: "yes", "cancelled", or the count of its seeds that completed."""
    statuses = row["statuses"]
    if len(statuses) > 1:
        return f"{sum(status == 'completed' for status in statuses)} of {len(statuses)} completed"
    return "yes" if statuses[0] == "completed" else ENDED.get(statuses[0], statuses[0])


def heat_maps(content: Mapping[str, Any]) -> Iterator[Chart]:
    """Over two axes that have CELLS_MIN values each: a map a judged figure."""
    axes = content["axes"]
    if len(axes) != 2 or min(len(axis["values"]) for axis in axes) < CELLS_MIN:
        return
    across, up = ([*axis["values"]] for axis in axes)
    for name in figures_shown(content):
        factor, quantity = quantity_of(name)
        values = factor * np.array([_value(row, name, "mean") for row in content["combinations"]])
        edges = [np.arange(len(axis) + 1, dtype=float) for axis in (across, up)]
        ticks = [tuple((i + 0.5, label) for i, label in enumerate(axis)) for axis in (across, up)]
        y = Axis(axes[1]["key"], "plain", low=0.0, high=float(len(up)), ticks=ticks[1])
        grid = values.reshape(len(across), len(up))
        told = tuple((*divmod(number, len(up)), ended(row)) for number, row in enumerate(content["combinations"])
                     if not np.isfinite(values[number]))  # fmt: skip
        cells = HeatMap(y, edges[0], edges[1], grid, TITLES[name], quantity, TITLES[name], written=True, told=told)
        x = Axis(axes[0]["key"], "plain", low=0.0, high=float(len(across)), ticks=ticks[0])
        title = f"{TITLES[name][:1].upper()}{TITLES[name][1:]} by {axes[0]['key']} and {axes[1]['key']}"
        yield Chart(f"map-{name}", title, x, (cells,), lead="A cell with words: no seed completed." if told else "")
