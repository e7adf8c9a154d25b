"""Charts as pictures of matplotlib: for a folder of results at the width of a screen, for a paper at that of a column."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hostsim.report import drawing
from hostsim.report.charts.chart import (
    LETTERS,
    Axis,
    Bar,
    Bars,
    Chart,
    HeatMap,
    Line,
    Marks,
    Panel,
    bar_ends,
    linear_limits,
    log_limits,
    top_of,
    unit_of,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Width = Literal["screen", "page", "column"]
PALETTE = {
    "blue": drawing.BLUE, "vermilion": drawing.VERMILION, "green": drawing.GREEN, "purple": drawing.PURPLE,
    "orange": drawing.ORANGE, "sky": drawing.SKY, "ink": drawing.INK, "olive": drawing.OLIVE, "grey": drawing.GREY,
}  # fmt: skip
SPECIAL = {"before": "steps-pre", "after": "steps-post"}
RULES_MAX = 60
"""More rules than this are marked at the upper edge alone: they would make a grey area."""
FAINT = 0.22
HEADING_INCHES, LINE_INCHES, EDGE_INCHES = 0.36, 0.175, 0.11
"""Room of the heading and of each line below it, and from the left edge to both."""
HEADING_LETTERS = 70
"""A longer heading has smaller letters."""
NARROWEST = 1e-3
"""A span that is narrower than this share of the axis, less than a pixel, is left out with its name."""
SAMPLE_LETTERS = 7
"""Room of the sample of a line before its name."""
WIDER = 0.6
"""Width that the first line of a panel has over the last [pt, at letters of 7.5 pt]."""
BELOW_INCHES = 0.5
"""From a panel down to a legend below its labels."""
BAR_ROOM = 1.45
"""Length of the axis over the longest bar: the space behind the bar is for its figure."""


@dataclass(frozen=True)
class Format:
    """Sizes of a picture. inches: its width; panel: height of a panel [in]; size: of letters [pt]; across: most columns.

    letters: of a line of the legend, and of a title over the whole width.
    """

    inches: float
    panel: float
    size: float
    across: int
    letters: int


FORMATS: Mapping[Width, Format] = {
    "screen": Format(9.0, 2.05, 9.5, 3, 105), "page": Format(7.2, 1.6, 8.0, 2, 100), "column": Format(3.5, 1.5, 7.0, 1, 52),
}  # fmt: skip
"""column: 89 mm, page: 183 mm, as journals have them."""
THREE_ACROSS = replace(FORMATS["screen"], inches=13.0, letters=160)
"""Of a picture for a screen with three panels beside one another."""


def figure_of(chart: Chart, width: Width = "screen", heading: str = "") -> Figure:
    """The picture of ``chart``; heading: above it, for a picture without a caption."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    form = FORMATS[width]
    columns = min(chart.across, form.across, len(chart.panels)) or 1
    form = THREE_ACROSS if width == "screen" and columns > 2 else form
    rows = -(-len(chart.panels) // columns)
    high = [_height(chart, part, form) for part in chart.panels]
    heights = [max(high[i * columns : (i + 1) * columns]) for i in range(rows)]
    head = _head_lines(chart, heading, form)
    above = HEADING_INCHES + LINE_INCHES * len(head) if heading else 0.0
    inches = sum(heights) + 0.5 + above
    room = (0.0, 0.0, 1.0, 1.0 - above / inches)
    figure = Figure(figsize=(form.inches, inches), layout=ConstrainedLayoutEngine(h_pad=0.05, w_pad=0.05, rect=room))
    shared: Any = "all" if chart.across == 1 else False
    grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, gridspec_kw={"height_ratios": heights}).ravel()
    for axes, part in zip(grid, chart.panels, strict=False):
        _draw(axes, chart, part, form, columns)
    for axes in grid[len(chart.panels) :]:
        axes.set_axis_off()
    if chart.across == 1 and isinstance(chart.panels[-1], Panel | HeatMap):
        grid[len(chart.panels) - 1].set_xlabel(chart.x.label, fontsize=form.size)
    if _shares_names(chart):
        handles, names = _named(grid[0], chart.panels[0])
        figure.legend(handles, names, loc="outside lower center", ncols=_ncols(names, form.letters), fontsize=form.size - 1)
    if heading:
        _write_head(figure, heading, head, form)
    return figure


