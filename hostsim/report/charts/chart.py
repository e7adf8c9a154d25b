"""The description of a chart: axes with quantities, lines, bars, maps, marks, for any library that draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Look = Literal["line", "before", "after", "points", "level"]
"""line: straight from point to point; before, after: a step, the value of the time before or after x; level: one value."""
Colour = Literal["blue", "vermilion", "green", "purple", "orange", "sky", "ink", "olive", "grey"]
COLOURS: tuple[Colour, ...] = ("blue", "vermilion", "green", "purple", "orange", "sky", "ink", "olive")
"""In the order in which lines take them; grey is for what stands behind."""
N_DASHES = 4
DECADES_MIN = 2
"""Values that span more powers of ten than this are on a logarithmic axis."""
LETTERS = ("", "k", "M", "G", "T")
"""Units that stand at the number without a space."""

QUANTITIES: dict[str, tuple[tuple[float, float, str], ...]] = {
    "": ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"), (0.0, 1.0, "")),
    "s": ((5400.0, 3600.0, "h"), (600.0, 60.0, "min"), (1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (1e-6, 1e-6, "us"),
          (1e-9, 1e-9, "ns"), (0.0, 1.0, "s")),
    "ns": ((5.4e12, 3.6e12, "h"), (6e11, 6e10, "min"), (1e9, 1e9, "s"), (1e6, 1e6, "ms"), (1e3, 1e3, "us"),
           (0.0, 1.0, "ns")),
    "bytes": ((1e12, 1e12, "TB"), (1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (1e3, 1e3, "kB"), (0.0, 1.0, "B")),
    "bit/s": ((1e12, 1e12, "Tbit/s"), (1e9, 1e9, "Gbit/s"), (1e6, 1e6, "Mbit/s"), (1e3, 1e3, "kbit/s"),
              (0.0, 1.0, "bit/s")),
    "/s": ((1e9, 1e9, "G/s"), (1e6, 1e6, "M/s"), (1e3, 1e3, "k/s"), (0.0, 1.0, "/s")),
    "%": ((0.0, 1.0, "%"),),
    "plain": ((0.0, 1.0, ""),),
}  # fmt: skip
"""Of each quantity: (least value, divisor, unit), the largest first; the first that a value reaches is used."""


@dataclass(frozen=True)
class Axis:
    """An axis: label without unit, quantity (a key of QUANTITIES), limits, and ticks (place, text) if they are fixed."""

    label: str
    quantity: str = ""
    log: bool = False
    low: float | None = None
    high: float | None = None
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Line:
    """A line: x, y (float64[n], NaN is a gap), ends of an interval of each y if known.

    dash: number of its pattern, 0: solid.
    marked: whether each point has a mark.
    band: whether low and high bound an area in place of whiskers.
    notes: (place on the axis x, words) at the upper edge, where the line has no value.
    """

    name: str
    x: Array
    y: Array
    colour: Colour = "blue"
    look: Look = "line"
    dash: int = 0
    marked: bool = False
    low: Array | None = None
    high: Array | None = None
    band: bool = False
    notes: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Marks:
    """Places on the axis x that all panels show: rules at ``starts``, or spans from ``starts`` to ``ends``."""

    name: str
    starts: Array
    ends: Array | None = None
    colour: Colour = "grey"


@dataclass(frozen=True, eq=False)
class Steps:
    """A state that the chart shows beside its cursor: ``states[i]`` from ``x[i]`` on."""

    name: str
    x: Array
    states: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """Lines over one axis. height: relative to the other panels; x: where it is not that of the chart."""

    y: Axis
    lines: tuple[Line, ...]
    height: float = 1.0
    x: Axis | None = None
    title: str = ""
    rules: tuple[float, ...] = ()
    """Places on the axis x of this panel alone, dashed."""


@dataclass(frozen=True)
class Bar:
    """A bar: its value (NaN: none), the ends of its interval if known, words in place of the value."""

    value: float
    low: float | None = None
    high: float | None = None
    words: str = ""


@dataclass(frozen=True)
class Bars:
    """A bar for each row of each group, with its value beside it. rows: their names; groups: name and bars, one a row."""

    x: Axis
    rows: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]
    title: str = ""
    colour: Colour = "blue"


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Cells between edges; values: float64[len(x_edges) - 1, len(y_edges) - 1], NaN: empty.

    quantity: of the values, whose meaning is ``label``.
    framed: (number along x, number along y, words below the value) of cells that stand out.
    told: (number along x, number along y, words) of cells that have words in place of a value.
    top: the value that has the darkest colour; None: the largest.
    """

    y: Axis
    x_edges: Array
    y_edges: Array
    values: Array
    label: str
    quantity: str = ""
    title: str = ""
    written: bool = False
    """Whether each cell has its value in it."""
    framed: tuple[tuple[int, int, str], ...] = ()
    told: tuple[tuple[int, int, str], ...] = ()
    top: float | None = None


