"""``hostsim report``: one HTML file from a folder of results, and its charts as pictures for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hostsim.cli.options import ChartOption, HtmlOption, PlotOption, WidthOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hostsim.report.charts.chart import Chart

HELP = """Write the results in a folder as one HTML file that needs no network.

With --plot, also write its charts as pictures for a paper, with their data. DIR is the folder of a run, predict, solve,
compare, sweep, age, reclaim, measure-dirty, debate, kvm-selftest --real, or validate --measure. The page names
files that are missing or broken, and shows the rest."""
DEFAULT = "report.html"


def register(app: typer.Typer) -> None:
    """Add the command ``report``."""
    app.command("report", help=HELP, short_help="Make one HTML file of a folder of results.")(report_command)


def report_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of results.", show_default=False)],
    *,
    html: HtmlOption = None,
    plot: PlotOption = None,
    width: WidthOption = "page",
    chart: ChartOption = None,
) -> None:
    """Read the folder, write its report or pictures, print the paths."""
    from hostsim.report.charts.files import check_plot, write_plots
    from hostsim.report.console import note, say
    from hostsim.report.html.registry import charts_of, read_content
    from hostsim.report.html.render import check_html, write_html

    wants_page = html is not None or plot is None
    file = html or folder / DEFAULT
    check_html(file if wants_page and folder.is_dir() else None)
    if plot is not None:
        check_plot(plot)
    content = read_content(folder)
    chosen: Sequence[Chart] = _chosen(charts_of(content), chart) if plot else ()
    paths = [write_html(file, content)] if wants_page else []
    paths += write_plots(plot, chosen, width) if plot else []
    for line in content.notes:
        note(f"note: {line}")
    say(f"wrote {path}" for path in paths)


def _chosen(charts: Sequence[Chart], name: str | None) -> Sequence[Chart]:
    """All charts, or that called ``name``; InputError if there is none."""
    from hostsim.core.errors import InputError, Problem

    found = [chart for chart in charts if name in {None, chart.name}]
    if not found:
        names = ", ".join(chart.name for chart in charts)
        wanted = f"one of: {names}" if charts else "a folder whose report has charts"
        raise InputError([Problem("", "--chart", name or "no chart", wanted)])
    return found