def _height(chart: Chart, part: Panel | Bars | HeatMap, form: Format) -> float:
    """Inches of a part, its labels included."""
    if isinstance(part, Bars):
        return 0.8 + len(part.rows) * max(0.24, 0.13 * len(part.groups) + 0.1)
    high = form.panel * (part.height if isinstance(part, Panel) else max(1.4, 0.2 * len(part.y_edges) * part.written))
    if isinstance(part, HeatMap) or chart.across == 1:
        return high
    letters = form.letters // min(chart.across, form.across)
    n_lines = len(part.title) // letters + (0 if _shares_names(chart) else -(-len(part.lines) // 2))
    return high + 0.7 + 0.17 * n_lines


def _shares_names(chart: Chart) -> bool:
    """Whether panels beside one another have lines of equal names, so that one legend serves all."""
    names = {_names(part) for part in chart.panels}
    return chart.across > 1 and len(names) == 1 and len(chart.panels) > 1 and len(next(iter(names))) > 1


def _names(part: Panel | Bars | HeatMap) -> tuple[str, ...]:
    """Names of the lines or groups of a part, in their order."""
    if isinstance(part, Panel):
        return tuple(line.name for line in part.lines)
    return tuple(name for name, _ in part.groups) if isinstance(part, Bars) else ()


def _named(axes: Axes, part: Panel | Bars | HeatMap) -> tuple[list[Any], list[str]]:
    """Handles and names of a legend in the order of the description: matplotlib puts lines with intervals last."""
    handles, names = axes.get_legend_handles_labels()
    places = {name: place for place, name in enumerate(_names(part))}
    order = sorted(range(len(names)), key=lambda i: places.get(names[i], len(places) + i))
    return [handles[i] for i in order], [names[i] for i in order]


def _ncols(names: Sequence[str], letters: int) -> int:
    """The most columns of a legend that fit into a line of ``letters``: matplotlib fills one column after another."""
    for n in range(len(names), 1, -1):
        rows, fuller = divmod(len(names), n)
        starts = [i * rows + min(i, fuller) for i in range(n + 1)]
        if sum(max(map(len, names[i:k])) + SAMPLE_LETTERS for i, k in pairwise(starts)) <= letters:
            return n
    return 1


def _head_lines(chart: Chart, heading: str, form: Format) -> list[str]:
    """Lines below the heading: the title of the chart and the sentences that say how to read it."""
    title = "" if chart.title == heading else f"{chart.title.rstrip('.')}{'' if chart.title.endswith('?') else '.'}"
    return textwrap.wrap(" ".join(filter(None, [title, chart.lead])), round(1.15 * form.letters))


def _write_head(figure: Figure, heading: str, lines: Sequence[str], form: Format) -> None:
    """Heading and lines at the upper edge, at places in inches: the layout of the panels leaves this room free."""
    inches = figure.get_size_inches()[1]
    look: dict[str, Any] = {"x": EDGE_INCHES / form.inches, "ha": "left", "va": "top"}
    size = min(13.0, 13.0 * HEADING_LETTERS / max(1, len(heading)))
    figure.text(y=1.0 - 0.08 / inches, s=heading, fontsize=size, fontweight="bold", **look)
    if lines:
        figure.text(y=1.0 - HEADING_INCHES / inches, s="\n".join(lines), fontsize=form.size, linespacing=1.25, **look)