Part = Panel | Bars | HeatMap


@dataclass(frozen=True)
class Chart:
    """Panels above one another that share the axis x, or beside one another if ``across`` is more than 1.

    name: of its files. group: charts of one group share cursor and zoom in a report.
    lead: a sentence that says how to read it.
    """

    name: str
    title: str
    x: Axis
    panels: tuple[Part, ...]
    marks: tuple[Marks, ...] = ()
    states: tuple[Steps, ...] = ()
    across: int = 1
    group: str = ""
    lead: str = ""


def words(value: float, quantity: str) -> str:
    """``value`` with three digits and its unit: 2.5e9 bytes -> "2.5 GB"."""
    if not np.isfinite(value):
        return "-"
    divisor, unit = unit_of(abs(value), quantity)
    return f"{short(value / divisor)}{'' if unit in LETTERS else ' '}{unit}"


def unit_of(size: float, quantity: str) -> tuple[float, str]:
    """(divisor, unit) in which a value of ``size`` is shown."""
    # 999.9999999 MB, by rounding of floats, is 1 GB.
    return next((divisor, unit) for least, divisor, unit in QUANTITIES[quantity] if size >= least * (1 - 1e-9))


def short(number: float) -> str:
    """Three significant digits, without zeros at the end: 2.50 -> "2.5", 1234.5 -> "1234"."""
    if number == 0:
        return "0"
    if abs(number) >= 100:
        return f"{number:.0f}"
    text = f"{number:.3g}"
    return text if "e" in text else text.rstrip("0").rstrip(".") if "." in text else text


def bar_ends(part: Bars) -> tuple[float, float]:
    """(value where bars begin, longest bar): 0, or on a logarithmic axis a third of the least, at most 10^5 times less."""
    ends = [end for _, bars in part.groups for bar in bars for end in (bar.value, bar.high) if end is not None and end > 0]
    top = max([*ends, 0.0]) or 1.0
    return (max(min(ends, default=1.0) / 3, top / 1e5) if part.x.log else 0.0), top


def top_of(part: HeatMap) -> float:
    """The value of the darkest colour, above 0."""
    found = extent([part.values])
    return max(part.top or (found[1] if found else 0.0), 1e-9)


def lines_of(chart: Chart) -> Iterator[tuple[Panel, Line]]:
    """Each line with its panel."""
    for panel in chart.panels:
        if isinstance(panel, Panel):
            yield from ((panel, line) for line in panel.lines)


def extent(arrays: Sequence[Array | None], *, positive: bool = False) -> tuple[float, float] | None:
    """Least and greatest of the finite values of ``arrays``, of those above 0 if ``positive``; None if there is none."""
    flat = np.concatenate([np.empty(0), *(np.asarray(one, float).ravel() for one in arrays if one is not None)])
    flat = flat[np.isfinite(flat) & ((flat > 0) if positive else True)]
    return (float(flat.min()), float(flat.max())) if len(flat) else None


def spans_decades(values: Sequence[float]) -> bool:
    """Whether values above 0 lie so far apart that a linear axis would hide the small ones."""
    ends = extent([np.array(values, float)], positive=True)
    return ends is not None and ends[1] > 10.0**DECADES_MIN * ends[0]


def log_limits(panel: Panel, axis: Axis, which: Literal["x", "y"]) -> tuple[float, float]:
    """Limits of the logarithmic ``axis`` of ``panel``: its own ``low`` and ``high``, or 1.5 times beyond all values above 0.

    which: the values: x of the lines, or y with the ends of the intervals. Without any above 0, they count as 1 to 10.
    """
    arrays: list[Array | None] = [line.x for line in panel.lines]
    if which == "y":
        arrays = [part for line in panel.lines for part in (line.y, line.low, line.high)]
    low, high = extent(arrays, positive=True) or (1.0, 10.0)
    return (axis.low or low / 1.5, axis.high or high * 1.5)


def linear_limits(panel: Panel, axis: Axis) -> tuple[float, float]:
    """Limits of a linear axis y: those given, or from 0 (or below) to a little above all values."""
    arrays = [part for line in panel.lines for part in (line.y, line.low, line.high)]
    low, high = extent(arrays) or (0.0, 1.0)
    low, high = min(0.0, 1.1 * low), max(1.12 * high, 0.0)
    high = high if high > low else low + 1.0
    return (low if axis.low is None else axis.low, high if axis.high is None else axis.high)
