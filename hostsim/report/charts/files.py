"""Files of charts: pictures as PNG, SVG or PDF by the ending of a name, and the values drawn as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hostsim.core.errors import InputError, MissingExtraError, OutputError, Problem
from hostsim.report import drawing
from hostsim.report.charts.chart import Bars, Chart, Panel
from hostsim.report.charts.pictures import Width, figure_of, fixed_layout
from hostsim.results.aside import check_folder, write_files
from hostsim.results.encode import csv_bytes
from hostsim.results.tables import Table

KINDS = ("png", "svg", "pdf")
FOLDER_KINDS = ("png", "svg")
"""Of the pictures that stand in a folder of results."""
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None},
}  # fmt: skip
"""Metadata that matplotlib writes by itself and that would differ from run to run, or from version to version."""
SCREEN_DPI, PAPER_DPI = 130, 300


def check_plot(out: Path) -> None:
    """Refuse a file of --plot that cannot be written: InputError, OutputError, MissingExtraError without matplotlib."""
    if out.suffix[1:].lower() not in KINDS:
        wanted = "a file whose name ends in .png, .svg or .pdf"
        raise InputError([Problem("", "--plot", str(out), wanted, "--plot migration.pdf")])
    if out.is_dir():
        raise OutputError(f"{out}: cannot write: a folder stands where the file should go")
    if not drawing.has_plots():
        raise MissingExtraError("matplotlib", "report")
    check_folder(out.parent)


def write_plots(out: Path, charts: Sequence[Chart], width: Width, heading: str = "") -> list[Path]:
    """Write each chart as a picture, and its values as CSV: the first to ``out``, others to <stem>-<chart>. OutputError.

    width: of the pictures. heading: above each chart, "" for a paper, which has a caption.
    """
    files: dict[str, bytes] = {}
    for stem, chart in zip(_stems(charts, out.stem), charts, strict=True):
        files[f"{stem}{out.suffix}"] = picture(chart, out.suffix[1:].lower(), width, heading)
        # The name differs from that of the picture: fit mem.csv --plot mem.png must not replace mem.csv.
        files[f"{stem}-data.csv"] = csv_bytes(data_table(chart))
    return write_files(out.parent, files) if files else []


def folder_pictures(charts: Sequence[Chart], heading: str, first: str = "") -> dict[str, bytes]:
    """The pictures of a folder of results, by file name: <chart>.png and .svg of each of ``charts``; {} without matplotlib.

    heading: the title above each picture; "": none.
    first: the stem of the first chart's files, which then begins the stems of the others; "": each has its own name.
    """
    if not drawing.has_plots():
        return {}
    return {
        f"{stem}.{kind}": content
        for stem, chart in zip(_stems(charts, first), charts, strict=True)
        for kind, content in _pictures(chart, FOLDER_KINDS, "screen", heading).items()
    }


def _stems(charts: Sequence[Chart], first: str) -> list[str]:
    """``first``, then <first>-<chart> for each further chart; without ``first`` the names of the charts."""
    names = [chart.name for chart in charts]
    return [first if number == 0 else f"{first}-{name}" for number, name in enumerate(names)] if first else names


def picture(chart: Chart, kind: str, width: Width, heading: str = "") -> bytes:
    """The bytes of a picture of ``chart``; equal charts give equal bytes.

    kind: one of KINDS. width: of a screen, or of paper, which has more dots an inch. heading: above the chart; "": none.
    """
    return _pictures(chart, [kind], width, heading)[kind]


def _pictures(chart: Chart, kinds: Sequence[str], width: Width, heading: str) -> dict[str, bytes]:
    figure = drawing.drawn(lambda: fixed_layout(figure_of(chart, width, heading)))
    dpi = SCREEN_DPI if width == "screen" else PAPER_DPI
    return {kind: drawing.saved(figure, kind, WITHOUT[kind], dpi) for kind in kinds}


def data_table(chart: Chart) -> Table:
    """All values of a chart in long form: panel, line, x, y and the ends of the interval."""
    schema = {"panel": "str", "line": "str", "x": "str", "y": "float64", "low": "float64", "high": "float64"}
    return Table.of(chart.name, schema, list(_data_rows(chart)))


def _data_rows(chart: Chart) -> Iterator[tuple[Any, ...]]:
    nan = float("nan")
    for part in chart.panels:
        if isinstance(part, Panel):
            for line in part.lines:
                ends = [np.full(len(line.x), nan) if end is None else end for end in (line.low, line.high)]
                each = zip(line.x.tolist(), line.y.tolist(), *(end.tolist() for end in ends), strict=True)
                yield from ((part.title or part.y.label, line.name, repr(x), *values) for x, *values in each)
        elif isinstance(part, Bars):
            for name, bars in part.groups:
                yield from ((part.title, name, row, bar.value, _or_nan(bar.low), _or_nan(bar.high))
                            for row, bar in zip(part.rows, bars, strict=True))  # fmt: skip
        else:
            yield from ((part.title, f"from {y!r}", repr(x), value, nan, nan)
                        for x, column in zip(part.x_edges.tolist(), part.values.tolist(), strict=False)
                        for y, value in zip(part.y_edges.tolist(), column, strict=False))  # fmt: skip


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