def _draw(axes: Axes, chart: Chart, part: Panel | Bars | HeatMap, form: Format, columns: int) -> None:
    axes.tick_params(length=3, labelsize=form.size - 1)
    if part.title and (chart.across > 1 or isinstance(part, HeatMap)):
        title = textwrap.fill(part.title, form.letters // columns - 4)
        axes.set_title(title, loc="left", fontsize=form.size, pad=4)
    if isinstance(part, Bars):
        _bars(axes, chart, part, form)
    elif isinstance(part, HeatMap):
        _map(axes, chart, part, form)
    else:
        _panel(axes, chart, part, form, columns)


def _panel(axes: Axes, chart: Chart, panel: Panel, form: Format, columns: int) -> None:
    x = panel.x or chart.x
    named = panel is chart.panels[0] and columns == 1
    for number, line in enumerate(panel.lines):
        # Lines may lie on each other: the first is the widest, and lies below.
        _line(axes, line, form, WIDER * (len(panel.lines) - 1 - number) / max(1, len(panel.lines) - 1))
    _notes(axes, panel, form)
    for marks in chart.marks:
        _marks(axes, marks, x, named=named)
    for place in panel.rules:
        axes.axvline(place, color=drawing.GREY, linewidth=0.9, linestyle="--", zorder=0.6)
    _axis(axes, "y", panel.y, panel)
    _axis(axes, "x", x, panel)
    if panel.y.label != panel.title:
        axes.set_ylabel(textwrap.fill(panel.y.label, 34), fontsize=form.size)
    axes.grid(visible=panel.y.log and x.log, axis="x")
    if chart.across > 1 and x.label != panel.title:
        axes.set_xlabel(textwrap.fill(x.label, form.letters // columns - 4), fontsize=form.size)
    if not _shares_names(chart):
        _legend(axes, panel, form, columns, below=chart.across > 1)


def _line(axes: Axes, line: Line, form: Format, wider: float) -> None:
    look: dict[str, Any] = {"color": PALETTE[line.colour], "linestyle": drawing.DASHES[line.dash], "label": line.name}
    width = ((1.0 if line.dash else 1.2) + wider) * form.size / 7.5
    look |= {"drawstyle": SPECIAL.get(line.look, "default"), "linewidth": width}
    if line.look == "points":
        look |= {"linestyle": "none", "marker": "o", "markersize": 3.5}
    elif line.marked:
        place = list(PALETTE).index(line.colour)
        look |= {"marker": drawing.MARKERS[place % len(drawing.MARKERS)], "markersize": 4}
    if line.band and line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=PALETTE[line.colour], alpha=FAINT, linewidth=0)
        axes.plot(line.x, line.y, **look)
    elif line.low is not None and line.high is not None:
        reach = [np.maximum(0.0, line.y - line.low), np.maximum(0.0, line.high - line.y)]
        axes.errorbar(line.x, line.y, np.nan_to_num(reach), elinewidth=1.1, capsize=2.5, **look)
    else:
        axes.plot(line.x, line.y, **look)


def _notes(axes: Axes, panel: Panel, form: Format) -> None:
    """Words at the upper edge where a line has no value, those of several lines below one another."""
    look: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "rotation": 90, "ha": "center", "va": "top"}
    look["bbox"] = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5}
    for number, line in enumerate(line for line in panel.lines if line.notes):
        for x, text in line.notes:
            axes.text(x, 0.97 - 0.33 * (number % 3), text, color=PALETTE[line.colour], fontsize=form.size - 2, **look)


def _marks(axes: Axes, marks: Marks, x: Axis, *, named: bool) -> None:
    label, colour = marks.name if named else "_", PALETTE[marks.colour]
    if marks.ends is not None:
        if np.max(marks.ends - marks.starts, initial=0.0) < NARROWEST * ((x.high or 0.0) - (x.low or 0.0)):
            return
        for start, end in zip(marks.starts, marks.ends, strict=True):
            axes.axvspan(start, end, color=colour, alpha=FAINT, linewidth=0, zorder=0.4, label=label)
            label = "_"
    elif len(marks.starts) > RULES_MAX:
        rug: dict[str, Any] = {"color": drawing.INK, "marker": "|", "markersize": 5, "markeredgewidth": 0.5}
        high = np.full(len(marks.starts), 0.985)
        axes.plot(marks.starts, high, transform=axes.get_xaxis_transform(), label=label, linestyle="none", **rug)
    else:
        for start in marks.starts:
            axes.axvline(start, color=colour, linewidth=0.8, zorder=0.5, label=label)
            label = "_"


def _axis(axes: Axes, which: Literal["x", "y"], axis: Axis, panel: Panel) -> None:
    """Scale, limits and ticks in words."""
    set_limits = axes.set_xlim if which == "x" else axes.set_ylim
    if axis.log:
        low, high = log_limits(panel, axis, which)
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        set_limits(low, high)
        ticks = [place for place, _ in axis.ticks if low <= place <= high]
        most = max(3, round((3.2 if which == "y" else 1.7) * _inches(axes, which)))
        named = dict(axis.ticks)
        ticks = ticks or drawing.log_ticks(low, high, min(most, drawing.TICKS_MAX))
        drawing.label_ticks(axes, which, ticks, lambda value: named.get(value) or words(value, axis.quantity))
        return
    if which == "y":
        set_limits(*linear_limits(panel, axis))
    elif axis.low is not None or axis.high is not None:
        set_limits(axis.low, axis.high)
    if axis.ticks:
        named = dict(axis.ticks)
        drawing.label_ticks(axes, which, list(named), named.__getitem__)
        _turn(axes, which, [text for _, text in axis.ticks])
    else:
        _linear_ticks(axes, which, axis)


