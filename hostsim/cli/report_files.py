"""Files of a report that a command was asked for: one HTML file by --html, pictures of its charts by --plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostsim.report.html.page import Content
    from hostsim.results.tables import Table


@dataclass(frozen=True)
class ReportFiles:
    """Where a command writes its report. html: file of --html; plot: file of --plot; None: not asked for."""

    html: Path | None = None
    plot: Path | None = None

    def check(self) -> None:
        """Refuse, before a long run, a file that cannot be written. InputError, OutputError, MissingExtraError."""
        # Each branch loads its modules on demand: a command without a report starts without them.
        if self.html is not None:
            from hostsim.report.html.render import check_html

            check_html(self.html)
        if self.plot is not None:
            from hostsim.report.charts.files import check_plot

            check_plot(self.plot)

    def write(self, content: Callable[[], Content]) -> list[Path]:
        """Write the report on ``content``, which is made only if a file is asked for; the paths. OutputError."""
        if self.html is None and self.plot is None:
            return []
        from hostsim.report.html.render import write_html

        made = content()
        paths = [] if self.html is None else [write_html(self.html, made)]
        return paths if self.plot is None else [*paths, *_write_pictures(self.plot, made)]

    def of_study(self, name: str, content: dict[str, Any], tables: Mapping[str, Table]) -> list[Path]:
        """Write the report of the study ``name``, which has a folder; returns the paths. OutputError.

        content: of <name>.json. tables: those of its files, by name.
        """
        from hostsim.report.studies import provenance_of

        return self.of_folder(name, content, provenance_of(content), tables)

    def of_folder(
        self, kind: str, told: Mapping[str, Any], provenance: Mapping[str, Any],
        tables: Mapping[str, Table] = MappingProxyType({}),
    ) -> list[Path]:  # fmt: skip
        """As ``of_object``, of a result that has a folder: the bytes that ``hostsim report`` makes of its files.

        kind: of the result. told: content of its main file. provenance: content of provenance.json. tables: by name.
        """

        def content() -> Content:
            from hostsim.report.html.registry import folder_content

            return folder_content(kind, told, provenance, tables)

        return self.write(content)

    def of_object(self, kind: str, told: Mapping[str, Any], result: Any = None) -> list[Path]:
        """Write the report on ``told``, the object that --json prints; returns the paths. OutputError.

        kind: of the result, which names the page. result: the result itself, for a page that reads more than ``told``.
        """

        def content() -> Content:
            from hostsim.report.html.page import Content
            from hostsim.results.tables import plain

            return Content(kind, plain(told), result=result)

        return self.write(content)


NO_REPORT = ReportFiles()


def _write_pictures(plot: Path, content: Content) -> list[Path]:
    from hostsim.report.charts.files import write_plots
    from hostsim.report.console import note
    from hostsim.report.html.registry import page_of

    page = page_of(content)
    if not page.charts:
        note(f"note: {plot} is not written: this result has no chart")
    return write_plots(plot, page.charts, "screen", page.title)
