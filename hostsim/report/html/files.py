"""The file of a report: checked before a long run, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from hostsim.core.errors import InputError, MissingExtraError, OutputError, Problem
from hostsim.report.html.page import Content
from hostsim.report.html.registry import page_of
from hostsim.report.html.render import has_pages, html_bytes
from hostsim.results.aside import check_folder, write_files

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
    """Write the report on ``content``; the path. OutputError, then an earlier file is as it was."""
    (path,) = write_files(out.parent, {out.name: html_bytes(page_of(content))})
    return path