def _turn(axes: Axes, which: str, texts: Sequence[str]) -> None:
    """Long names on the axis x stand aslant."""
    if which == "x" and sum(len(text) + 2 for text in texts) > 13 * _inches(axes, "x"):
        axes.tick_params(axis="x", rotation=35)


def _inches(axes: Axes, which: str) -> float:
    size = axes.figure.get_size_inches()  # type: ignore[union-attr]
    place = axes.get_position()
    return float(size[0] * place.width if which == "x" else size[1] * place.height)


def _linear_ticks(axes: Axes, which: str, axis: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    on = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    divisor, unit = unit_of(max(abs(low), abs(high)), axis.quantity)
    space = "" if unit in LETTERS else " "
    most = max(5, round(1.3 * _inches(axes, "x"))) if which == "x" else 5
    on.set_major_locator(_Scaled(divisor, MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])))
    on.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == 0 else f"{value / divisor:.6g}{space}{unit}"))


def _Scaled(divisor: float, inner: Any) -> Any:  # noqa: N802
    """A locator whose ticks are round numbers in units of ``divisor``."""
    from matplotlib.ticker import Locator

    class Scaled(Locator):
        def __call__(self) -> Any:
            low, high = self.axis.get_view_interval()  # type: ignore[union-attr]
            return self.tick_values(low, high)

        def tick_values(self, vmin: float, vmax: float) -> Any:
            return [tick * divisor for tick in inner.tick_values(vmin / divisor, vmax / divisor)]

    return Scaled()


def _legend(axes: Axes, part: Panel | Bars, form: Format, columns: int, *, below: bool) -> None:
    """Draw the legend above the panel; below it if its room above is for a title."""
    handles, names = _named(axes, part)
    if not handles or (len(handles) == 1 and axes.get_title(loc="left")):
        return
    across = _ncols(names, form.letters // columns)
    look: dict[str, Any] = {"ncols": across, "fontsize": form.size - 1, "borderaxespad": 0.1, "handlelength": 2.0}
    if below:
        from matplotlib.transforms import ScaledTranslation

        figure = axes.figure
        assert figure is not None
        down = BELOW_INCHES + LINE_INCHES * axes.get_xlabel().count("\n")
        place = axes.transAxes + ScaledTranslation(0.0, -down, figure.dpi_scale_trans)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=place, **look)
    else:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), columnspacing=1.4, **look)


