"""The pictures of a folder of results: every chart of its report, by file name."""

from __future__ import annotations

from hostsim.report.charts.files import folder_pictures
from hostsim.report.drawing import has_plots
from hostsim.report.html.page import Content
from hostsim.report.html.registry import page_of


def pictures_of(content: Content, first: str = "") -> dict[str, bytes]:
    """PNG and SVG of each chart of the report on ``content``; nothing without matplotlib.

    first: the stem of the first chart's files, which then begins the stems of the others; "": each has its chart's name.
    """
    if not has_plots():
        return {}
    page = page_of(content)
    return folder_pictures(page.charts, page.title, first)
