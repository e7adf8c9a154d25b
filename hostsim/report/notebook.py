"""Results as HTML for a notebook: the verdict, key figures, one small chart. No script, no style of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from hostsim.report.compare_report import caption, compare_tables
from hostsim.report.tables import evenly
from hostsim.verdict.words import bytes_words, seconds_words, span_words

if TYPE_CHECKING:
    from hostsim.report.columns import Grid
    from hostsim.results.tables import MigrationResult, RunResult
    from hostsim.study.compare.summary import Summary

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 110, 4, 16, 16
POINTS_MAX = 200
INK, LINE, GRID = "#22262b", "#0072b2", "#e6e8eb"


def run_html(result: RunResult, verdict: str) -> str:
    """A run: verdict, a row of key figures for each migration, and the bytes left to send over time."""
    parts = [f"<p><b>{escape(result.name)}</b></p>", *_paragraphs(verdict)]
    for migration in result.migrations:
        parts += [_figures(migration), _remaining(migration)]
    if not result.migrations:
        parts.append(_table(("vCPU work", "until"), [(_work(result), span_words(result.end_ns))]))
    return _div(parts)


def study_html(name: str, verdict: str, summary: Summary) -> str:
    """The study ``name``: its verdict in lines, and the tables of ``hostsim compare`` for ``summary``."""
    tables = [_grid(grid) for grid in compare_tables(summary)]
    return _div([f"<p><b>{escape(name)}</b></p>", *_paragraphs(verdict), *tables, f"<p>{escape(caption(summary))}</p>"])


def grids_html(name: str, verdict: str, grids: Iterable[Grid]) -> str:
    """The study ``name`` of a host's memory: its verdict in lines, and ``grids``, the tables that its command prints."""
    return _div([f"<p><b>{escape(name)}</b></p>", *_paragraphs(verdict), *map(_grid, grids)])


def _div(parts: Iterable[str]) -> str:
    return f'<div class="hostsim">{"".join(parts)}</div>'


def _paragraphs(text: str) -> list[str]:
    return [f"<p>{escape(line)}</p>" for line in text.splitlines() if line.strip()]


def _figures(migration: MigrationResult) -> str:
    ram = migration.query.get("ram", {})
    found = {
        "status": migration.status,
        "total time": _milliseconds(migration.total_time_ms),
        "downtime": _milliseconds(migration.downtime_ms),
        "sent": bytes_words(float(ram.get("transferred", 0))),
        "syncs": str(ram.get("dirty-sync-count", 0)),
    }
    return _table(tuple(found), [tuple(found.values())])


def _milliseconds(value: int | None) -> str:
    return "-" if value is None else seconds_words(value / 1e3)


def _work(result: RunResult) -> str:
    return span_words(float(result.guest["work_ns"].mean())) if len(result.guest) else "-"


def _remaining(migration: MigrationResult) -> str:
    """The bytes left to send over time as a line, in SVG; "" for a migration without samples."""
    series = migration.series
    rows = evenly(len(series), POINTS_MAX)
    times, left = series["t_ns"][rows].tolist(), series["remaining_bytes"][rows].tolist()
    if len(times) < 2 or not times[-1] or not max(left):
        return ""
    width, height, most = WIDTH - 2 * LEFT, HEIGHT - TOP - BOTTOM, max(left)
    points = " ".join(
        f"{LEFT + width * t / times[-1]:.1f},{TOP + height * (1 - value / most):.1f}"
        for t, value in zip(times, left, strict=True)
    )
    base = TOP + height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11" '
        f'fill="{INK}" role="img"><title>left to send over time</title>'
        f'<text x="{LEFT}" y="11">left to send, from {escape(bytes_words(float(most)))}</text>'
        f'<path d="M{LEFT} {base}H{LEFT + width}" stroke="{GRID}"/>'
        f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="1.6"/>'
        f'<text x="{LEFT}" y="{HEIGHT - 3}">0 s</text>'
        f'<text x="{LEFT + width}" y="{HEIGHT - 3}" text-anchor="end">{escape(seconds_words(times[-1] / 1e9))}</text></svg>'
    )


def _grid(grid: Grid) -> str:
    return _table([column.title for column in grid.columns], grid.cells)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