def _bars(axes: Axes, chart: Chart, part: Bars, form: Format) -> None:
    """Bars of each group side by side within a row, from the top, each with its figure."""
    thick = 0.78 / len(part.groups)
    low, top = bar_ends(part)
    for number, (name, bars) in enumerate(part.groups):
        offset = (number - (len(part.groups) - 1) / 2) * thick
        values = [0.0 if math.isnan(bar.value) else max(0.0, bar.value) for bar in bars]
        colour = PALETTE[part.colour] if len(part.groups) == 1 else drawing.COLOURS[number % len(drawing.COLOURS)]
        reach = [[_gap(bar.low, bar.value) for bar in bars], [_gap(bar.value, bar.high) for bar in bars]]
        look: dict[str, Any] = {"xerr": reach, "error_kw": {"elinewidth": 1.0}} if any(map(any, reach)) else {}
        axes.barh([i + offset for i in range(len(bars))], values, 0.9 * thick, color=colour, label=name, **look)
        for i, bar in enumerate(bars):
            told = bar.words or words(bar.value, part.x.quantity)
            at = 0.0 if math.isnan(bar.value) else _end(bar)
            beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": form.size - 1.5}
            axes.annotate(told, (max(at, low), i + offset), (4, 0), **beside)
    axes.set_yticks(range(len(part.rows)), [textwrap.fill(row, 30) for row in part.rows], fontsize=form.size - 1)
    axes.set_ylim(len(part.rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    if part.x.log:
        axes.set_xscale("log")
        axes.set_xlim(low, top * (top / low) ** (BAR_ROOM - 1))
        drawing.label_ticks(axes, "x", drawing.log_ticks(low, top, 4), lambda value: words(value, part.x.quantity))
    else:
        axes.set_xlim(0.0, BAR_ROOM * top)
        if part.x.ticks:
            drawing.label_ticks(axes, "x", [at for at, _ in part.x.ticks], dict(part.x.ticks).__getitem__)
        else:
            _linear_ticks(axes, "x", part.x)
    if part.x.label != part.title:
        axes.set_xlabel(part.x.label, fontsize=form.size)
    if len(part.groups) > 1 and not _shares_names(chart):
        _legend(axes, part, form, min(chart.across, form.across), below=chart.across > 1)


def _end(bar: Bar) -> float:
    return bar.value if bar.high is None else max(bar.high, bar.value)


def _gap(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None or math.isnan(high) else max(0.0, high - low)


def _map(axes: Axes, chart: Chart, part: HeatMap, form: Format) -> None:
    top = top_of(part)
    look: dict[str, Any] = {"cmap": "cividis_r", "vmin": 0.0, "vmax": top, "rasterized": True}
    mesh = axes.pcolormesh(part.x_edges, part.y_edges, part.values.T, **look)
    axes.grid(visible=False)
    axes.set_ylabel(part.y.label, fontsize=form.size)
    if chart.across > 1:
        axes.set_xlabel(chart.x.label, fontsize=form.size)
    nothing = Panel(part.y, ())
    for which, axis in (("x", chart.x), ("y", part.y)):
        _axis(axes, which, axis, nothing)  # type: ignore[arg-type]
    if part.written:
        _values(axes, part, top, form)
    _frames(axes, part)
    figure = axes.figure
    assert figure is not None
    bar = figure.colorbar(mesh, ax=axes, pad=0.015)
    bar.set_label(part.label, fontsize=form.size)
    bar.ax.tick_params(labelsize=form.size - 1)
    bar.formatter = lambda value, _: words(value, part.quantity) if value else "0"  # type: ignore[assignment]
    bar.outline.set_visible(False)


def _values(axes: Axes, part: HeatMap, top: float, form: Format) -> None:
    for i, column in enumerate(part.values):
        for k, value in enumerate(column):
            below = "".join(f"\n{text}" for a, b, text in part.framed if (a, b) == (i, k) and text)
            instead = next((text for a, b, text in part.told if (a, b) == (i, k)), "")
            if below or instead or not math.isnan(value):
                colour = "white" if value > 0.55 * top else "black"
                at = ((part.x_edges[i] + part.x_edges[i + 1]) / 2, (part.y_edges[k] + part.y_edges[k + 1]) / 2)
                look: dict[str, Any] = {"ha": "center", "va": "center", "color": colour, "fontsize": form.size - 1}
                axes.text(*at, f"{instead or words(float(value), part.quantity)}{below}", **look)


def _frames(axes: Axes, part: HeatMap) -> None:
    from matplotlib.patches import Rectangle

    for i, k, _ in part.framed:
        (left, right), (low, high) = part.x_edges[i : i + 2], part.y_edges[k : k + 2]
        inner = (left + 0.03 * (right - left), low + 0.05 * (high - low)), 0.94 * (right - left), 0.9 * (high - low)
        axes.add_patch(Rectangle(*inner, fill=False, edgecolor=drawing.VERMILION, linewidth=1.6))


def _lay_out(figure: Figure) -> None:
    """Let the layout place the panels. Drawing the figure does that, too, and takes twice the time."""
    engine = figure.get_layout_engine()
    if engine is None or any(axes.get_axes_locator() for axes in figure.axes):
        figure.draw_without_rendering()  # places the scale of a map's colours beside the map
        return
    with suppress(ValueError):  # as in drawing: a picture may be too small for any layout
        engine.execute(figure)


def fixed_layout(figure: Figure) -> Figure:
    """Fix the panels at the layout's places, rounded: the last digits depend on figures drawn before. In place."""
    _lay_out(figure)
    places = [[round(edge, 6) for edge in axes.get_position().bounds] for axes in figure.axes]
    # Not set_layout_engine("none"), which leaves a placeholder: each file is drawn twice for it, as if it placed the panels.
    figure._layout_engine = None  # type: ignore[attr-defined]  # noqa: SLF001
    for axes, (left, bottom, width, height) in zip(figure.axes, places, strict=True):
        axes.set_position((left, bottom, width, height))
    return figure
